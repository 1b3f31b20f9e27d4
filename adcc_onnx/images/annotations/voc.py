"""Boxes in Pascal VOC's XML, which ImageNet's box files are written in too."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from adcc_onnx.errors import ImageError
from adcc_onnx.images.annotations.boxes import Box, box_mask, check_image_size
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.pixel_arrays import Mask

# ImageNet's largest have some ten kilobytes.
_MOST_BYTES = 2**20


def read_voc_mask(path: Path, size: tuple[int, int]) -> Mask:
    """The union of the boxes of all objects in an XML, for a picture of (height, width).

    Coordinates count pixels from 1 and include both ends, as VOC's own do: (1, 1, w, h) is the
    whole picture. (Some of ImageNet's begin at 0; they are clipped.)

    Raises:
        ImageError: no well-formed XML, of another size, or a box wholly outside.
    """
    root = _parsed(read_bytes(path, path.name, most=_MOST_BYTES), path.name)
    try:
        declared = tuple(float(root.findtext(f"size/{key}") or 0) for key in ("height", "width"))
        boxes = [_box(element) for element in root.iterfind("object/bndbox")]
    except ValueError as error:
        raise ImageError(f"{path.name}: a box or size is not of numbers") from error
    if all(declared):
        check_image_size(path.name, declared, size)
    return box_mask(boxes, size, path.name)


def _box(element: ET.Element) -> Box:
    left, top, right, bottom = (
        float(element.findtext(key) or "") - 1 for key in ("xmin", "ymin", "xmax", "ymax")
    )
    return Box(left, top, right, bottom)


def _parsed(data: bytes, name: str) -> ET.Element:
    """The root of an XML; one that declares a document type, and with it entities, is refused."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()

    def refuse(*declared: object) -> None:
        raise ImageError(f"{name}: it declares a document type, which no box file needs")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise ImageError(f"{name}: no well-formed XML ({error})") from error
