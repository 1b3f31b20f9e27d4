"""What runs on the machines of a cluster: one model's sessions, given images by their positions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba

from adcc_onnx.cluster.job import Job, identity
from adcc_onnx.evaluation.pipeline import Rows, work_here
from adcc_onnx.images.sources.image_source import select_images
from adcc_onnx.results.store import Progress


@dataclass(frozen=True)
class Ready:
    """What a worker tells when it is ready.

    Attributes:
        identity: what must be as the driver has it.
        device: where it runs.
        tf32: whether it computes products in TF32 there.
        batch: images a run.
    """

    identity: dict[str, Any]
    device: str
    tf32: bool
    batch: int


class Worker:
    """Evaluates parts of one job; an actor of Ray.

    Args:
        job: what it belongs to.
        device: as `adcc_onnx.load` takes it.
        threads: of the worker's own.
    """

    def __init__(self, job: Job, device: str, threads: int) -> None:
        self._job, self._device, self._threads = job, device, threads

    def open(self) -> Ready:
        """Build everything.

        Raises:
            AdccError: the model, the images or the device are not there.
        """
        if self._job.folder.is_dir():
            os.chdir(self._job.folder)
        # The environment's variable of this name is read when Numba is imported: too early.
        numba.config.NUMBA_NUM_THREADS = self._threads
        self._model = self._job.load(device=self._device, threads=self._threads)
        self._source, self._plan = self._job.open(), self._job.plan()
        found = identity(self._model, self._source)
        device = self._model.device
        return Ready(found, device.name, device.tf32, self._model.batch)

    def evaluate(self, positions: Sequence[int], partial: Mapping[int, frozenset[str]]) -> Rows:
        """All rows of some images.

        Args:
            positions: of the images in the source, rising.
            partial: the methods that are finished, of images whose row is kept.
        """
        part = select_images(self._source, positions)
        kept = {i: partial[place] for i, place in enumerate(positions) if place in partial}
        images, scores = [], []
        with work_here(self._model, part, self._plan, Progress(set(), kept)) as work:
            for rows, _ in work:
                images += [replace(row, position=positions[row.position]) for row in rows[0]]
                scores += [replace(row, position=positions[row.position]) for row in rows[1]]
        return images, scores
