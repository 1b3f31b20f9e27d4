"""The values of a run in the random order of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adcc_onnx.images.sources.subsampling import shuffle_key
from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.rows import ImageRow, MethodColumns, StoredRun


@dataclass(frozen=True)
class OrderedValues:
    """Values of a method on the first n images of the random order.

    Attributes:
        values: Values of each metric, [n]; NaN where the method or the image failed.
        count: Number n of images that the method was computed on, without a gap.
        exact: Values in float32 of the images that have them, [n]; None without anchors.
    """

    values: dict[str, Float64Array]
    count: int
    exact: dict[str, Float64Array] | None = None

    def columns(self, names: Sequence[str], count: int) -> Float64Array:
        """Return some values of the first images.

        Args:
            names: Names of the K values.
            count: Number of images, at most `self.count`.

        Returns:
            The values, [K, count]; NaN where there is none.
        """
        return self._stacked(self.values, names, count)

    def exact_columns(self, names: Sequence[str], count: int) -> Float64Array | None:
        """Return the same values in float32; None without anchors."""
        return None if self.exact is None else self._stacked(self.exact, names, count)

    def _stacked(
        self, values: dict[str, Float64Array], names: Sequence[str], count: int
    ) -> Float64Array:
        nothing = np.full(self.count, np.nan)
        return np.stack([values.get(name, nothing)[:count] for name in names])


def order_values(run: StoredRun, images: Sequence[ImageRow]) -> dict[str, OrderedValues]:
    """Arrange the values of a run's methods in the random order of the images.

    The images of the run must be the first ones of the order, except for images that are not
    finished; see `StoppingRule`.

    Args:
        run: The run.
        images: Its images.

    Returns:
        The ordered values, by name.
    """
    seed = run.config["seed"]
    ordered = sorted(images, key=lambda image: shuffle_key(image.name, seed))
    places = {image.position: place for place, image in enumerate(ordered)}
    failed = [places[image.position] for image in images if image.failure is not None]
    anchors = {} if run.anchors is None else run.anchors.methods
    return {
        name: _ordered(columns, anchors.get(name), places, failed)
        for name, columns in run.methods.items()
    }


def _ordered(
    columns: MethodColumns,
    anchors: MethodColumns | None,
    places: dict[int, int],
    failed: Sequence[int],
) -> OrderedValues:
    finished = np.zeros(len(places) + 1, bool)
    finished[[places[position] for position in columns.positions.tolist()]] = True
    finished[failed] = True
    finished[[places[position] for position in columns.failed.tolist()]] = True
    count = int(np.argmin(finished))  # the last element is False
    exact = None if anchors is None else _placed(anchors, places, count)
    return OrderedValues(_placed(columns, places, count), count, exact)


def _placed(columns: MethodColumns, places: dict[int, int], count: int) -> dict[str, Float64Array]:
    """Return the values of the first images of the order; NaN where there are none."""
    known = np.isin(columns.positions, list(places))
    at = np.array([places[position] for position in columns.positions[known].tolist()], np.int64)
    values = {}
    for name, column in columns.values.items():
        whole = np.full(len(places), np.nan)
        whole[at] = column[known]
        values[name] = whole[:count]
    return values
