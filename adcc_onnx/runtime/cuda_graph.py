"""Runs of one size that a card records once and then replays as a whole (CUDA graphs).

What is recorded are addresses, so inputs and outputs lie in buffers that stay where they are.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Container, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from adcc_onnx.runtime.devices import Device

# onnxruntime's name of the recording that a run makes or replays; -1 is none.
_RECORDING, _NONE = "gpu_graph_id", "-1"
_NUMBERS = itertools.count(1)


class Captured:
    """A session's runs of one batch size.

    Args:
        session: onnxruntime's, its provider told to record.
        outputs: their names, in order.
        device: where it runs.
    """

    def __init__(self, session: Any, outputs: Sequence[str], device: Device) -> None:
        self._session, self._outputs, self._device = session, outputs, device
        self._inputs: dict[str, Any] = {}
        self._results: list[Any] = []
        self._binding: Any = None
        self._number = str(next(_NUMBERS))
        self._turn = threading.Lock()

    def run(self, feeds: Mapping[str, Any], keep: Container[str]) -> list[Any]:
        """The outputs for arrays, or onnxruntime's values, of the batch's size.

        Those named by `keep` stay on the device; all are copies, since the next run overwrites.
        """
        with self._turn:
            if self._binding is None:
                self._prepare(feeds)
            for name, given in feeds.items():
                if isinstance(given, np.ndarray):
                    self._inputs[name].update_inplace(np.ascontiguousarray(given))
                else:
                    copied(given, self._device, self._inputs[name])
            self._session.run_with_iobinding(self._binding, _options(self._number))
            named = zip(self._outputs, self._results, strict=True)
            return [copied(v, self._device) if n in keep else _fetched(v) for n, v in named]

    def _prepare(self, feeds: Mapping[str, Any]) -> None:
        """Make the buffers; a run beforehand shows how large the outputs are."""
        for name, given in feeds.items():
            if isinstance(given, np.ndarray):
                # A copy: where the device is the host, the value would be the caller's array.
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
        self._results = [_room(value, *self._device.memory) for value in trial.get_outputs()]
        binding = self._session.io_binding()
        for name, value in self._inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, self._results, strict=True):
            binding.bind_ortvalue_output(name, value)
        self._binding = binding


def unrecorded() -> Any:
    """The options of a run that neither records nor replays."""
    return _options(_NONE)


def copied(value: Any, device: Device, into: Any = None) -> Any:
    """A float32 value of onnxruntime's copied on its device, into another of its shape if given."""
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
    """A copy in the host's memory, which is the copy's own."""
    room = _room(value)
    room.update_inplace(value.numpy())
    return room


def _room(value: Any, *where: Any) -> Any:
    """A value of another's shape and type, on the host unless told otherwise."""
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
        value.shape(), value.element_type(), *where
    )


@cache
def _options(recording: str) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_RECORDING, recording)
    return options
