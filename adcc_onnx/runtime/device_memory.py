"""The memory of a card: one arena and one copy of the weights for all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper

from adcc_onnx.runtime import cuda
from adcc_onnx.runtime.devices import CPU_PROVIDER, Device
from adcc_onnx.runtime.memory import share_arena
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

# Operators whose second input stays the tensor that the model has, on the card that runs them.
_READERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SHARED_TYPES = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_ENVIRONMENT = ("session.use_env_allocators", "1")
# Weights are allocated by themselves, because the arena would round up their sizes.
_WEIGHTS = ("session.use_device_allocator_for_initializers", "1")
_SHRINK = "memory.enable_memory_arena_shrinkage"
_RECORD_PLACEMENT = ("session.record_ep_graph_assignment_info", "1")


class DeviceWeight:
    """A weight on a device.

    Args:
        tensor: The weight; kept, so that its identity stays unique.
        device: The device.

    Attributes:
        value: The onnxruntime value for `SessionOptions.add_initializer`.
    """

    def __init__(self, tensor: ir.TensorProtocol, device: Device) -> None:
        self._tensor = tensor
        array = np.ascontiguousarray(tensor.numpy())
        self._owner = onnxruntime.OrtValue.ortvalue_from_numpy(array, *device.memory)
        # A session takes values only that do not own their memory.
        self.value = onnxruntime.OrtValue.from_dlpack(self._owner)


_weights: WeakValueDictionary[tuple[int, str], DeviceWeight] = WeakValueDictionary()


def share_card_arena(options: Any, device: Device) -> None:
    """Let a session share its working memory on the card with all others.

    Sessions that record runs as CUDA graphs keep an arena of their own, because a recording holds
    addresses in it.

    Args:
        options: The `onnxruntime.SessionOptions` of the session.
        device: The device.
    """
    options.add_session_config_entry(*_WEIGHTS)
    options.add_session_config_entry(*_RECORD_PLACEMENT)
    if device.kind == "cuda" and not device.captures:
        _register_arena(device.memory[1])
        options.add_session_config_entry(*_ENVIRONMENT)


def share_weights(
    options: Any, model: ir.Model, weights: Mapping[str, ir.TensorProtocol], device: Device
) -> list[DeviceWeight]:
    """Let a session read weights that are on the card already, or will be for the next session.

    Args:
        options: The `onnxruntime.SessionOptions` of the session.
        model: The graph of the session.
        weights: Its large weights by name.
        device: The device.

    Returns:
        The weights, which must live as long as the session.
    """
    shared = []
    for name, tensor in weights.items():
        value = model.graph.initializers[name]
        if tensor.dtype not in _SHARED_TYPES or not _read_on_card_only(value):
            continue
        key = (id(tensor), device.name)
        weight = _weights.get(key)
        if weight is None:
            weight = _weights[key] = DeviceWeight(tensor, device)
        options.add_initializer(name, weight.value)
        shared.append(weight)
    return shared


def may_share_weights(session: Any) -> bool:
    """Return whether no operator that may read a shared weight runs on the CPU.

    Args:
        session: The onnxruntime session, opened after `share_weights`.
    """
    return not any(
        node.op_type in _READERS
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU_PROVIDER
        for node in part.get_nodes()
    )


def release_free_memory(device: Device) -> None:
    """Return the unused memory of the shared arena to the card.

    Args:
        device: The device.
    """
    if device.kind != "cuda" or device.captures:
        return
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_SHRINK, f"gpu:{device.memory[1]}")
    with suppress(Exception):  # on a full card, even the smallest session may not open
        _smallest_session(device).run(None, {"x": np.zeros(1, np.float32)}, options)


@cache
def _register_arena(index: int) -> None:
    kinds, places = onnxruntime.OrtAllocatorType, onnxruntime.OrtMemType
    where = onnxruntime.OrtMemoryInfo("Cuda", kinds.ORT_ARENA_ALLOCATOR, index, places.DEFAULT)
    arena = onnxruntime.OrtArenaCfg({})
    onnxruntime.create_and_register_allocator_v2(cuda.PROVIDER, where, {}, arena)


@cache
def _smallest_session(device: Device) -> Any:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "smallest", [x], [y])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    options = onnxruntime.SessionOptions()
    share_arena(options)
    share_card_arena(options, device)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=device.providers, enable_fallback=False
    )


def _read_on_card_only(value: ir.Value) -> bool:
    uses = list(value.uses())
    return bool(uses) and all(
        use.node.op_type in _READERS and use.node.domain in ("", "ai.onnx") and use.idx == 1
        for use in uses
    )
