"""Reading runs back from a store."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.anchor_runs import anchor_name, is_anchor_run
from adcc_onnx.results.database import Database
from adcc_onnx.results.rows import (
    FailureRow,
    ImageRow,
    MeanCurve,
    MethodColumns,
    ScoreRow,
    StoredPictures,
    StoredRun,
)

CURVE_TYPE = np.dtype("<f4")
MAP_TYPE = np.dtype("<f2")
_IMAGE_COLUMNS = "position, name, label, target, predicted, probability, failure"


class RunReader(Database):
    """Queries on the runs of a store."""

    def runs(self) -> list[StoredRun]:
        """Return all runs in the order in which they were begun; anchors are part of their run."""
        found = self.configs().values()
        return [self.run(number) for number, config, _ in found if not is_anchor_run(config)]

    def run(self, number: int) -> StoredRun:
        """Return one run by its number."""
        one = self._connection.execute
        with self._translated_errors():
            config, complete = one(
                "SELECT config, complete FROM run WHERE id = ?", (number,)
            ).fetchone()
            images, failed, top1 = one(
                "SELECT count(*), count(failure), avg(predicted = label) FROM image WHERE run = ?",
                (number,),
            ).fetchone()
            settings = json.loads(config)
            methods = {name: self._columns(number, name) for name in settings["methods"]}
            failures = self._failures(number)
            anchors = one(
                "SELECT id FROM run WHERE model = ? AND id != ?",
                (anchor_name(settings["model"]), number),
            ).fetchone()
        return StoredRun(
            number,
            settings,
            bool(complete),
            images,
            failed,
            top1,
            failures,
            methods,
            None if anchors is None else self.run(*anchors),
        )

    def configs(self) -> dict[str, tuple[int, dict[str, Any], bool]]:
        """Return (number, config, complete) of each run by model name, in the order begun."""
        with self._translated_errors():
            rows = self._connection.execute(
                "SELECT model, id, config, complete FROM run ORDER BY id"
            )
            return {model: (n, json.loads(config), bool(c)) for model, n, config, c in rows}

    def image_names(self, run: int) -> dict[int, str]:
        """Return the names of a run's images by position."""
        with self._translated_errors():
            rows = self._connection.execute(
                "SELECT position, name FROM image WHERE run = ?", (run,)
            ).fetchall()
        return dict(rows)

    def images(self, run: int) -> list[ImageRow]:
        """Return a run's images in source order."""
        with self._translated_errors():
            rows = self._connection.execute(
                f"SELECT {_IMAGE_COLUMNS} FROM image WHERE run = ? ORDER BY position", (run,)
            )
            return [ImageRow(*row) for row in rows]

    def rows(self, run: int) -> Iterator[tuple[ImageRow, list[ScoreRow]]]:
        """Yield every image with its scores, in source order."""
        with self._translated_errors():
            positions = self._connection.execute(
                "SELECT position FROM image WHERE run = ? ORDER BY position", (run,)
            )
            for (position,) in positions:
                yield self.row(run, position)

    def row(self, run: int, position: int) -> tuple[ImageRow, list[ScoreRow]]:
        """Return one image with its scores."""
        at = (run, position)
        with self._translated_errors():
            image = self._connection.execute(
                f"SELECT {_IMAGE_COLUMNS}, jpeg FROM image "
                "LEFT JOIN thumbnail USING (run, position) WHERE run = ? AND position = ?",
                at,
            ).fetchone()
            scores = self._connection.execute(
                "SELECT method, degenerate, failure, metric_values, seconds, masked_probability, "
                "passes FROM score WHERE run = ? AND position = ? ORDER BY method",
                at,
            ).fetchall()
            heatmaps = self._heatmaps(run, position)
            return ImageRow(*image), [
                ScoreRow(
                    position,
                    method,
                    bool(degenerate),
                    failure,
                    json.loads(values),
                    seconds,
                    self._curves(run, position, method),
                    masked,
                    heatmaps.get(method),
                    passes,
                )
                for method, degenerate, failure, values, seconds, masked, passes in scores
            ]

    def mean_curves(self, run: int, method: str) -> dict[str, MeanCurve]:
        """Return the mean over the images of every curve that was recorded for a method."""
        sums: dict[str, tuple[int, Float64Array, Float64Array]] = {}
        with self._translated_errors():
            rows = self._connection.execute(
                "SELECT name, points FROM curve WHERE run = ? AND method = ? ORDER BY position",
                (run, method),
            )
            for name, points in rows:
                curve = _decoded_curve(points)
                nothing = np.zeros_like(curve)
                count, mean, squares = sums.get(name, (0, nothing, nothing))
                # Welford's update: the squares are summed about the running mean.
                moved = mean + (curve - mean) / (count + 1)
                sums[name] = count + 1, moved, squares + (curve - mean) * (curve - moved)
        return {
            name: MeanCurve(mean, np.sqrt(squares / max(1, count - 1) / count))
            for name, (count, mean, squares) in sums.items()
        }

    def pictures(self, run: int, positions: Collection[int]) -> StoredPictures:
        """Return the thumbnails and maps of some images, as far as the run kept them."""
        found = StoredPictures()
        with self._translated_errors():
            for position in positions:
                row = self._connection.execute(
                    "SELECT jpeg FROM thumbnail WHERE run = ? AND position = ?", (run, position)
                ).fetchone()
                if row is not None:
                    found.thumbnails[position] = row[0]
                for method, heatmap in self._heatmaps(run, position).items():
                    found.maps.setdefault(method, {})[position] = heatmap
                for method, probability in self._connection.execute(
                    "SELECT method, masked_probability FROM score WHERE run = ? AND position = ? "
                    "AND masked_probability IS NOT NULL",
                    (run, position),
                ):
                    found.masked_probabilities.setdefault(method, {})[position] = probability
        return found

    def _heatmaps(self, run: int, position: int) -> dict[str, NDArray[np.float16]]:
        rows = self._connection.execute(
            "SELECT method, height, width, points FROM heatmap WHERE run = ? AND position = ?",
            (run, position),
        )
        return {
            method: np.frombuffer(points, MAP_TYPE).reshape(height, width).astype(np.float16)
            for method, height, width, points in rows
        }

    def _curves(self, run: int, position: int, method: str) -> dict[str, Float64Array]:
        rows = self._connection.execute(
            "SELECT name, points FROM curve WHERE run = ? AND position = ? AND method = ?",
            (run, position, method),
        )
        return {name: _decoded_curve(points) for name, points in rows}

    def _columns(self, run: int, method: str) -> MethodColumns:
        positions, degenerate = array("q"), array("b")
        seconds, passes = array("d"), array("d")
        values: dict[str, array[float]] = {}
        rows = self._connection.execute(
            "SELECT position, degenerate, seconds, passes, metric_values FROM score "
            "WHERE run = ? AND method = ? AND failure IS NULL ORDER BY position",
            (run, method),
        )
        failed = self._connection.execute(
            "SELECT position FROM score WHERE run = ? AND method = ? AND failure IS NOT NULL "
            "ORDER BY position",
            (run, method),
        )
        for position, constant, taken, needed, scores in rows:
            for name, value in json.loads(scores).items():
                column = values.setdefault(name, array("d"))
                column.extend([math.nan] * (len(positions) - len(column)))
                column.append(value)
            positions.append(position)
            degenerate.append(constant)
            seconds.append(taken)
            passes.append(math.nan if needed is None else needed)
        for column in values.values():
            column.extend([math.nan] * (len(positions) - len(column)))
        return MethodColumns(
            np.array(positions),
            {name: np.array(column) for name, column in values.items()},
            np.array(degenerate, bool),
            np.array(seconds),
            np.array(passes),
            np.array([position for (position,) in failed], np.int64),
        )

    def _failures(self, run: int) -> list[FailureRow]:
        images = self._connection.execute(
            "SELECT name, NULL, failure FROM image WHERE run = ? AND failure IS NOT NULL "
            "ORDER BY position",
            (run,),
        )
        scores = self._connection.execute(
            "SELECT image.name, score.method, score.failure FROM score JOIN image "
            "USING (run, position) WHERE run = ? AND score.failure IS NOT NULL "
            "ORDER BY position, method",
            (run,),
        )
        return [FailureRow(*row) for row in [*images, *scores]]


def _decoded_curve(points: bytes) -> Float64Array:
    return np.frombuffer(points, CURVE_TYPE).astype(np.float64)
