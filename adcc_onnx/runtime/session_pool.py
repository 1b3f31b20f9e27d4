"""The onnxruntime sessions of one model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import onnx_ir as ir

from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layer_lookup import INPUT_LAYER
from adcc_onnx.graph.classifier.layers import Layer, make_layer
from adcc_onnx.graph.programs.cam_graph import MapFormula, build_cam_graph
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.opticam_objective import build_opticam_objective
from adcc_onnx.graph.programs.perturb import build_masked, build_pixel_replacement
from adcc_onnx.graph.programs.split import build_prefix, build_suffix
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS, MASKS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.run_settings import RunSettings
from adcc_onnx.runtime.session import Session, SplitSession

_SUFFIX_BATCHES = 8  # a suffix is so short that the overhead per run matters
_Key = TypeVar("_Key")
_Opened = TypeVar("_Opened")


class Usage(NamedTuple):
    """The work that was done in sessions.

    Attributes:
        samples: Number of samples that were run.
        seconds: Time inside onnxruntime, summed over threads.
    """

    samples: int
    seconds: float


class SessionPool:
    """The sessions of one model, which open on first use; all methods are thread-safe.

    Args:
        classifier: The classifier, with a fixed image size.
        layers: The explained layers.
        device: The device that the sessions run on.
        settings: The batch size and threads of all sessions.
        any_batch: Whether the classifier accepts other batch sizes than `settings.batch`.
    """

    def __init__(
        self,
        classifier: Classifier,
        layers: tuple[Layer, ...],
        device: Device,
        settings: RunSettings,
        any_batch: bool,
    ) -> None:
        self.classifier, self.layers, self.device = classifier, layers, device
        self.settings, self.any_batch = settings, any_batch
        self._sessions: dict[tuple[Pass, int, bool], Session] = {}
        self._split_sessions: dict[int, SplitSession] = {}
        self._cam_sessions: dict[tuple[tuple[MapFormula, ...], int], Session] = {}
        self._lock = threading.RLock()

    def with_settings(self, settings: RunSettings) -> SessionPool:
        """Return a new pool of the same model with other settings.

        Args:
            settings: The settings of the new pool.
        """
        return SessionPool(self.classifier, self.layers, self.device, settings, self.any_batch)

    def session(self, kind: Pass, layer: int = 0, masked: bool = False) -> Session:
        """Return the session of one kind of pass.

        Args:
            kind: The kind of pass; for `Pass.SUFFIX`, see `split_session`.
            layer: The index of the layer, which matters for `Pass.SHARE_GRADIENTS` only.
            masked: Whether the session multiplies its images by masks (the input `masks`).

        Raises:
            ModelError: The graph cannot be built or opened.
        """
        key = (kind, layer if kind is Pass.SHARE_GRADIENTS else 0, masked)
        return self._opened(self._sessions, key, lambda: self._open(self._graph(*key), kind))

    def split_session(self, layer: int) -> SplitSession:
        """Return the session of `Pass.SUFFIX`: the model, split at a layer.

        Args:
            layer: The index of the layer.

        Raises:
            ModelError: The graphs cannot be built or opened.
        """
        return self._opened(self._split_sessions, layer, lambda: self._open_split(layer))

    def cam_session(self, formulas: tuple[MapFormula, ...], layer: int) -> Session:
        """Return a session that computes raw maps from activations and gradients.

        Args:
            formulas: The formulas of the maps; see `build_cam_graph`.
            layer: The index of the layer.
        """

        def open_session() -> Session:
            graph = build_cam_graph(formulas, self.layers[layer])
            return Session(graph, self.device, self.settings.batch)

        return self._opened(self._cam_sessions, (formulas, layer), open_session)

    def usage(self) -> dict[Pass, Usage]:
        """Return the work of each kind of pass so far, for the kinds with an open session."""
        found: dict[Pass, Usage] = {}
        sessions: list[tuple[Pass, Session | SplitSession]] = [
            *((kind, session) for (kind, *_), session in self._sessions.items()),
            *((Pass.SUFFIX, session) for session in self._split_sessions.values()),
        ]
        for kind, session in sessions:
            samples, seconds = found.get(kind, Usage(0, 0.0))
            found[kind] = Usage(samples + session.samples, seconds + session.seconds)
        return found

    @cached_property
    def zero_image_logits(self) -> Float32Array:
        """The logits of the zero image, float32 [classes], from the session of `Pass.MASKED`."""
        zero = np.zeros((1, self.classifier.channels, *self.classifier.fixed_size), np.float32)
        outputs = self.session(Pass.MASKED).run({MASKS: zero[:, 0]}, {IMAGE: zero})
        logits: Float32Array = outputs[LOGITS][0]
        return logits

    def _opened(
        self, pool: dict[_Key, _Opened], key: _Key, open_session: Callable[[], _Opened]
    ) -> _Opened:
        with self._lock:
            if key not in pool:
                pool[key] = open_session()
            return pool[key]

    def _open(self, graph: ir.Model, kind: Pass | None, batches: int = 1) -> Session:
        batch = self.settings.batch * (batches if self.any_batch else 1)
        return Session(graph, self.device, batch, not self.any_batch, self.settings.threads, kind)

    def _open_split(self, layer: int) -> SplitSession:
        split = self.layers[layer]
        prefix = self._open(build_prefix(self.classifier, split), None)
        suffix = self._open(build_suffix(self.classifier, split), Pass.SUFFIX, _SUFFIX_BATCHES)
        return SplitSession(prefix, suffix)

    def _graph(self, kind: Pass, layer: int, masked: bool) -> ir.Model:
        classifier = self.classifier
        match kind:
            case Pass.FORWARD:
                return build_instrumented(classifier, masked=masked)
            case Pass.ACTIVATIONS | Pass.GRADIENTS:
                return build_instrumented(classifier, self.layers, kind is Pass.GRADIENTS, masked)
            case Pass.IMAGE_GRADIENTS:
                image = make_layer(classifier, classifier.image, INPUT_LAYER)
                return build_instrumented(classifier, [image], True, masked)
            case Pass.MASKED | Pass.BLENDED:
                return build_masked(classifier, over_baseline=kind is Pass.BLENDED)
            case Pass.RANKED:
                return build_pixel_replacement(classifier)
            case Pass.SHARE_GRADIENTS:
                return build_opticam_objective(classifier, self.layers[layer])
        raise ValueError("the pass SUFFIX runs in two sessions: use split_session")
