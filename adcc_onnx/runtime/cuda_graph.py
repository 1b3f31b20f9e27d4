"""CUDA graphs: the GPU records a run of one batch size once and then replays it as a whole.

A recording holds the addresses of its inputs and outputs, so these have buffers of their own. Runs
that record or replay are called in the device's own thread (`device_thread`), one after the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

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

    def run(self, feeds: Mapping[str, Any], keep: Container[str]) -> list[Any]:
        """Run the session on a full batch.

        Args:
            feeds: The inputs by name, as arrays or as onnxruntime values.
            keep: The names of the outputs that stay on the device.

        Returns:
            Copies of the outputs, because the next run overwrites the buffers.
        """
        if self._binding is None:
            self._prepare(feeds)
        for name, given in feeds.items():
            self._inputs[name].update_inplace(given)
        self._session.run_with_iobinding(self._binding, _options(self._graph_id))
        named = zip(self._outputs, self._results, strict=True)
        home = self._device.memory
        return [_copied(v, *(home if n in keep else ())) for n, v in named]

    def _prepare(self, feeds: Mapping[str, Any]) -> None:
        """Allocate the buffers; a first run gives the shapes of the outputs."""
        home = self._device.memory
        for name, given in feeds.items():
            self._inputs[name] = _empty_like(given, *home)
            self._inputs[name].update_inplace(given)
        trial = self._session.io_binding()
        for name, value in self._inputs.items():
            trial.bind_ortvalue_input(name, value)
        for name in self._outputs:
            trial.bind_output(name, *home)
        self._session.run_with_iobinding(trial, _options(_NONE))
        self._results = [_empty_like(value, *home) for value in trial.get_outputs()]
        binding = self._session.io_binding()
        for name, value in self._inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, self._results, strict=True):
            binding.bind_ortvalue_output(name, value)
        self._binding = binding


def unrecorded() -> Any:
    """Return the options of a run that neither records nor replays a graph."""
    return _options(_NONE)


def _copied(value: Any, *where: Any) -> Any:
    """Return a copy of a value of any type, by default in the host's memory."""
    copy = _empty_like(value, *where)
    # To the host, from an array: onnxruntime copies values only into a device's memory.
    copy.update_inplace(value if where else value.numpy())
    return copy


def _empty_like(value: Any, *where: Any) -> Any:
    """Return an uninitialized value of the same shape and type, by default on the host."""
    if isinstance(value, np.ndarray):
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(value.shape, value.dtype, *where)
    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
        value.shape(), value.element_type(), *where
    )


@cache
def _options(graph_id: str) -> Any:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_GRAPH_ID, graph_id)
    return options
