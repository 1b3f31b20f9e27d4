"""Bounding boxes in Pascal VOC's XML format, which ImageNet uses, too."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from adcc_onnx.errors import ImageError
from adcc_onnx.images.annotations.boxes import Box, box_mask, check_image_size
from adcc_onnx.images.decoding.file_bytes import read_bytes
from adcc_onnx.images.pixel_arrays import Mask

# The largest files of ImageNet have about ten kilobytes.
_MAX_BYTES = 2**20


def read_voc_mask(path: Path, size: tuple[int, int]) -> Mask:
    """Read the union of the boxes of all objects in an XML file.

    Coordinates count pixels from 1 and include both ends, as in Pascal VOC: (1, 1, w, h) is the
    whole image. (Some boxes of ImageNet begin at 0 and are clipped.)

    Args:
        path: The XML file.
        size: (height, width) of the annotated image in pixels.

    Returns:
        The mask, bool [H, W].

    Raises:
        ImageError: The XML is malformed, declares another image size, or has a box that lies
            entirely outside the image.
    """
    root = _parse_xml(read_bytes(path, path.name, max_bytes=_MAX_BYTES), path.name)
    try:
        declared = tuple(float(root.findtext(f"size/{key}") or 0) for key in ("height", "width"))
        boxes = [_box(element) for element in root.iterfind("object/bndbox")]
    except ValueError as error:
        raise ImageError(f"{path.name}: a box or size is not numeric") from error
    if all(declared):
        check_image_size(path.name, declared, size)
    return box_mask(boxes, size, path.name)


def _box(element: ET.Element) -> Box:
    left, top, right, bottom = (
        float(element.findtext(key) or "") - 1 for key in ("xmin", "ymin", "xmax", "ymax")
    )
    return Box(left, top, right, bottom)


def _parse_xml(data: bytes, name: str) -> ET.Element:
    """Parse XML, rejecting document type declarations, which could define entities."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()

    def reject(*declared: object) -> None:
        raise ImageError(f"{name}: document type declarations are not supported")

    parser.StartDoctypeDeclHandler = reject
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise ImageError(f"{name}: the XML is malformed ({error})") from error
