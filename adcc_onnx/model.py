"""A classifier ready to be explained: the graph, how images reach it, and where it runs."""

from __future__ import annotations

import enum
import hashlib
import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import ModelError, OptionError, PreprocessingError, did_you_mean
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.image_classifier import Classifier, read_classifier
from adcc_onnx.graph.classifier.layer_lookup import INPUT_LAYER
from adcc_onnx.graph.classifier.layers import Layer, make_layer, read_layer
from adcc_onnx.graph.classifier.opening import fix_size
from adcc_onnx.graph.loading.reading import read_model
from adcc_onnx.graph.passes.dynamic_batch import fixed_batch, make_batch_dynamic
from adcc_onnx.graph.passes.precision import bfloat16_to_float32, to_float16
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.cam_graph import MapFormula, build_cam_graph
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.opticam_objective import build_opticam_objective
from adcc_onnx.graph.programs.perturb import build_masked, build_pixel_replacement
from adcc_onnx.graph.programs.split import build_prefix, build_suffix
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS, MASKS
from adcc_onnx.images.cards import ModelCard, card_beside, read_card
from adcc_onnx.images.preprocessing import PRESETS, Preprocessing, check_decode_mode
from adcc_onnx.runtime.batch_check import takes_any_batch
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.devices import Device, capturing, choose_device
from adcc_onnx.runtime.session import Batched, Session, SplitSession

FUSIONS = ("mean", "max")
PRECISIONS = ("auto", "fp32", "fp16")
_BATCH = {"cuda": 32, "tensorrt": 32, "directml": 32}  # 8 elsewhere


class Pass(enum.Enum):
    """The graphs made of one classifier; each runs in a session of its own."""

    FORWARD = "scores"
    ACTIVATIONS = "scores and activations"
    GRADIENTS = "scores, activations and gradients"
    MASKED = "scores of one image behind many masks"
    BLENDED = "scores of one image blended into another by many masks"
    RANKED = "scores of one image with its first pixels replaced"
    SUFFIX = "scores of one image with its layer behind many masks"
    IMAGE_GRADIENTS = "scores and the gradients of the image"
    SHARE_GRADIENTS = "the score behind a mask of shares of the channels, and its gradient"


_SUFFIX_BATCHES = 8  # of the model's own batch, in a run of its tail
_OF_ONE_LAYER = (Pass.SUFFIX, Pass.SHARE_GRADIENTS)
_Key = tuple[Pass, int, bool]  # a kind of pass, the layer it is for, whether behind masks


@dataclass
class Model:
    """An image classifier under onnxruntime.

    Attributes:
        name: the file's name without its suffix.
        sha256: of the file.
        classifier: the graph; its image size is fixed.
        preprocessing: from pixels to tensors; None if only ready tensors can be given.
        labels: the names of the classes, if known.
        layer_names: the layers asked for; the default layer if there are none.
        fuse: how maps of several layers become one, by their "mean" or "max".
        device: where it runs.
        batch: images a run.
        any_batch: False if the model takes no other batch than `batch`.
        threads: of one run; 0 for one a core.
        lanes: batches that are run side by side.
        halved: whether it was brought to float16 when it was loaded.
    """

    name: str
    sha256: str
    classifier: Classifier
    preprocessing: Preprocessing | None
    labels: tuple[str, ...] | None
    layer_names: tuple[str, ...]
    fuse: str
    device: Device
    batch: int
    any_batch: bool
    threads: int = 0
    concurrent_runs: int = 1
    halved: bool = False
    _sessions: dict[_Key, Session | SplitSession] = field(default_factory=dict, repr=False)
    _cam_sessions: dict[tuple[Hashable, ...], Session] = field(
        default_factory=dict, init=False, repr=False
    )
    _opening: threading.RLock = field(
        default_factory=threading.RLock, init=False, repr=False, compare=False
    )

    @cached_property
    def layers(self) -> list[Layer]:
        """The explained layers; mostly one."""
        if not self.layer_names:
            return [default_layer(self.classifier)]
        return [read_layer(self.classifier, name) for name in self.layer_names]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input in pixels."""
        assert self.classifier.size is not None
        return self.classifier.size

    def session(self, kind: Pass, layer: int = 0, masked: bool = False) -> Session | SplitSession:
        """The session of one kind of pass, built when first asked for.

        Args:
            kind: what it shows.
            layer: the number of the layer it is for, of the kinds that are for one.
            masked: whether the image is seen through masks, of the kinds that may.
        """
        key = (kind, layer if kind in _OF_ONE_LAYER else 0, masked)
        with self._opening:
            if key not in self._sessions:
                self._sessions[key] = self._open(*key)
        return self._sessions[key]

    def probe(self, kind: Pass, masked: bool = False) -> Session:
        """The session of a pass that shows what one run of the whole model gives."""
        found = self.session(kind, masked=masked)
        assert isinstance(found, Session)
        return found

    def cam_session(self, formulas: tuple[MapFormula, ...], layer: int) -> Session:
        """The session that makes raw maps of A and g of one layer; see `build_assembly`."""
        key = (layer, *formulas)
        with self._opening:
            if key not in self._cam_sessions:
                graph = build_cam_graph(formulas, self.layers[layer])
                self._cam_sessions[key] = Session(graph, self.device, self.batch)
        return self._cam_sessions[key]

    def tail(self, layer: int) -> SplitSession:
        """The session of the model cut at layer number `layer`."""
        found = self.session(Pass.SUFFIX, layer)
        assert isinstance(found, SplitSession)
        return found

    def to_device(self, images: NDArray[np.float32]) -> Batched:
        """Images [N, C, H, W] where runs take them without a copy, in the parts of runs."""
        # A model of a fixed batch has its last run filled up, which the host does.
        if not (self.device.remote and self.any_batch):
            return images
        return DeviceArray.put(images, self.device, self.batch)

    def spent(self) -> dict[Pass, tuple[int, float]]:
        """(samples, seconds) that each kind of pass was run on, and took, so far."""
        spent: dict[Pass, tuple[int, float]] = {}
        for (kind, *_), session in self._sessions.items():
            samples, seconds = spent.get(kind, (0, 0.0))
            spent[kind] = samples + session.samples, seconds + session.seconds
        return spent

    @cached_property
    def blank_logits(self) -> NDArray[np.float32]:
        """Logits [classes] of the zero image: behind a zero mask, as who reads it uses masks."""
        zero = np.zeros((1, self.classifier.channels, *self.size), np.float32)
        seen = self.session(Pass.MASKED).run({MASKS: zero[:, 0]}, {IMAGE: zero})
        logits: NDArray[np.float32] = seen[LOGITS][0]
        return logits

    @property
    def precision(self) -> str:
        """What the scores are computed in: "float", "float16", ..., or "tf32"."""
        if self.halved:
            return "float16"
        own = (self.classifier.logits.dtype or ir.DataType.FLOAT).name.lower()
        return "tf32" if own == "float" and self.device.tf32 else own

    def describe(self) -> dict[str, Any]:
        """What identifies the model in a run's record."""
        return {
            "model": self.name,
            "sha256": self.sha256,
            "layer": f" {self.fuse} ".join(layer.name for layer in self.layers),
            "scores": self.classifier.scores_kind,
            # TF32 comes with the device, which may change within a run.
            "precision": self.precision.replace("tf32", "float"),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.describe(),
        }

    def _open(self, kind: Pass, layer: int, masked: bool) -> Session | SplitSession:
        if kind is Pass.SUFFIX:
            cut = self.layers[layer]
            prefix = self._session(build_prefix(self.classifier, cut))
            # The rest of a model is so short that starting a run counts.
            tail = self._session(build_suffix(self.classifier, cut), _SUFFIX_BATCHES)
            return SplitSession(prefix, tail)
        return self._session(self._build(kind, layer, masked))

    def _session(self, graph: ir.Model, batches: int = 1) -> Session:
        batch = self.batch * batches if self.any_batch else self.batch
        return Session(graph, self.device, batch, not self.any_batch, self.threads)

    def _build(self, kind: Pass, layer: int, masked: bool) -> ir.Model:
        classifier = self.classifier
        match kind:
            case Pass.FORWARD:
                return build_instrumented(classifier, masked=masked)
            case Pass.MASKED | Pass.BLENDED:
                return build_masked(classifier, over_baseline=kind is Pass.BLENDED)
            case Pass.RANKED:
                return build_pixel_replacement(classifier)
            case Pass.SHARE_GRADIENTS:
                return build_opticam_objective(classifier, self.layers[layer])
            case Pass.IMAGE_GRADIENTS:
                image = make_layer(classifier, classifier.image, INPUT_LAYER)
                return build_instrumented(classifier, [image], True, masked)
        return build_instrumented(classifier, self.layers, kind is Pass.GRADIENTS, masked)


def load(
    path: str | Path,
    preprocessing: str | Path | Preprocessing | None = None,
    *,
    decode: str | None = None,
    layer: str | Sequence[str] | None = None,
    fuse: str = "mean",
    output: str | None = None,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    threads: int = 0,
    concurrent_runs: int = 1,
    custom_ops: Sequence[str | Path] = (),
    precision: str = "auto",
    cuda_graph: bool = False,
) -> Model:
    """Read an ONNX image classifier.

    Args:
        path: the model; a card `model.toml` beside `model.onnx` is read.
        preprocessing: "torch", "tf", "caffe", "unit", a card's path, or a `Preprocessing`; the
            card beside the model if None. Needed for photos, not for ready tensors.
        decode: "full", or "reduced" (large JPEGs, faster: see docs/cards.md); as the preprocessing
            says if None.
        layer: a tensor's or node's name, a module path, or "input", or several of them, whose maps
            are fused; the card's or the default layer if None.
        fuse: "mean" of the normalized maps of several layers, or their "max".
        output: the model's output with the class scores; found by itself if None.
        size: (height, width) of the input, where neither the model nor a card fixes it.
        device: "auto", "cpu", "cuda", "cuda:1"; all others: see `runtime.devices`.
        batch_size: images a run; 8 on a CPU and 32 on a GPU if None.
        threads: of one run on a CPU; 0 for one a core.
        lanes: batches that are run side by side; more than one where one does not fill the device.
        custom_ops: libraries with the model's own operators: their code runs, so trust them.
        precision: "auto" (the model's own; products in TF32 on CUDA), "fp32" (no TF32), "fp16".
        cuda_graph: record the runs of a full batch on the card, and replay them.

    Raises:
        ModelError, PreprocessingError, DeviceError: see `adcc_onnx.errors`.
    """
    path = Path(path)
    if precision not in PRECISIONS:
        meant = did_you_mean(precision, PRECISIONS)
        raise OptionError(f"no precision '{precision}'{meant}; choose {', '.join(PRECISIONS)}")
    chosen = choose_device(device, tf32=precision != "fp32")
    chosen = replace(chosen, custom_ops=_libraries(custom_ops))
    if cuda_graph:
        chosen = capturing(chosen)
    card = _card_for(path, preprocessing)
    if fuse not in FUSIONS:
        raise OptionError(f"maps are fused by {' or '.join(FUSIONS)}, not by '{fuse}'")
    source = read_model(path)
    digest = _digest(path, source)
    if chosen.kind != "cuda":
        bfloat16_to_float32(source)
    prepared = prepare(source)
    if precision == "fp16":
        prepared = prepare(to_float16(prepared))
    classifier = _read_classifier(prepared, card, size, output)
    classifier, any_batch, batch = _batched(classifier, chosen, batch_size)
    assert classifier.size is not None
    return Model(
        name=path.stem,
        sha256=digest,
        classifier=classifier,
        preprocessing=_decoding(_preprocessing(preprocessing, card, classifier.size), decode),
        labels=None if card is None or card.labels is None else tuple(card.labels),
        layer_names=_layer_names(layer, card),
        fuse=fuse,
        device=chosen,
        batch=batch,
        any_batch=any_batch,
        threads=threads,
        concurrent_runs=concurrent_runs,
        halved=precision == "fp16",
    )


def _card_for(path: Path, preprocessing: str | Path | Preprocessing | None) -> ModelCard | None:
    """The card named by the user, else the one beside the model."""
    named = preprocessing is not None and not isinstance(preprocessing, Preprocessing)
    if named and str(preprocessing) not in PRESETS:
        return read_card(Path(str(preprocessing)))
    return card_beside(path) if path.is_file() else None


def _read_classifier(
    prepared: ir.Model, card: ModelCard | None, size: tuple[int, int] | None, output: str | None
) -> Classifier:
    """The classifier, its image size fixed by the user, the card or itself."""
    layout, scores = (None, None) if card is None else (card.layout, card.scores)
    classifier = read_classifier(prepared, layout, scores, output)
    wanted = size or (card.size if card is not None else None) or classifier.size
    if wanted is None:
        raise ModelError(
            "the model leaves the image size open; give --size HxW, or `size` in its card"
        )
    fix_size(classifier, wanted)
    return classifier


def _libraries(custom_ops: Sequence[str | Path]) -> tuple[str, ...]:
    """Whole paths, so that the system looks for a library nowhere else."""
    for library in custom_ops:
        if not Path(library).is_file():
            raise OptionError(f"no such library of custom operators: {library}")
    return tuple(str(Path(library).absolute()) for library in custom_ops)


def _digest(path: Path, source: ir.Model) -> str:
    """SHA-256 of the model's file and of the files its external weights lie in."""
    tensors = (value.const_value for value in source.graph.initializers.values())
    elsewhere = {Path(t.path) for t in tensors if isinstance(t, ir.ExternalTensor)}
    digest = hashlib.sha256()
    for file in [path, *sorted(elsewhere)]:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _layer_names(asked: str | Sequence[str] | None, card: ModelCard | None) -> tuple[str, ...]:
    if asked is None:
        return () if card is None or card.layer is None else (card.layer,)
    return (asked,) if isinstance(asked, str) else tuple(asked)


def _batched(
    classifier: Classifier, device: Device, asked: int | None
) -> tuple[Classifier, bool, int]:
    """(classifier, freed of a fixed batch if it can be; whether it is free; images a run)."""
    fixed = fixed_batch(classifier.image)
    wanted = asked or _BATCH.get(device.kind, 8)
    freed = _freed(classifier)
    if fixed is None or takes_any_batch(freed, device):
        return freed, True, wanted
    return classifier, False, fixed


def _freed(classifier: Classifier) -> Classifier:
    copy, _ = clone_classifier(classifier)
    make_batch_dynamic(copy.model, copy.image)
    return copy


def _preprocessing(
    asked: str | Path | Preprocessing | None, card: ModelCard | None, size: tuple[int, int]
) -> Preprocessing | None:
    """What the user asked for, else what the card says, for the model's size."""
    if isinstance(asked, Preprocessing):
        if asked.size != size:
            raise PreprocessingError(
                f"the preprocessing gives images of {asked.size[0]} x {asked.size[1]} pixels, "
                f"the model takes {size[0]} x {size[1]}"
            )
        return asked
    if asked is not None and str(asked) in PRESETS:
        return Preprocessing.preset(str(asked), size)
    return None if card is None else card.preprocessing(size)


def _decoding(steps: Preprocessing | None, asked: str | None) -> Preprocessing | None:
    """The preprocessing, with the decoding that the user asked for."""
    if asked is None:
        return steps
    check_decode_mode(asked)
    return None if steps is None else replace(steps, decode=asked)
