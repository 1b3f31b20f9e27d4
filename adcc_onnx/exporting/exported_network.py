"""What a recipe returns for a network that it has written as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.kernels.arrays import Float32Array


@dataclass(frozen=True)
class ExportedNetwork:
    """A network that was written as ONNX, and how its framework evaluates it.

    Attributes:
        card: The keys of the model card; `labels` holds the class names themselves.
        scores: The framework's own scores, [N, classes], of a batch in the layout of the ONNX
            file.
        preprocess: The framework's own preprocessing of one image, which returns the tensor in the
            layout of the ONNX file without the batch axis; None if it has none.
        images: A batch whose scores are known; a random batch is used if None.
        output: The name of the output that holds the scores; the first output if None.
    """

    card: Mapping[str, Any]
    scores: Callable[[Float32Array], NDArray[Any]]
    preprocess: Callable[[Image.Image], NDArray[Any]] | None = None
    images: Float32Array | None = None
    output: str | None = None
