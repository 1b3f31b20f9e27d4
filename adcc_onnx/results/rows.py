"""The records that a store of runs holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a run.

    Attributes:
        position: Index of the image in its source.
        name: Name of the image, unique in the run.
        label: Class index of the label; None if the image has no label that the model knows.
        target: Index of the explained class; None if the image failed.
        predicted: Index of the predicted class; None if the image failed.
        probability: Probability of the explained class, in [0, 1]; None if the image failed.
        failure: Reason why the image has no scores; None if it was evaluated.
        thumbnail: The model's crop as a small JPEG; None if the run keeps no pictures.
    """

    position: int
    name: str
    label: int | None
    target: int | None
    predicted: int | None
    probability: float | None
    failure: str | None
    thumbnail: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class ScoreRow:
    """The metric values of one image under one method.

    Attributes:
        position: Index of the image in its source.
        method: Name of the method.
        degenerate: Whether the attribution map was constant.
        failure: Reason why there are no values; None if the method was scored.
        values: Value of each metric, by name.
        seconds: The image's share of the time that its batch took.
        curves: Curves that metrics recorded for the image, by name.
        masked_probability: Probability p(e) of the explained class on the explanation map; None if
            no metric needed it.
        heatmap: The map in [0, 1] at the layer's resolution, [h, w]; None if the run keeps no
            pictures.
        passes: Number of model passes that the map took, the first pass included; None if it is
            unknown. A pass with its backward part counts as one.
    """

    position: int
    method: str
    degenerate: bool
    failure: str | None
    values: dict[str, float]
    seconds: float = 0.0
    curves: dict[str, Float64Array] = field(default_factory=dict)
    masked_probability: float | None = None
    heatmap: NDArray[np.float16] | None = field(default=None, repr=False)
    passes: int | None = None


@dataclass(frozen=True)
class MethodColumns:
    """The values of one method on the n images that it did not fail on, in source order.

    Attributes:
        positions: Indices of the images in their source, [n].
        values: Values of each metric, [n]; NaN where an image has none.
        degenerate: Whether the attribution map was constant, [n].
        seconds: Time that each image took, [n].
        passes: Model passes that the map of each image took, [n]; NaN if unknown.
        failed: Indices of the images that the method failed on, in source order.
    """

    positions: NDArray[np.int64]
    values: dict[str, Float64Array]
    degenerate: NDArray[np.bool_]
    seconds: Float64Array
    passes: Float64Array
    failed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class FailureRow:
    """A failure of an image, or of one method on an image.

    Attributes:
        image: Name of the image.
        method: Name of the method; None if the whole image failed.
        reason: Cause of the failure in one line.
    """

    image: str
    method: str | None
    reason: str


@dataclass(frozen=True)
class StoredRun:
    """A run as the store holds it.

    Attributes:
        number: Number of the run in its store.
        config: Record of everything that changes a number.
        complete: Whether the run has finished.
        images: Number of evaluated images, failed ones included.
        failed: Number of images that could not be read or scored at all.
        top1: Share of labeled images whose predicted class is the label; None without labels.
        failures: All failures, those of whole images first, in source order.
        methods: Values of each method, by name.
        anchors: The same methods in float32 on some of the images, which correct the values of a
            cheaper precision; None if the run has no anchors.
    """

    number: int
    config: dict[str, Any]
    complete: bool
    images: int
    failed: int
    top1: float | None
    failures: list[FailureRow]
    methods: dict[str, MethodColumns]
    anchors: StoredRun | None = None

    @property
    def controls(self) -> list[str]:
        """Names of the methods that are controls, which do not depend on the model."""
        names: list[str] = self.config.get("controls", [])
        return names

    @property
    def labels(self) -> list[str] | None:
        """Names of the classes; None if the model has none."""
        names: list[str] | None = self.config.get("labels")
        return names


@dataclass(frozen=True)
class MeanCurve:
    """The mean of a curve over n images.

    Attributes:
        mean: Mean at each point, [points].
        standard_error: Standard error of the mean at each point, [points]; 0 for one image.
    """

    mean: Float64Array
    standard_error: Float64Array


@dataclass(frozen=True)
class StoredPictures:
    """Pictures of images, as far as the run kept them.

    Attributes:
        thumbnails: The model's crop of each image as JPEG, by position.
        maps: Maps in [0, 1] at the layer's resolution, float16 [h, w], by method and position.
        masked_probabilities: Probabilities p(e), by method and position.
    """

    thumbnails: dict[int, bytes] = field(default_factory=dict)
    maps: dict[str, dict[int, NDArray[np.float16]]] = field(default_factory=dict)
    masked_probabilities: dict[str, dict[int, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunProgress:
    """The part of a run that is finished.

    Attributes:
        finished: Positions of the images that need no more work.
        partial: Finished methods of each image that still needs work, by position.
    """

    finished: set[int]
    partial: dict[int, frozenset[str]]
