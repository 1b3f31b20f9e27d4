"""Boxes and segmentations in COCO's JSON format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from adcc_onnx.errors import ImageError, SourceError, first_line
from adcc_onnx.images.annotations.boxes import Box, box_mask, check_image_size
from adcc_onnx.images.annotations.polygons import decode_runs, mask_from_runs, polygon_mask
from adcc_onnx.images.pixel_arrays import Mask
from adcc_onnx.images.sources.image_source import DrawMask

# The largest file of the COCO dataset, for 118,000 images, has half this size.
_MAX_BYTES = 2**30


class CocoAnnotations:
    """The annotations of a COCO file: the mask of an image is the union of its annotations.

    Of an annotation, the segmentation is used if there is one (polygons, or run-length encoding,
    compressed or not), otherwise its box [x, y, width, height], which covers the pixels whose
    centers lie inside.

    Args:
        path: The JSON file.

    Raises:
        SourceError: The file cannot be read, or lacks fields of the COCO format.
    """

    def __init__(self, path: Path) -> None:
        content = _read_json(path)
        try:
            self._images = _images_by_stem(content["images"])
            self._annotations = _annotations_by_image(content["annotations"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"{path} is not a COCO file: it must hold images with id and file_name, and "
                f"annotations with image_id ({first_line(error)})"
            ) from error
        self._path = path

    def find(self, stem: str) -> DrawMask | None:
        """Look up an image by its file name without suffix.

        Args:
            stem: File name without suffix, with or without its folders.

        Returns:
            A function from the image's (height, width) to its mask; None without annotations.
        """
        image = self._images.get(stem)
        found = self._annotations.get(image["id"]) if image else None
        return partial(_image_mask, self._path.name, image, found) if image and found else None


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SourceError(f"{path} has more than {_MAX_BYTES:,} bytes, the limit")
        with path.open(encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read as JSON: {first_line(error)}") from error


def _images_by_stem(images: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Index the images by file name without suffix: with folders and, if unique, without."""
    by_path: dict[str, Mapping[str, Any]] = {}
    by_name: dict[str, Mapping[str, Any] | None] = {}
    for image in images:
        path = PurePosixPath(image["file_name"])
        kept = {key: image.get(key) for key in ("id", "height", "width")}
        by_path[str(path.with_suffix(""))] = kept
        by_name[path.stem] = None if path.stem in by_name else kept
    return {**{stem: image for stem, image in by_name.items() if image is not None}, **by_path}


def _annotations_by_image(
    annotations: Sequence[Mapping[str, Any]],
) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in annotations:
        kept = {key: annotation.get(key) for key in ("bbox", "segmentation")}
        found.setdefault(annotation["image_id"], []).append(kept)
    return found


def _image_mask(
    name: str,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
) -> Mask:
    label = f"{name}, image {image['id']}"
    mask = np.zeros(size, bool)
    try:
        if image["height"] and image["width"]:
            check_image_size(label, (image["height"], image["width"]), size)
        for annotation in annotations:
            mask |= _annotation_mask(annotation, size, label)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ImageError(f"{label}: {first_line(error)}") from error
    return mask


def _annotation_mask(annotation: Mapping[str, Any], size: tuple[int, int], name: str) -> Mask:
    shape = annotation["segmentation"]
    if isinstance(shape, Mapping):
        check_image_size(f"{name}: a segmentation", tuple(shape["size"]), size)
        counts = shape["counts"]
        return mask_from_runs(decode_runs(counts) if isinstance(counts, str) else counts, size)
    if shape:
        return np.asarray(np.stack([polygon_mask(outline, size) for outline in shape]).any(axis=0))
    x, y, width, height = annotation["bbox"]
    # The far end is exclusive: a pixel whose center lies on it does not belong to the box.
    right, bottom = np.nextafter([x + width - 0.5, y + height - 0.5], -np.inf)
    return box_mask([Box(x - 0.5, y - 0.5, right, bottom)], size, name)
