"""Drawings as a source: any number by seed, with classes and masks."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.drawings.generate import draw
from adcc_onnx.drawings.outlines import CLASSES
from adcc_onnx.errors import SourceError
from adcc_onnx.images.sources.open_images import open_source


def test_each_record_is_the_drawing_at_its_index() -> None:
    source = open_source("drawings:6@7")
    assert len(source) == 6 and not source.preprocessed
    for i, record in zip((1, 4), source.at([1, 4]), strict=True):
        drawing = draw(7, i)
        assert record.name == f"7-{i}" and record.label == CLASSES[drawing.label]
        np.testing.assert_array_equal(record.load(), drawing.image)
        np.testing.assert_array_equal(record.truth(), drawing.mask)
    assert source.labels == [CLASSES[draw(7, i).label] for i in range(6)]


def test_a_longer_stream_begins_with_the_shorter() -> None:
    few, many = open_source("drawings:3"), open_source("drawings:9")
    assert list(many.names[:3]) == list(few.names)
    assert list(open_source("drawings:3@5").names) != list(few.names)


@pytest.mark.parametrize("spec", ["drawings:", "drawings:0", "drawings:x", "drawings:5@"])
def test_invalid_specifications(spec: str) -> None:
    with pytest.raises(SourceError, match="write drawings:COUNT or drawings:COUNT@SEED"):
        open_source(spec)
