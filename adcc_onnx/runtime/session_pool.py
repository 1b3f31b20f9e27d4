"""The onnxruntime sessions of one model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple, TypeVar
from weakref import WeakSet

import numpy as np
import onnx_ir as ir

from adcc_onnx.errors import OutOfMemoryError
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layer_lookup import INPUT_LAYER
from adcc_onnx.graph.classifier.layers import Layer, make_layer
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.programs.block_scores import build_block_score_gradients
from adcc_onnx.graph.programs.cam_graph import MapFormula, build_cam_graph
from adcc_onnx.graph.programs.full_gradient import build_full_gradient
from adcc_onnx.graph.programs.hessian_products import build_hessian_products
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.mixed_gradients import build_mixed_gradients
from adcc_onnx.graph.programs.opticam_objective import build_opticam_objective
from adcc_onnx.graph.programs.perturb import build_masked, build_pixel_replacement
from adcc_onnx.graph.programs.split import build_prefix, build_suffix
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS, MASKS
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.runtime.cheaper_passes import CHEAPER, CheaperPasses, Place
from adcc_onnx.runtime.device_memory import release_free_memory
from adcc_onnx.runtime.device_thread import on_device
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.filling import Filling
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.run_settings import RunSettings
from adcc_onnx.runtime.session import Session, SplitSession

_SUFFIX_BATCHES = 8  # a suffix is so short that the overhead per run matters
_MAX_KNOWN_FORMULAS = 64  # sets of formulas whose graphs need not be built again
_Key = TypeVar("_Key")


class Usage(NamedTuple):
    """The work that was done in sessions.

    Attributes:
        samples: Number of samples that were run.
        seconds: Time inside onnxruntime, summed over threads.
    """

    samples: int
    seconds: float


_Opened = TypeVar("_Opened", Session, SplitSession)


class SessionPool:
    """The sessions of one model, which open on first use; all methods are thread-safe.

    Args:
        classifier: The classifier, with a fixed image size.
        layers: The explained layers.
        device: The device that the sessions run on.
        settings: The batch size and threads of all sessions.
        any_batch: Whether the classifier accepts other batch sizes than `settings.batch`.
        cheaper: Which passes run in a cheaper precision, and how; None for none.

    Attributes:
        filling: Chooses how far batches of images are filled up on a card.
    """

    def __init__(
        self,
        classifier: Classifier,
        layers: tuple[Layer, ...],
        device: Device,
        settings: RunSettings,
        any_batch: bool,
        cheaper: CheaperPasses | None = None,
    ) -> None:
        self.classifier, self.layers, self.device = classifier, layers, device
        self.settings, self.any_batch, self.cheaper = settings, any_batch, cheaper
        self._exact = Place(classifier, layers, device)
        self._sessions: dict[tuple[Pass, int, bool, bool], Session] = {}
        self._split_sessions: dict[int, SplitSession] = {}
        # By the graph, because the formulas of equal methods are different objects.
        self._cam_sessions: dict[bytes, Session] = {}
        self._cam_graphs: dict[tuple[tuple[MapFormula, ...], int], bytes] = {}
        self._dropped: dict[Pass, Usage] = {}
        self._lock = threading.RLock()
        self.filling = Filling()
        _pools.add(self)

    def with_settings(self, settings: RunSettings) -> SessionPool:
        """Return a new pool of the same model with other settings.

        Args:
            settings: The settings of the new pool.
        """
        return SessionPool(*self._exact, settings, self.any_batch, self.cheaper)

    def session(
        self, kind: Pass, layer: int = 0, masked: bool = False, exact: bool = False
    ) -> Session:
        """Return the session of one kind of pass.

        Args:
            kind: The kind of pass; for `Pass.SUFFIX`, see `split_session`.
            layer: The index of the layer, which matters for `Pass.SHARE_GRADIENTS` only.
            masked: Whether the session multiplies its images by masks (the input `masks`).
            exact: Whether the pass keeps the model's own precision in a model with a cheaper one.

        Raises:
            ModelError: The graph cannot be built or opened.
        """
        place = self._place(kind, exact)
        key = (kind, layer if kind is Pass.SHARE_GRADIENTS else 0, masked, place is self._exact)
        graph = partial(self._graph, place, *key[:3])
        return self._opened(self._sessions, key, lambda: self._open(graph(), kind, place.device))

    def is_cheaper(self, kind: Pass) -> bool:
        """Return whether a pass runs in a cheaper precision.

        Args:
            kind: The kind of pass.
        """
        return self._cheaper_passes(kind) is not None

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
        known = self._cam_graphs.get((formulas, layer))
        session = None if known is None else self._cam_sessions.get(known)
        if session is not None:
            return session
        graph = build_cam_graph(formulas, self.layers[layer])
        key = to_proto(graph).SerializeToString(deterministic=True)
        with self._lock:
            if len(self._cam_graphs) >= _MAX_KNOWN_FORMULAS:
                self._cam_graphs.clear()
            self._cam_graphs[formulas, layer] = key
        batch, device = self.settings.batch, self.device
        return self._opened(
            self._cam_sessions, key, lambda: self._new_session(graph, batch, False, None, device)
        )

    def usage(self) -> dict[Pass, Usage]:
        """Return the work of each kind of pass so far, for the kinds with an open session."""
        with self._lock:
            found = dict(self._dropped)
            for kind, session in self._counted_sessions():
                _add_usage(found, kind, session)
        return found

    def drop_idle(self) -> list[Session | SplitSession]:
        """Drop the sessions that no thread runs; they open again on their next use.

        Returns:
            The dropped sessions, whose memory is free when the last reference is gone. A pool that
            is opening a session in another thread drops none.
        """
        if not self._lock.acquire(blocking=False):
            return []
        try:
            for kind, session in self._counted_sessions():
                if session.idle:
                    _add_usage(self._dropped, kind, session)
            return [
                *_take_idle(self._sessions),
                *_take_idle(self._split_sessions),
                *_take_idle(self._cam_sessions),
            ]
        finally:
            self._lock.release()

    @cached_property
    def zero_image_logits(self) -> Float32Array:
        """The logits of the zero image, float32 [classes], from the session of `Pass.MASKED`."""
        zero = np.zeros((1, self.classifier.channels, *self.classifier.fixed_size), np.float32)
        outputs = self.session(Pass.MASKED).run({MASKS: zero[:, 0]}, {IMAGE: zero})
        logits: Float32Array = outputs[LOGITS][0]
        return logits

    def _counted_sessions(self) -> list[tuple[Pass, Session | SplitSession]]:
        return [
            *((kind, session) for (kind, *_), session in self._sessions.items()),
            *((Pass.SUFFIX, session) for session in self._split_sessions.values()),
        ]

    def _opened(
        self, pool: dict[_Key, _Opened], key: _Key, open_session: Callable[[], _Opened]
    ) -> _Opened:
        with self._lock:
            if key not in pool:
                try:
                    opened = open_session()
                except OutOfMemoryError:
                    if not make_room(self.device):
                        raise
                    opened = open_session()
                pool[key] = opened
            return pool[key]

    def _place(self, kind: Pass, exact: bool = False) -> Place:
        """Return what a pass is built from, and where it runs."""
        cheaper = None if exact else self._cheaper_passes(kind)
        return self._exact if cheaper is None else cheaper.place

    def _cheaper_passes(self, kind: Pass) -> CheaperPasses | None:
        """Return how a pass runs in a cheaper precision; None if it does not."""
        return self.cheaper if kind in CHEAPER else None

    def _open(self, graph: ir.Model, kind: Pass, device: Device, batches: int = 1) -> Session:
        batch = self.settings.batch * (batches if self.any_batch else 1)
        return self._new_session(graph, batch, not self.any_batch, kind, device)

    def _new_session(
        self, graph: ir.Model, batch: int, fixed: bool, kind: Pass | None, device: Device
    ) -> Session:
        free, threads = partial(make_room, self.device), self.settings.threads
        if device.kind == "openvino":  # which runs one batch after the other, with all threads
            threads *= self.settings.concurrent_runs
        return Session(graph, device, batch, fixed, threads, kind, free)

    def _open_split(self, layer: int) -> SplitSession:
        classifier, layers, device = self._place(Pass.SUFFIX)
        prefix_graph, fixed = build_prefix(classifier, layers[layer]), not self.any_batch
        # The prefix runs on one image, and its outputs must have one row.
        rows = self.settings.batch if fixed else 1
        prefix = self._new_session(prefix_graph, rows, fixed, None, device)
        suffix_graph = build_suffix(classifier, layers[layer], device.remote and not fixed)
        suffix = self._open(suffix_graph, Pass.SUFFIX, device, _SUFFIX_BATCHES)
        return SplitSession(prefix, suffix)

    def _graph(self, place: Place, kind: Pass, layer: int, masked: bool) -> ir.Model:
        classifier, layers, _ = place
        match kind:
            case Pass.FORWARD:
                return build_instrumented(classifier, masked=masked)
            case Pass.ACTIVATIONS | Pass.GRADIENTS:
                return build_instrumented(classifier, layers, kind is Pass.GRADIENTS, masked)
            case Pass.IMAGE_GRADIENTS:
                image = make_layer(classifier, classifier.image, INPUT_LAYER)
                return build_instrumented(classifier, [image], True, masked)
            case Pass.MASKED | Pass.BLENDED:
                return build_masked(classifier, over_baseline=kind is Pass.BLENDED)
            case Pass.RANKED:
                return build_pixel_replacement(classifier)
            case Pass.SHARE_GRADIENTS:
                return build_opticam_objective(classifier, layers[layer])
            case Pass.ATTENTIONS | Pass.ATTENTION_GRADIENTS | Pass.TOKEN_TRANSFORMS:
                differentiated = kind is not Pass.ATTENTIONS
                transforms = kind is Pass.TOKEN_TRANSFORMS
                return build_instrumented(
                    classifier, layers, differentiated, masked, True, transforms
                )
            case Pass.BLOCK_SCORE_GRADIENTS:
                return build_block_score_gradients(classifier)
            case Pass.HESSIAN_PRODUCTS:
                return build_hessian_products(classifier, layers)
            case Pass.FULL_GRADIENT:
                return build_full_gradient(classifier)
            case Pass.MIXED_GRADIENTS:
                return build_mixed_gradients(classifier, layers)
        raise ValueError("the pass SUFFIX runs in two sessions: use split_session")


_pools: WeakSet[SessionPool] = WeakSet()


def make_room(device: Device) -> bool:
    """Free memory of a device: drop the idle sessions of all models there.

    Args:
        device: The device.

    Returns:
        Whether any session was dropped.
    """
    pools = [pool for pool in _pools if pool.device.name == device.name]
    dropped = [session for pool in pools for session in pool.drop_idle()]
    if not dropped:
        return False

    def release() -> None:
        dropped.clear()
        release_free_memory(device)

    on_device(device, release)
    return True


def _take_idle(sessions: dict[_Key, _Opened]) -> list[_Opened]:
    idle = [key for key, session in sessions.items() if session.idle]
    return [sessions.pop(key) for key in idle]


def _add_usage(usage: dict[Pass, Usage], kind: Pass, session: Session | SplitSession) -> None:
    samples, seconds = usage.get(kind, Usage(0, 0.0))
    usage[kind] = Usage(samples + session.samples, seconds + session.seconds)
