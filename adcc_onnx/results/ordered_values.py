"""The values of a run in the random order of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.images.sources.subsampling import shuffle_key
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.rows import ImageRow, MethodColumns


@dataclass(frozen=True)
class OrderedValues:
    """Values of a method on the first n images of the random order.

    Attributes:
        values: Values of each metric, [n]; NaN where the method or the image failed.
        count: Number n of images that the method was computed on, without a gap.
    """

    values: dict[str, Float64Array]
    count: int

    def columns(self, names: Sequence[str], count: int) -> Float64Array:
        """Return some values of the first images.

        Args:
            names: Names of the K values.
            count: Number of images, at most `self.count`.

        Returns:
            The values, [K, count]; NaN where there is none.
        """
        nothing = np.full(self.count, np.nan)
        return np.stack([self.values.get(name, nothing)[:count] for name in names])


def order_values(
    methods: dict[str, MethodColumns], images: Sequence[ImageRow], seed: int
) -> dict[str, OrderedValues]:
    """Arrange the values of methods in the random order of the images.

    The images of the run must be the first ones of the order, except for images that are not
    finished; see `StoppingRule`.

    Args:
        methods: Values of each method, by name.
        images: The images of the run.
        seed: The seed of the order.

    Returns:
        The ordered values, by name.
    """
    ordered = sorted(images, key=lambda image: shuffle_key(image.name, seed))
    places = {image.position: place for place, image in enumerate(ordered)}
    failed = [places[image.position] for image in images if image.failure is not None]
    return {name: _ordered(columns, places, failed) for name, columns in methods.items()}


def _ordered(
    columns: MethodColumns, places: dict[int, int], failed: Sequence[int]
) -> OrderedValues:
    scored = np.array([places[position] for position in columns.positions.tolist()], np.int64)
    finished = np.zeros(len(places) + 1, bool)
    finished[scored] = True
    finished[failed] = True
    finished[[places[position] for position in columns.failed.tolist()]] = True
    count = int(np.argmin(finished))  # the last element is False
    values = {}
    for name, column in columns.values.items():
        whole = np.full(len(places), np.nan)
        whole[scored] = column
        values[name] = whole[:count]
    return OrderedValues(values, count)
