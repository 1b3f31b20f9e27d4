"""One onnxruntime session: arrays in, arrays out, whatever batch the model takes."""

from __future__ import annotations

import itertools
import re
import threading
import time
import warnings
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from adcc_onnx.errors import AdccWarning, ModelError, OutOfMemoryError, first_line
from adcc_onnx.graph.loading.external_data import load_tensor
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.loading.weights import ARRAY_TYPES, detached_weights
from adcc_onnx.runtime.cuda_graph import Captured, unrecorded
from adcc_onnx.runtime.device_array import DeviceArray, to_ort_value
from adcc_onnx.runtime.devices import Device, uncapturing
from adcc_onnx.runtime.memory import share_arena, trim_heap

Arrays = dict[str, NDArray[Any]]
Batched = NDArray[Any] | DeviceArray
_ERRORS_ONLY = 3
# Merges a Pad of zeros into a MaxPool, whose own pads are -inf: wrong where a window holds only
# negative values (Keras' ResNet50V2; onnxruntime 1.31).
_WRONG_FUSIONS = ["Pad_Fusion"]
# Quantized operators are computed as the graph says, in real numbers: those in whole numbers, which
# they would be fused to, overflow on CPUs without VNNI, and a map would depend on the machine.
_REAL_ARITHMETIC = ("session.disable_quant_qdq", "1")
# What onnxruntime, CUDA, cuBLAS, cuDNN, TensorRT and C++ say when memory runs out.
_OUT_OF_MEMORY = (
    "failed to allocate memory",
    "out of memory",
    "outofmemory",
    "alloc_failed",
    "memoryallocation",
    "bad_alloc",
    "bad allocation",
)


class Session:
    """A model under onnxruntime.

    Args:
        model: any graph whose batched inputs have the batch in front.
        device: where it runs.
        batch: the most samples a run takes; for a model of fixed batch exactly so many, the last
            run filled up with copies.
        fixed: whether the model takes no other batch.
        threads: of one run on a CPU; 0 for one a core.

    Attributes:
        outputs: their names.
        samples: how many it was run on so far.
        seconds: that took, summed over the threads that ran it.

    Raises:
        ModelError: onnxruntime refuses the model.
    """

    def __init__(
        self, model: ir.Model, device: Device, batch: int, fixed: bool = False, threads: int = 0
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        if not device.remote:
            share_arena(options)
        options.add_session_config_entry(*_REAL_ARITHMETIC)
        try:
            graph, weights = _without_weights(model)
            options.add_external_initializers(list(weights), list(weights.values()))
            for library in device.custom_ops:
                options.register_custom_ops_library(library)
            self._session, self._device = _opened(graph, options, device)
        except Exception as error:
            raise ModelError(_why_refused(error)) from error
        trim_heap()
        self.outputs = [output.name for output in self._session.get_outputs()]
        self._batch, self._fixed = batch, fixed
        self._captured = self._recorder()
        self.samples, self.seconds = 0, 0.0
        self._counting = threading.Lock()

    def run(
        self, batched: Mapping[str, Batched], shared: Mapping[str, Any] | None = None
    ) -> Arrays:
        """All outputs for the samples of `batched`; `shared` inputs go whole to every run.

        Raises:
            ModelError: onnxruntime fails while running.
            OutOfMemoryError: the memory does not suffice for one sample.
        """
        return self.run_keeping((), batched, shared)[0]

    def run_keeping(
        self,
        keep: Container[str],
        batched: Mapping[str, Batched],
        shared: Mapping[str, Any] | None = None,
    ) -> tuple[Arrays, dict[str, DeviceArray]]:
        """The same, the outputs named by `keep` left on the device."""
        # What all runs share goes to the device once.
        held = {
            name: to_ort_value(value, self._device) if isinstance(value, np.ndarray) else value
            for name, value in (shared or {}).items()
        }
        parts = list(self._parts(batched, held, keep))
        fetched: Arrays = {}
        kept: dict[str, DeviceArray] = {}
        for index, name in enumerate(self.outputs):
            made = DeviceArray([(results[index], used) for results, used in parts])
            if name in keep:
                kept[name] = made
            else:
                fetched[name] = made.array
        return fetched, kept

    def _parts(
        self, batched: Mapping[str, Batched], held: Mapping[str, Any], keep: Container[str]
    ) -> Iterator[tuple[list[Any], int]]:
        """Run's worth by run's worth, onnxruntime's outputs and how many samples count of them.

        A run takes fewer samples once memory has run out.
        """
        for start, stop in itertools.pairwise(_edges(batched)):
            while start < stop:
                used = min(self._batch, stop - start)
                feeds = {name: _taken(v, start, start + used) for name, v in batched.items()}
                try:
                    yield self._run(feeds, held, keep), used
                except OutOfMemoryError:
                    if self._fixed or used == 1:
                        raise
                    self._halve(used)
                    continue
                start += used
                with self._counting:
                    self.samples += used

    def _halve(self, used: int) -> None:
        self._batch = used // 2
        self._captured = self._recorder()
        warnings.warn(
            f"out of memory with {used} images a run: going on with {self._batch}",
            AdccWarning,
            stacklevel=2,
        )

    def _recorder(self) -> Captured | None:
        """What records runs of a full batch, where the device does that."""
        if not self._device.captures:
            return None
        return Captured(self._session, self.outputs, self._device)

    def _run(
        self, feeds: Mapping[str, Any], held: Mapping[str, Any], keep: Container[str]
    ) -> list[Any]:
        start = time.perf_counter()
        given = {name: self._filled(value) for name, value in feeds.items()} | dict(held)
        whole = all(_samples(given[name]) == self._batch for name in feeds)
        try:
            if self._captured is not None and whole:
                results = self._captured.run(given, keep)
            else:
                results = self._bound(given, keep)
        except Exception as error:
            if _is_out_of_memory(error):
                raise OutOfMemoryError(
                    "the memory does not suffice to run the model; give --batch-size 1, smaller "
                    "images or --device cpu"
                ) from error
            raise ModelError(f"onnxruntime failed to run the model: {first_line(error)}") from error
        with self._counting:
            self.seconds += time.perf_counter() - start
        return results

    def _bound(self, given: Mapping[str, Any], keep: Container[str]) -> list[Any]:
        binding = self._session.io_binding()
        for name, value in given.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self.outputs:
            binding.bind_output(name, *(self._device.memory if name in keep else ()))
        options = (unrecorded(),) if self._device.captures else ()
        self._session.run_with_iobinding(binding, *options)
        results: list[Any] = binding.get_outputs()
        return results

    def _filled(self, value: Any) -> Any:
        """Samples repeated until they fill a batch, where the model takes no other."""
        if not self._fixed or not isinstance(value, np.ndarray) or len(value) == self._batch:
            return value
        return np.resize(value, (self._batch, *value.shape[1:]))


class SplitSession:
    """Two sessions: what the first makes of the one image is shared by all runs of the second."""

    def __init__(self, first: Session, second: Session) -> None:
        self._first, self._second = first, second

    @property
    def single_cut(self) -> bool:
        """Whether a single value goes from the first to the second."""
        return len(self._first.outputs) == 1

    @property
    def samples(self) -> int:
        """How many the second was run on so far."""
        return self._second.samples

    @property
    def seconds(self) -> float:
        """How long both ran so far."""
        return self._first.seconds + self._second.seconds

    def run(self, batched: Arrays, shared: Mapping[str, Any] | None = None) -> Arrays:
        """The second's outputs for the samples of `batched`; `shared` goes to the first.

        Raises:
            ModelError: onnxruntime fails while running.
        """
        _, passed = self._first.run_keeping(self._first.outputs, dict(shared or {}))
        whole = {name: kept.part(0, len(kept)) for name, kept in passed.items()}
        return self._second.run(batched, whole)

    def run_from(self, batched: Arrays, value: NDArray[Any]) -> Arrays:
        """The same where the one value that goes from the first to the second is known."""
        return self._second.run(batched, {self._first.outputs[0]: value})


def _without_weights(model: ir.Model) -> tuple[bytes, dict[str, Any]]:
    """(the graph as protobuf, its large weights as they lie in memory).

    The sessions of one model share their weights.
    """
    with detached_weights(model, lambda tensor: tensor.dtype in ARRAY_TYPES) as weights:
        # onnxruntime opens no file for us: it would look in the working directory.
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and value.name not in weights:
                value.const_value = load_tensor(tensor)
        graph = to_proto(model).SerializeToString()
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tensor.numpy()))
        for name, tensor in weights.items()
    }
    return graph, values


def _opened(graph: bytes, options: Any, device: Device) -> tuple[Any, Device]:
    """onnxruntime's session, and the device as it serves this graph."""
    try:
        session = onnxruntime.InferenceSession(
            graph, options, providers=device.providers, disabled_optimizers=_WRONG_FUSIONS
        )
    except Exception as error:
        if not device.captures:
            raise
        warnings.warn(
            f"a part of the model runs without a CUDA graph: {first_line(error)}",
            AdccWarning,
            stacklevel=2,
        )
        return _opened(graph, options, uncapturing(device))
    return session, device


def _edges(batched: Mapping[str, Batched]) -> list[int]:
    """Where the samples part: as those do that lie on the device already."""
    for value in batched.values():
        if isinstance(value, DeviceArray):
            return value.edges
    return [0, len(next(iter(batched.values())))]


def _taken(value: Batched, start: int, stop: int) -> Any:
    return value.part(start, stop) if isinstance(value, DeviceArray) else value[start:stop]


def _samples(value: Any) -> int:
    return len(value) if isinstance(value, np.ndarray) else int(value.shape()[0])


def _why_refused(error: Exception) -> str:
    unknown = re.search(r"(\S+):(\w+)\(-?\d+\) is not a registered function/op", str(error))
    if unknown is not None:
        operator = ".".join(unknown.groups())
        return (
            f"operator {operator} of the model is none of onnxruntime's: name the library that "
            "has it by --custom-ops, if you trust its code"
        )
    return f"onnxruntime refuses the model: {first_line(error)}"


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
