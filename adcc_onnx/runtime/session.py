"""An onnxruntime session for any number of samples, which are run in batches."""

from __future__ import annotations

import itertools
import re
import threading
import time
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import AdccWarning, ModelError, OutOfMemoryError, first_line
from adcc_onnx.graph.loading.external_data import load_tensor
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.loading.weights import ARRAY_TYPES, detached_weights
from adcc_onnx.graph.passes.separate_weights import separate_weights
from adcc_onnx.runtime.cuda_graph import Captured, unrecorded
from adcc_onnx.runtime.device_array import DeviceArray, to_ort_value
from adcc_onnx.runtime.devices import Device, uncapturing
from adcc_onnx.runtime.memory import share_arena, trim_heap
from adcc_onnx.runtime.onnxruntime_import import onnxruntime
from adcc_onnx.runtime.passes import Pass, current_counter

Arrays = dict[str, NDArray[Any]]
Batched = NDArray[Any] | DeviceArray
_FATAL_ONLY = 4  # onnxruntime raises each error that it would print
# Pad_Fusion merges a Pad of zeros into a MaxPool, whose own pads are -inf. The result is wrong if
# a window has negative values only (ResNet50V2 of Keras; onnxruntime 1.31).
_WRONG_FUSIONS = ["Pad_Fusion"]
# Quantized operators are computed in real numbers, as the graph defines them. The integer kernels
# that onnxruntime would use overflow on CPUs without VNNI, so maps would depend on the machine.
_REAL_ARITHMETIC = ("session.disable_quant_qdq", "1")
# Parts of the out-of-memory messages of onnxruntime, CUDA, cuBLAS, cuDNN, TensorRT and C++.
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
    """A model in onnxruntime.

    Args:
        model: A graph whose batched inputs have the batch as their first axis.
        device: The device that runs it.
        batch: The maximum number of samples per run. A model with a fixed batch always takes
            exactly this number; the last run is filled up with repeated samples.
        fixed: Whether the model accepts no other batch.
        threads: Number of intra-op threads per run on a CPU; 0 uses one per core.
        kind: The kind of pass that its runs count as; None if they are no passes.

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
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        options.intra_op_num_threads = threads
        if not device.remote:
            share_arena(options)
        options.add_session_config_entry(*_REAL_ARITHMETIC)
        if device.kind == "openvino":
            separate_weights(model)
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
        self._batch, self._fixed, self._kind = batch, fixed, kind
        self._captured = self._recorder()
        self.samples, self.seconds = 0, 0.0
        self._counter_lock = threading.Lock()

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
        # Shared inputs are copied to the device once.
        on_device = {
            name: to_ort_value(value, self._device) if isinstance(value, np.ndarray) else value
            for name, value in (shared or {}).items()
        }
        parts = list(self._parts(batched, on_device, keep))
        fetched: Arrays = {}
        kept: dict[str, DeviceArray] = {}
        for index, name in enumerate(self.outputs):
            output = DeviceArray([(results[index], used) for results, used in parts])
            if name in keep:
                kept[name] = output
            else:
                fetched[name] = output.array
        return fetched, kept

    def _parts(
        self, batched: Mapping[str, Batched], shared: Mapping[str, Any], keep: Container[str]
    ) -> Iterator[tuple[list[Any], int]]:
        """Iterate over the outputs of one run after the other, with the number of valid samples.

        The batch is halved when memory runs out.
        """
        counter = current_counter()
        for start, stop in itertools.pairwise(_edges(batched)):
            while start < stop:
                used = min(self._batch, stop - start)
                feeds = {name: _taken(v, start, start + used) for name, v in batched.items()}
                if counter is not None:
                    counter.before_run()
                try:
                    yield self._run(feeds, shared, keep), used
                except OutOfMemoryError:
                    if self._fixed or used == 1:
                        raise
                    self._halve(used)
                    continue
                start += used
                with self._counter_lock:
                    self.samples += used
                if counter is not None and self._kind is not None:
                    counter.add(self._kind, used)

    def _halve(self, used: int) -> None:
        self._batch = used // 2
        self._captured = self._recorder()
        warnings.warn(
            f"out of memory with {used} images per run; continuing with {self._batch}",
            AdccWarning,
            stacklevel=2,
        )

    def _recorder(self) -> Captured | None:
        """Return the recorded runs of a full batch, if the device uses CUDA graphs."""
        if not self._device.captures:
            return None
        return Captured(self._session, self.outputs, self._device)

    def _run(
        self, feeds: Mapping[str, Any], shared: Mapping[str, Any], keep: Container[str]
    ) -> list[Any]:
        start = time.perf_counter()
        given = {name: self._filled(value) for name, value in feeds.items()} | dict(shared)
        whole = all(_samples(given[name]) == self._batch for name in feeds)
        try:
            if self._captured is not None and whole:
                results = self._captured.run(given, keep)
            else:
                results = self._bound(given, keep)
        except Exception as error:
            if _is_out_of_memory(error):
                raise OutOfMemoryError(
                    "the memory is too small to run the model; give --batch-size 1, smaller images "
                    "or --device cpu"
                ) from error
            raise ModelError(f"onnxruntime failed to run the model: {first_line(error)}") from error
        self._require_rows(results, max(_samples(given[name]) for name in feeds))
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
        options = (unrecorded(),) if self._device.captures else ()
        self._session.run_with_iobinding(binding, *options)
        results: list[Any] = binding.get_outputs()
        return results

    def _filled(self, value: Any) -> Any:
        """Repeat samples until they fill the batch of a model with a fixed batch."""
        if not self._fixed or not isinstance(value, np.ndarray) or len(value) == self._batch:
            return value
        return np.resize(value, (self._batch, *value.shape[1:]))


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


def _without_weights(model: ir.Model) -> tuple[bytes, dict[str, Any]]:
    """Return the graph as protobuf and its large weights, which all sessions of a model share."""
    with detached_weights(model, lambda tensor: tensor.dtype in ARRAY_TYPES) as weights:
        # onnxruntime would search external files in the working directory, so none are left to it.
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
    """Return the onnxruntime session, and the device, without CUDA graphs if they fail."""
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
    """Return the indices at which samples are split: the edges of arrays on the device."""
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
            f"onnxruntime does not know the operator {operator} of the model: give the library "
            "that defines it by --custom-ops, if you trust its code"
        )
    return f"onnxruntime refuses the model: {first_line(error)}"


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
