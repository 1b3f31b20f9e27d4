"""CUDA graphs: the GPU records a run of one batch size once and then replays it as a whole.

A recording holds the addresses of its inputs and outputs, so these have buffers of their own.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

# The run option with the ID of the graph to record or replay; -1 stands for none.
_GRAPH_ID, _NONE = "gpu_graph_id", "-1"
_IDS = itertools.count(1)


class Captured:
    """The recorded runs of a session, for one batch size.

    Args:
        session: The onnxruntime session, with CUDA graphs enabled in its provider.
        outputs: The names of the outputs, in order.
        device: The device of the session.
    """

    def __init__(self, session: Any, outputs: Sequence[str], device: Device) -> None:
        self._session, self._outputs, self._device = session, outputs, device
        self._inputs: dict[str, Any] = {}
        self._results: list[Any] = []
        self._binding: Any = None
        self._graph_id = str(next(_IDS))
        self._lock = threading.Lock()

    def run(self, feeds: Mapping[str, Any], keep: Container[str]) -> list[Any]:
        """Run the session on a full batch.

        Args:
            feeds: The inputs by name, as arrays or as onnxruntime values.
            keep: The names of the outputs that stay on the device.

        Returns:
            Copies of the outputs, because the next run overwrites the buffers.
        """
        with self._lock:
            if self._binding is None:
                self._prepare(feeds)
            for name, given in feeds.items():
                if isinstance(given, np.ndarray):
                    self._inputs[name].update_inplace(np.ascontiguousarray(given))
                else:
                    copied(given, self._device, self._inputs[name])
            self._session.run_with_iobinding(self._binding, _options(self._graph_id))
            named = zip(self._outputs, self._results, strict=True)
            return [copied(v, self._device) if n in keep else _fetched(v) for n, v in named]

    def _prepare(self, feeds: Mapping[str, Any]) -> None:
        """Allocate the buffers; a first run gives the shapes of the outputs."""
        for name, given in feeds.items():
            if isinstance(given, np.ndarray):
                # A copy: on the CPU the value would share the caller's array.
                own = np.array(given, order="C")
                value = onnxruntime.OrtValue.ortvalue_from_numpy(own, *self._device.memory)
            else:
                value = copied(given, self._device)
            self._inputs[name] = value
        trial = self._session.io_binding()
        for name, value in self._inputs.items():
            trial.bind_ortvalue_input(name, value)
        for name in self._outputs:
            trial.bind_output(name, *self._device.memory)
        self._session.run_with_iobinding(trial, _options(_NONE))
        self._results = [_empty_like(value, *self._device.memory) for value in trial.get_outputs()]
        binding = self._session.io_binding()
        for name, value in self._inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, self._results, strict=True):
            binding.bind_ortvalue_output(name, value)
        self._binding = binding


def unrecorded() -> Any:
    """Return the options of a run that neither records nor replays a graph."""
    return _options(_NONE)


def copied(value: Any, device: Device, into: Any = None) -> Any:
    """Copy a float32 value on its device.

    Args:
        value: The onnxruntime value.
        device: The device that holds the value.
        into: The value to overwrite, of the same shape; a new one if None.
    """
    session = _copier(device)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", value)
    if into is None:
        binding.bind_output("y", *device.memory)
    else:
        binding.bind_ortvalue_output("y", into)
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0]


@cache
def _copier(device: Device) -> Any:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "copy", [x], [y])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=device.providers)


def _fetched(value: Any) -> Any:
    """Return a copy in the host's memory."""
    copy = _empty_like(value)
    copy.update_inplace(value.numpy())
    return copy


def _empty_like(value: Any, *where: Any) -> Any:
    """Return an uninitialized value of the same shape and type, by default on the host."""
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
        value.shape(), value.element_type(), *where
    )


@cache
def _options(graph_id: str) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, graph_id)
    return options
