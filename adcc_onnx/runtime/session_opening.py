"""Open onnxruntime sessions: on the device that was asked for, or not at all."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import AdccWarning, DeviceError, ModelError
from adcc_onnx.graph.loading.external_data import load_tensor
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.loading.weights import ARRAY_TYPES, detached_weights
from adcc_onnx.graph.passes.cpu_form import to_cpu_form
from adcc_onnx.graph.passes.cuda_form import to_cuda_form
from adcc_onnx.graph.passes.separate_weights import separate_weights
from adcc_onnx.runtime.device_errors import device_errors, is_out_of_memory, reason_of
from adcc_onnx.runtime.device_memory import (
    DeviceWeight,
    may_share_weights,
    share_card_arena,
    share_weights,
)
from adcc_onnx.runtime.devices import Device, uncapturing, with_openvino_settings
from adcc_onnx.runtime.memory import share_arena, trim_heap
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

_SILENT = 4  # a logging level of onnxruntime; its errors are raised, and reported by us
# Pad_Fusion merges a Pad of zeros into a MaxPool, whose own pads are -inf. The result is wrong if
# a window has negative values only (ResNet50V2 of Keras; onnxruntime 1.31).
_WRONG_FUSIONS = ["Pad_Fusion"]
# Quantized operators are computed in real numbers, as the graph defines them. The integer kernels
# that onnxruntime would use overflow on CPUs without VNNI, so maps would depend on the machine.
# With --precision int8, which needs VNNI, the user wants them.
_REAL_ARITHMETIC = "session.disable_quant_qdq"


@dataclass(frozen=True)
class OpenedSession:
    """An onnxruntime session.

    Attributes:
        session: The session.
        device: Its device, without CUDA graphs if the model cannot be recorded.
        weights: The weights on the device that it shares with other sessions.
    """

    session: Any
    device: Device
    weights: list[DeviceWeight]


def open_session(model: ir.Model, device: Device, threads: int = 0) -> OpenedSession:
    """Open a graph on a device.

    Args:
        model: The graph. It is rewritten in place for its device.
        device: The device.
        threads: Number of intra-op threads per run on a CPU; 0 uses one per core.

    Raises:
        ModelError: The graph is refused by onnxruntime.
        OutOfMemoryError: Memory is too small.
        DeviceError: The device cannot be used any longer.
    """
    if device.kind in ("cuda", "tensorrt"):
        to_cuda_form(model)
    if device.kind == "cpu":
        to_cpu_form(model)
    if device.kind == "openvino":
        separate_weights(model)
    with _refusals(), _without_weights(model) as (graph, weights):
        opened = _opened(graph, model, weights, device, threads)
    trim_heap()
    return opened


def _opened(
    graph: bytes,
    model: ir.Model,
    weights: dict[str, ir.TensorProtocol],
    device: Device,
    threads: int,
) -> OpenedSession:
    """Open a graph with shared weights and CUDA graphs, if the device has them, or without."""
    shared = device.remote and device.kind == "cuda"
    try:
        return _session(graph, model, weights, device, threads, shared)
    except Exception as error:
        if not device.captures or is_out_of_memory(error) or isinstance(error, DeviceError):
            raise
        warnings.warn(
            f"a part of the model runs without a CUDA graph: {reason_of(error)}",
            AdccWarning,
            stacklevel=2,
        )
        return _session(graph, model, weights, uncapturing(device), threads, shared)


def _session(
    graph: bytes,
    model: ir.Model,
    weights: dict[str, ir.TensorProtocol],
    device: Device,
    threads: int,
    shared: bool,
) -> OpenedSession:
    options = _options(device, threads)
    values = [_on_host(tensor) for tensor in weights.values()]
    options.add_external_initializers(list(weights), values)
    on_device = share_weights(options, model, weights, device) if shared else []
    if device.kind != "cpu":
        silence()
    if threads and device.name == "openvino:CPU":  # which ignores the options of onnxruntime
        device = with_openvino_settings(device, INFERENCE_NUM_THREADS=threads)
    # onnxruntime's own fallback would print a message, and open the model on the CPU.
    session = onnxruntime.InferenceSession(
        graph,
        options,
        providers=device.providers,
        disabled_optimizers=_WRONG_FUSIONS,
        enable_fallback=False,
    )
    _require_provider(session, device)
    if on_device and not may_share_weights(session):
        return _session(graph, model, weights, device, threads, shared=False)
    return OpenedSession(session, device, on_device)


def _options(device: Device, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = threads
    if device.remote:
        share_card_arena(options, device)
    else:
        share_arena(options)
    options.add_session_config_entry(_REAL_ARITHMETIC, str(int(not device.integers)))
    for library in device.custom_ops:
        options.register_custom_ops_library(library)
    return options


def _require_provider(session: Any, device: Device) -> None:
    """Check that onnxruntime has not dropped the device, as it does without an error."""
    provider = device.providers[0]
    wanted = provider if isinstance(provider, str) else provider[0]
    if wanted not in session.get_providers():
        raise DeviceError(
            f"onnxruntime no longer opens the device {device.name}: another process may hold it; "
            "or use --device cpu"
        )


@cache
def silence() -> None:
    """Silence messages outside of sessions, such as one per session about plug-in devices."""
    onnxruntime.set_default_logger_severity(_SILENT)


@contextmanager
def _without_weights(model: ir.Model) -> Iterator[tuple[bytes, dict[str, ir.TensorProtocol]]]:
    """Yield the graph as protobuf and its large weights, which all sessions of a model share."""
    with detached_weights(model, lambda tensor: tensor.dtype in ARRAY_TYPES) as weights:
        # onnxruntime would search external files in the working directory, so none are left to it.
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and value.name not in weights:
                value.const_value = load_tensor(tensor)
        yield to_proto(model).SerializeToString(), weights


def _on_host(tensor: ir.TensorProtocol) -> Any:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(tensor.numpy()))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        with device_errors("onnxruntime refuses the model"):
            yield
    except ModelError as error:
        unknown = re.search(
            r"(\S+):(\w+)\(-?\d+\) is not a registered function/op", str(error.__cause__)
        )
        if unknown is None:
            raise
        operator = ".".join(unknown.groups())
        raise ModelError(
            f"onnxruntime does not know the operator {operator} of the model: give the library "
            "that defines it by --custom-ops, if you trust its code"
        ) from error.__cause__
