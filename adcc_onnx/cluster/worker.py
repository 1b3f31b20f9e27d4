"""The part of a cluster evaluation that runs on each worker."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numba

from adcc_onnx.cluster.job import Job, identity
from adcc_onnx.evaluation.pipeline import Rows, work_here
from adcc_onnx.images.sources.image_source import select_images
from adcc_onnx.results.rows import RunProgress

# Bytes that Ray does not keep in this process, but sends to the raylet of the machine.
_SHARED_BYTES = 2**18


@dataclass(frozen=True)
class Ready:
    """The message of a worker that is ready.

    Attributes:
        identity: Properties that must equal the driver's.
        device: Device on which the worker runs the model.
        tf32: Whether the device multiplies matrices in TF32.
        batch: Batch size.
    """

    identity: dict[str, Any]
    device: str
    tf32: bool
    batch: int


class Worker:
    """A Ray actor that evaluates parts of one job.

    Args:
        job: The job, from which the worker builds its model, source and plan.
        device: Device of the model, as `adcc_onnx.load` takes it.
        threads: Number of CPU threads of the worker.
    """

    def __init__(self, job: Job, device: str, threads: int) -> None:
        self._job, self._device, self._threads = job, device, threads
        self._stopping = threading.Event()

    def open(self) -> Ready:
        """Load the model, open the source and make the plan.

        Returns:
            What the driver has to check.

        Raises:
            AdccError: The model, the images or the device are not available.
        """
        if self._job.folder.is_dir():
            os.chdir(self._job.folder)
        # Numba reads the environment variable of this name at import, which has happened already.
        numba.config.NUMBA_NUM_THREADS = self._threads
        self._model = self._job.load(device=self._device, threads=self._threads)
        self._source = self._job.open()
        self._plan = self._job.plan().mark_unavailable(self._model)
        found = identity(self._model, self._source)
        device = self._model.device
        return Ready(found, device.name, device.tf32, self._model.batch)

    def stop(self) -> None:
        """Stop the evaluation after the current pass; called while it runs."""
        self._stopping.set()

    def pulse(self) -> None:
        """Answer while the worker evaluates, unless the raylet of the machine does not answer."""
        import ray

        ray.put(bytes(_SHARED_BYTES))

    def evaluate(
        self,
        positions: Sequence[int],
        partial: Mapping[int, frozenset[str]],
        dropped: frozenset[str] = frozenset(),
    ) -> Rows:
        """Evaluate some images.

        Args:
            positions: Indices of the images in the source, ascending.
            partial: Finished methods of the images whose row is stored already, by index.
            dropped: Methods that are not computed any more.

        Returns:
            All rows of the images that are not stored yet; after `stop`, those that are finished.
        """
        part = select_images(self._source, positions)
        stored = {i: partial[place] for i, place in enumerate(positions) if place in partial}
        images, scores = [], []
        done = RunProgress(set(), stored)
        with work_here(self._model, part, self._plan, done, dropped) as work:
            for rows, _ in work:
                if self._stopping.is_set():
                    work.end()
                images += [replace(row, position=positions[row.position]) for row in rows[0]]
                scores += [replace(row, position=positions[row.position]) for row in rows[1]]
        return images, scores
