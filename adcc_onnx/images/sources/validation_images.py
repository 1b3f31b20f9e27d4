"""The ILSVRC2012 validation images: their names, and the ground truth beside them."""

from __future__ import annotations

import re
from pathlib import Path

from adcc_onnx.images.sources.image_source import Source

_NAME = re.compile(r"ILSVRC2012_val_\d{8}(?!\d)")
# Files with the labels of all validation images, as their publishers name them.
_GROUND_TRUTH = (
    "ILSVRC2012_validation_ground_truth.txt",
    "LOC_val_solution.csv",
    "val.txt",
    "imagenet_2012_validation_synset_labels.txt",
)


def find_ground_truth(images: Path) -> Path | None:
    """Find the file with the labels of the validation images, in their folder or beside it.

    Args:
        images: The folder or the archive of the images.

    Returns:
        The file; None if there is none of the usual names.
    """
    folders = [images, images.parent] if images.is_dir() else [images.parent]
    files = [folder / name for folder in folders for name in _GROUND_TRUTH]
    return next((file for file in files if file.is_file()), None)


def count_validation_images(source: Source) -> int:
    """Count the images that are named like those of the validation set.

    Args:
        source: The images.
    """
    return sum(_NAME.search(name) is not None for name in source.names)
