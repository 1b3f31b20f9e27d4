"""Scores of a model under several preprocessings of the same images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import ImageError
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources.image_source import Record, Source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.statistics.resampling import RealArray

_DECODERS = min(8, os.cpu_count() or 1)
_TENSORS_AT_ONCE = 64  # the tensors that are in memory, of all candidates together


@dataclass(frozen=True)
class TrialScores:
    """The scores of some images under one preprocessing.

    Attributes:
        positions: The images' positions in the source, increasing, [n].
        logits: The class scores, float32 [n, classes].
        mirrored: The class scores of the mirrored images, likewise; empty if they were not run.
    """

    positions: NDArray[np.int64]
    logits: Float32Array
    mirrored: Float32Array

    @cached_property
    def log_probabilities(self) -> RealArray:
        """The logarithms of the softmax, [n, classes]."""
        return log_softmax(self.logits)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted classes, [n]."""
        found: NDArray[np.int64] = self.logits.argmax(axis=1)
        return found


def log_softmax(logits: Float32Array) -> RealArray:
    """Compute the logarithm of the softmax in float64.

    Args:
        logits: The class scores, [n, classes].

    Example:
        >>> np.exp(log_softmax(np.zeros((1, 4), np.float32))).tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """
    wide = np.nan_to_num(logits.astype(np.float64))
    wide -= wide.max(axis=1, keepdims=True)
    found: RealArray = wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return found


class Trial:
    """Runs a model under several preprocessings; no image is run twice under the same one.

    Args:
        model: The model.
        source: The images.
        mirrored: Whether mirrored images are run, too.

    Attributes:
        failures: Why images could not be decoded, by their position in the source.
        passes: The number of images that were run through the model.
    """

    def __init__(self, model: Model, source: Source, mirrored: bool) -> None:
        self._model, self._source, self._mirrored = model, source, mirrored
        self._rows: dict[Preprocessing, dict[int, tuple[Float32Array, ...]]] = {}
        self.failures: dict[int, str] = {}
        self.passes = 0

    def scores(
        self, preprocessings: Iterable[Preprocessing], positions: Sequence[int]
    ) -> dict[Preprocessing, TrialScores]:
        """Return the scores of some images under each preprocessing.

        Args:
            preprocessings: The preprocessings.
            positions: Positions in the source, increasing; images that cannot be decoded are left
                out.
        """
        wanted = list(preprocessings)
        missing = {
            position: [s for s in wanted if position not in self._rows.setdefault(s, {})]
            for position in positions
            if position not in self.failures
        }
        self._run({position: steps for position, steps in missing.items() if steps})
        return {steps: self._collected(steps, positions) for steps in wanted}

    def _collected(self, steps: Preprocessing, positions: Sequence[int]) -> TrialScores:
        rows = self._rows[steps]
        kept = [position for position in positions if position not in self.failures]
        classes = self._model.classifier.classes
        columns = [
            np.array([rows[position][view] for position in kept], np.float32).reshape(-1, classes)
            for view in range(1 + self._mirrored)
        ]
        mirrored = columns[1] if self._mirrored else np.empty((0, classes), np.float32)
        return TrialScores(np.array(kept, np.int64), columns[0], mirrored)

    def _run(self, missing: dict[int, list[Preprocessing]]) -> None:
        """Decode images in threads, and run the tensors of all preprocessings in batches."""
        positions = sorted(missing)
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="adcc-decode") as pool:
            while positions:
                views = (1 + self._mirrored) * len(missing[positions[0]])
                count = max(1, _TENSORS_AT_ONCE // views)
                chunk, positions = positions[:count], positions[count:]
                steps = [missing[position] for position in chunk]
                records = self._source.at(chunk)
                self._run_chunk(chunk, steps, list(pool.map(_tensors, records, steps)))

    def _run_chunk(
        self,
        chunk: Sequence[int],
        steps: Sequence[list[Preprocessing]],
        tensors: Sequence[list[Float32Array] | str],
    ) -> None:
        """Run the tensors of some images, and keep the scores."""
        keys: list[tuple[int, Preprocessing]] = []
        batch: list[Float32Array] = []
        for position, own, found in zip(chunk, steps, tensors, strict=True):
            if isinstance(found, str):
                self.failures[position] = found
                continue
            keys += [(position, one) for one in own]
            batch += found
        if not batch:
            return
        views = [np.stack(batch)]
        if self._mirrored:
            views.append(np.ascontiguousarray(views[0][..., ::-1]))
        logits = [_logits(self._model, view) for view in views]
        self.passes += sum(map(len, views))
        for row, (position, one) in enumerate(keys):
            self._rows[one][position] = tuple(view[row] for view in logits)


def _logits(model: Model, tensors: Float32Array) -> Float32Array:
    return run_images(model, tensors, None, frozenset(), [0] * len(tensors)).logits


def _tensors(record: Record, steps: Sequence[Preprocessing]) -> list[Float32Array] | str:
    """Decode an image once and preprocess it in several ways; returns why that fails."""
    try:
        image = None if steps[0].channels == "bands" else record.load()
        crop = partial(_cropped, record, image)
        # Preprocessings that differ in their pixel values alone share the crop.
        crops: dict[tuple[object, ...], NDArray[np.generic]] = {}
        for one in steps:
            if _shape_of(one) not in crops:
                crops[_shape_of(one)] = crop(one)
        return [one.normalize(crops[_shape_of(one)]) for one in steps]
    except ImageError as error:
        return str(error)


def _cropped(
    record: Record, image: NDArray[np.uint8] | None, steps: Preprocessing
) -> NDArray[np.generic]:
    return steps.load_cropped(record) if image is None else steps.crop_image(image)


def _shape_of(steps: Preprocessing) -> tuple[object, ...]:
    """Return what determines the crop of an image."""
    gray = steps.channels == "L"
    return steps.size, steps.resize, steps.crop, steps.interpolation, gray, len(steps.mean)
