"""An onnxruntime session for any number of samples, which are run in batches."""

from __future__ import annotations

import itertools
import threading
import time
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import AdccWarning, ModelError, OutOfMemoryError
from adcc_onnx.runtime.cuda_graph import Captured, unrecorded
from adcc_onnx.runtime.device_array import DeviceArray, to_ort_value
from adcc_onnx.runtime.device_errors import device_errors
from adcc_onnx.runtime.device_thread import on_device
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.filling import Filling, filled
from adcc_onnx.runtime.passes import Pass, current_counter
from adcc_onnx.runtime.session_opening import open_session

Arrays = dict[str, NDArray[Any]]
Batched = NDArray[Any] | DeviceArray


class Session:
    """A model in onnxruntime.

    Args:
        model: A graph whose batched inputs have the batch as their first axis.
        device: The device that runs it.
        batch: The maximum number of samples per run. A model with a fixed batch always takes
            exactly this number; the last run is filled up with repeated samples.
        fixed: Whether the model accepts no other batch.
        threads: Number of intra-op threads per run on a CPU; 0 uses one per core.
        kind: The kind of pass that its runs count as; None if they are no passes.
        make_room: Frees memory of the device that is not in use; returns whether there was any.

    Attributes:
        outputs: The names of the outputs.
        samples: The number of samples that were run so far.
        seconds: The time that they took, summed over threads.

    Raises:
        ModelError: The model cannot be opened in onnxruntime.
    """

    def __init__(
        self,
        model: ir.Model,
        device: Device,
        batch: int,
        fixed: bool = False,
        threads: int = 0,
        kind: Pass | None = None,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        opened = on_device(device, lambda: open_session(model, device, threads))
        self._session, self._device = opened.session, device
        # Without CUDA graphs, too, a session of a recording device runs in the device's own thread.
        self._records = opened.device.captures
        self._weights, self._make_room = opened.weights, make_room
        self.outputs = [output.name for output in self._session.get_outputs()]
        self._batch, self._fixed, self._kind = batch, fixed, kind
        self._filling = Filling()
        self._captured = self._recorder()
        self.samples, self.seconds, self._running = 0, 0.0, 0
        self._counter_lock = threading.Lock()

    @property
    def idle(self) -> bool:
        """Whether no thread runs the session."""
        return self._running == 0

    def run(
        self, batched: Mapping[str, Batched], shared: Mapping[str, Any] | None = None
    ) -> Arrays:
        """Run the model.

        Args:
            batched: The inputs by name that are split into batches, [N, ...] each.
            shared: The inputs by name that every run gets as a whole.

        Returns:
            The outputs by name, [N, ...] each.

        Raises:
            ModelError: The run fails in onnxruntime.
            OutOfMemoryError: The memory is too small for one sample.
        """
        return self.run_keeping((), batched, shared)[0]

    def run_keeping(
        self,
        keep: Container[str],
        batched: Mapping[str, Batched],
        shared: Mapping[str, Any] | None = None,
    ) -> tuple[Arrays, dict[str, DeviceArray]]:
        """Run the model and leave some outputs on the device.

        Args:
            keep: The names of the outputs that stay on the device.
            batched: The inputs by name that are split into batches, [N, ...] each.
            shared: The inputs by name that every run gets as a whole.

        Returns:
            The other outputs by name, and the outputs on the device by name.

        Raises:
            ModelError: The run fails in onnxruntime.
            OutOfMemoryError: The memory is too small for one sample.
        """
        with self._counter_lock:
            self._running += 1
        try:
            parts = list(self._parts(batched, shared or {}, keep))
        finally:
            with self._counter_lock:
                self._running -= 1
        fetched: Arrays = {}
        kept: dict[str, DeviceArray] = {}
        for index, name in enumerate(self.outputs):
            output = DeviceArray([(results[index], used) for results, used in parts], self._device)
            if name in keep:
                kept[name] = output
            else:
                fetched[name] = output.array
        return fetched, kept

    def _parts(
        self, batched: Mapping[str, Batched], shared: Mapping[str, Any], keep: Container[str]
    ) -> Iterator[tuple[list[Any], int]]:
        """Iterate over the outputs of one run after the other, with the number of valid samples.

        When memory runs out, memory that is not in use is freed, and then the batch is halved.
        """
        common: dict[str, Any] = {}
        may_make_room = True
        counter = current_counter()
        for start, stop in itertools.pairwise(_edges(batched)):
            several = stop - start > self._batch
            while start < stop:
                used = min(self._batch, stop - start)
                if counter is not None:
                    counter.before_run()
                try:
                    # Shared inputs are copied to the device once.
                    common = common or self._copied(shared)
                    feeds = {name: _taken(v, start, start + used) for name, v in batched.items()}
                    results = self._run(self._filled(feeds, used, several), common, keep)
                except OutOfMemoryError:
                    if may_make_room and self._make_room():
                        may_make_room = False
                        continue
                    if self._fixed or used == 1:
                        raise
                    self._halve(used)
                    continue
                yield results, used
                start += used
                with self._counter_lock:
                    self.samples += used
                if counter is not None and self._kind is not None:
                    counter.add(self._kind, used)

    def _copied(self, shared: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: to_ort_value(value, self._device) if isinstance(value, np.ndarray) else value
            for name, value in shared.items()
        }

    def _filled(self, feeds: Mapping[str, Any], used: int, several: bool) -> dict[str, Any]:
        """Repeat samples up to the number of rows that the run has.

        Args:
            feeds: The inputs that are split into batches.
            used: The number of samples.
            several: Whether the samples are run in several batches.
        """
        on_card = [_samples(v) for v in feeds.values() if not isinstance(v, np.ndarray)]
        if on_card:
            rows = max(on_card)
        elif self._fixed or (several and self._device.remote):
            rows = self._batch
        else:
            rows = self._filling.rows(used, self._batch) if self._device.remote else used
        return {
            name: filled(value, rows) if isinstance(value, np.ndarray) else value
            for name, value in feeds.items()
        }

    def _halve(self, used: int) -> None:
        self._batch = used // 2
        self._filling = Filling()
        self._captured = self._recorder()
        warnings.warn(
            f"out of memory with {used} images per run; continuing with {self._batch}",
            AdccWarning,
            stacklevel=2,
        )

    def _recorder(self) -> Captured | None:
        """Return the recorded runs of a full batch, if the device uses CUDA graphs."""
        if not self._records:
            return None
        return Captured(self._session, self.outputs, self._device)

    def _run(
        self, feeds: Mapping[str, Any], shared: Mapping[str, Any], keep: Container[str]
    ) -> list[Any]:
        start = time.perf_counter()
        rows = max(_samples(value) for value in feeds.values())
        given = {**feeds, **shared}
        with device_errors("onnxruntime failed to run the model"):
            if self._captured is not None and rows == self._batch:
                captured = self._captured
                results = on_device(self._device, lambda: captured.run(given, keep))
            else:
                results = on_device(self._device, lambda: self._bound(given, keep))
        self._require_rows(results, rows)
        with self._counter_lock:
            self.seconds += time.perf_counter() - start
        return results

    def _require_rows(self, results: Sequence[Any], samples: int) -> None:
        """Check that every output has one row per sample."""
        for name, result in zip(self.outputs, results, strict=True):
            rows = [*result.shape(), 0][0]
            if rows != samples:
                raise ModelError(
                    f"the model gives {rows} rows of '{name}' for {samples} images: every image "
                    "needs a row of its own"
                )

    def _bound(self, given: Mapping[str, Any], keep: Container[str]) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in given.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, *(self._device.memory if name in keep else ()))
        options = (unrecorded(),) if self._records else ()
        self._session.run_with_iobinding(binding, *options)
        results: list[Any] = binding.get_outputs()
        return results


class SplitSession:
    """A model that is split into a prefix and a suffix: the prefix runs once for one image.

    All runs of the suffix share the outputs of the prefix.

    Args:
        prefix: The session of the part before the split.
        suffix: The session of the part after the split.
    """

    def __init__(self, prefix: Session, suffix: Session) -> None:
        self._prefix, self._suffix = prefix, suffix

    @property
    def single_cut(self) -> bool:
        """Whether the prefix has a single output."""
        return len(self._prefix.outputs) == 1

    @property
    def idle(self) -> bool:
        """Whether no thread runs one of the parts."""
        return self._prefix.idle and self._suffix.idle

    @property
    def samples(self) -> int:
        """The number of samples that the suffix was run on so far."""
        return self._suffix.samples

    @property
    def seconds(self) -> float:
        """The time that both parts took so far."""
        return self._prefix.seconds + self._suffix.seconds

    def run(self, batched: Arrays, shared: Mapping[str, Any] | None = None) -> Arrays:
        """Run both parts.

        Args:
            batched: The inputs of the suffix that are split into batches.
            shared: The inputs of the prefix.

        Returns:
            The outputs of the suffix by name.

        Raises:
            ModelError: The run fails in onnxruntime.
        """
        _, passed = self._prefix.run_keeping(self._prefix.outputs, dict(shared or {}))
        whole = {name: kept.part(0, len(kept)) for name, kept in passed.items()}
        return self._suffix.run(batched, whole)

    def run_from(self, batched: Arrays, value: NDArray[Any]) -> Arrays:
        """Run the suffix alone, if the single output of the prefix is known.

        Args:
            batched: The inputs of the suffix that are split into batches.
            value: The output of the prefix.
        """
        return self._suffix.run(batched, {self._prefix.outputs[0]: value})


def _edges(batched: Mapping[str, Batched]) -> list[int]:
    """Return the indices at which samples are split: the edges of arrays on the device."""
    for value in batched.values():
        if isinstance(value, DeviceArray):
            return value.edges
    return [0, len(next(iter(batched.values())))]


def _taken(value: Batched, start: int, stop: int) -> Any:
    return value.part(start, stop) if isinstance(value, DeviceArray) else value[start:stop]


def _samples(value: Any) -> int:
    return len(value) if isinstance(value, np.ndarray) else int(value.shape()[0])
