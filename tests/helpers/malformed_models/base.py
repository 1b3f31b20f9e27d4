"""The valid model that the malformed ones are made from, and helpers to change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from helpers.small_models import small

Model = onnx.ModelProto
Change = Callable[[onnx.GraphProto], object]
# A model, the bytes of a file, or a function that writes a folder.
Content = bytes | Model | Callable[[Path], None]
Cases = Iterator[tuple[str, Content]]

VALID = small("softmax")
SEED = 6
HUGE = 10**10
DENSE = "flat = Flatten ({}) scores = Gemm <transB = 1> (flat, weights)"


def changed(change: Change) -> Model:
    """Return the valid model with its graph changed."""
    model = small("softmax")
    change(model.graph)
    return model


def with_layer(text: str) -> Model:
    """Return a model with further operators, from `active` to `wide`, before the head."""
    return small(f"{text} mean = GlobalAveragePool (wide) {DENSE.format('mean')}")
