"""Boxes and segmentations in COCO's JSON."""

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

# COCO's own largest file, of 118,000 images, has half of that.
_MOST_BYTES = 2**30


class CocoAnnotations:
    """The annotations of a file, by its images' `file_name`: the union of all of an image.

    An annotation's segmentation counts where it has one (outlines, or run lengths plain or
    compressed), else its box [x, y, width, height], whose pixels are those with their centers
    inside.

    Raises:
        SourceError: the file cannot be read, or lacks what COCO's have.
    """

    def __init__(self, path: Path) -> None:
        content = _content(path)
        try:
            self._images = _by_stem(content["images"])
            self._annotations = _by_image(content["annotations"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceError(
                f"{path} is no COCO file: it needs images with id and file_name, and annotations "
                f"with image_id ({first_line(error)})"
            ) from error
        self._path = path

    def find(self, stem: str) -> DrawMask | None:
        image = self._images.get(stem)
        found = self._annotations.get(image["id"]) if image else None
        return partial(_draw, self._path.name, image, found) if image and found else None


def _content(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SourceError(f"{path} has more than {_MOST_BYTES:,} bytes")
        with path.open(encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path} cannot be read as JSON: {first_line(error)}") from error


def _by_stem(images: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The images by their file names without suffix, with folders and, where unique, without."""
    whole: dict[str, Mapping[str, Any]] = {}
    bare: dict[str, Mapping[str, Any] | None] = {}
    for image in images:
        place = PurePosixPath(image["file_name"])
        kept = {key: image.get(key) for key in ("id", "height", "width")}
        whole[str(place.with_suffix(""))] = kept
        bare[place.stem] = None if place.stem in bare else kept
    return {**{stem: image for stem, image in bare.items() if image is not None}, **whole}


def _by_image(annotations: Sequence[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for annotation in annotations:
        kept = {key: annotation.get(key) for key in ("bbox", "segmentation")}
        found.setdefault(annotation["image_id"], []).append(kept)
    return found


def _draw(
    name: str,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
) -> Mask:
    of = f"{name}, image {image['id']}"
    mask = np.zeros(size, bool)
    try:
        if image["height"] and image["width"]:
            check_image_size(of, (image["height"], image["width"]), size)
        for annotation in annotations:
            mask |= _object(annotation, size, of)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ImageError(f"{of}: {first_line(error)}") from error
    return mask


def _object(annotation: Mapping[str, Any], size: tuple[int, int], name: str) -> Mask:
    shape = annotation["segmentation"]
    if isinstance(shape, Mapping):
        check_image_size(f"{name}: a segmentation", tuple(shape["size"]), size)
        counts = shape["counts"]
        return mask_from_runs(decode_runs(counts) if isinstance(counts, str) else counts, size)
    if shape:
        return np.asarray(np.stack([polygon_mask(outline, size) for outline in shape]).any(axis=0))
    x, y, width, height = annotation["bbox"]
    # The last pixel is the one whose center lies before the far end.
    right, bottom = np.nextafter([x + width - 0.5, y + height - 0.5], -np.inf)
    return box_mask([Box(x - 0.5, y - 0.5, right, bottom)], size, name)
