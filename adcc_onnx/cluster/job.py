"""An evaluation as plain data, which the driver of a cluster sends to its workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model


@dataclass(frozen=True)
class Job:
    """What every worker of a cluster evaluates; all attributes can be pickled.

    Attributes:
        load: Loads the model; takes `device` and `threads` as `adcc_onnx.load` does.
        open: Opens the images.
        plan: Makes the plan, with the class index of the target.
        folder: The folder that relative paths start from.
    """

    load: Callable[..., Model]
    open: Callable[[], Source]
    plan: Callable[[], Plan]
    folder: Path


def identity(model: Model, source: Source) -> dict[str, Any]:
    """Return what must be equal on all machines of a cluster.

    Args:
        model: The model as one machine loaded it.
        source: The images as one machine finds them.

    Returns:
        The version of the package, the model's description, and a digest of the images' names and
        labels.
    """
    digest = hashlib.sha256()
    for name_and_label in zip(source.names, source.labels, strict=True):
        digest.update(repr(name_and_label).encode())
    return {
        "adcc-onnx": __version__,
        **model.describe(),
        "images": len(source),
        "names and labels": digest.hexdigest(),
    }
