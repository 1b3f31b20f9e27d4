"""The frozen `Model`: a classifier, how images reach it, where it runs, and what is explained."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.cams.token_grid import TokenGrid
from adcc_onnx.errors import (
    AdccWarning,
    ModelError,
    OptionError,
    PreprocessingError,
    restore_name,
    warnings_as_notes,
)
from adcc_onnx.graph.classifier.attentions import require_self_attentions, with_open_attentions
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.fixed_inputs import InputValues, fix_inputs
from adcc_onnx.graph.classifier.image_classifier import Classifier, read_classifier
from adcc_onnx.graph.classifier.image_input import declare_image_shape
from adcc_onnx.graph.classifier.layers import Layer, layers_on, make_layer, read_layer
from adcc_onnx.graph.classifier.opening import fix_size
from adcc_onnx.graph.loading.file_description import FileDescription, file_description
from adcc_onnx.graph.loading.map_outputs import stored_class_names
from adcc_onnx.graph.loading.reading import read_model, read_proto
from adcc_onnx.graph.loading.weights import materialize
from adcc_onnx.graph.passes.dynamic_batch import fixed_batch, make_batch_dynamic
from adcc_onnx.graph.passes.precision import to_float16, to_float32
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.differentiated_scores import require_scores
from adcc_onnx.graph.programs.tensor_names import NAME_PREFIX
from adcc_onnx.images.cards import ModelCard, card_beside, read_card
from adcc_onnx.images.model_preprocessing import ImageInput, model_preprocessing
from adcc_onnx.images.preprocessing import PRESETS, Preprocessing
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.rich_display import rendered
from adcc_onnx.runtime.batch_check import takes_any_batch
from adcc_onnx.runtime.calibration import Calibration, calibrate
from adcc_onnx.runtime.cheaper_passes import CheaperPasses, Place
from adcc_onnx.runtime.devices import Device, capturing
from adcc_onnx.runtime.precisions import PARTIAL, choose_device_for
from adcc_onnx.runtime.run_settings import RunSettings
from adcc_onnx.runtime.session_pool import SessionPool

FUSIONS = ("mean", "max", "product")
_CHEAPER_NAMES = {"bf16": "bfloat16", "int8": "int8"}
_DEFAULT_BATCH = {"cuda": 32, "tensorrt": 32, "directml": 32}  # 8 elsewhere


@dataclass(frozen=True, eq=False)
class Model:
    """An image classifier that is ready to be explained; it never changes.

    Use `load` to make one, and the `with_...` methods to derive others. Every model has its own
    sessions, so a derived model never returns the maps of its original. Two models are
    equal only if they are the same object.

    Attributes:
        name: The file's name without its suffix.
        sha256: The SHA-256 of the file and of its external weights.
        classifier: The graph with a fixed image size.
        layers: The explained layers, at least one.
        device: The device that the model runs on.
        settings: The batch size, the threads and the number of concurrent runs.
        any_batch: Whether the model accepts any batch size, not only `settings.batch`.
        preprocessing: The conversion from images to tensors; None if only ready tensors can be
            given.
        labels: The names of the classes, if they are known.
        fuse: How the maps of several layers are fused: by their "mean", "max" or "product".
        halved: Whether the model was converted to float16 when it was loaded.
        cheaper: The precision of most passes, "bf16" or "int8"; empty if all passes have the
            precision of the model.
        calibration: The statistics of activations for "int8"; see `calibrated`.
        set_inputs: Descriptions of the values of inputs that were fixed, by the input's name.
        file: The model as its file says it; None if it is not known.
        notes: The warnings that were given when the model was loaded.
        pool: The model's sessions; made with the model, not an argument.

    Raises:
        OptionError: There is no such fusion, no layer, or a layer belongs to another model.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> model = adcc_onnx.load(classifier_path(), device="cpu")
        >>> model
        Model('classifier', input 3 x 112 x 112, 10 classes,
              layers ['/7/Relu_1_output_0'], device cpu, 8 images per run)
        >>> model.with_layers(["3", "5"], fuse="max").with_settings(batch=4)
        Model('classifier', input 3 x 112 x 112, 10 classes,
              layers ['3', '5'] fused by max, device cpu, 4 images per run)
    """

    name: str
    sha256: str
    classifier: Classifier
    layers: tuple[Layer, ...]
    device: Device
    settings: RunSettings
    any_batch: bool
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    fuse: str = "mean"
    halved: bool = False
    cheaper: str = ""
    calibration: Calibration | None = None
    set_inputs: Mapping[str, str] = field(default_factory=dict)
    file: FileDescription | None = None
    notes: tuple[str, ...] = ()
    pool: SessionPool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        require_fusion(self.fuse)
        if not self.layers:
            raise OptionError("a model needs at least one layer to explain")
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers holds {layer!r}: use model.with_layers to name layers")
            if layer.value.graph is not self.classifier.model.graph:
                raise OptionError(f"the layer '{layer.name}' belongs to another model's graph")
        exact = Place(self.classifier, self.layers, self.device)
        cheaper = CheaperPasses(self.cheaper, exact, self.calibration) if self.cheaper else None
        pool = SessionPool(*exact, self.settings, self.any_batch, cheaper)
        object.__setattr__(self, "pool", pool)

    @property
    def size(self) -> tuple[int, int]:
        """The input size (H, W) in pixels."""
        return self.classifier.fixed_size

    @cached_property
    def token_grid(self) -> TokenGrid:
        """The tokens of the last attention: their places, and which of them the scores read.

        Raises:
            ModelError: The model has no attentions over all tokens.
        """
        classifier = with_open_attentions(self.classifier)
        last = require_self_attentions(classifier)[-1].probabilities
        layer = make_layer(classifier, last, last.name or "")
        return TokenGrid(layer.grid, layer.prefix_tokens, layer.queries)

    @property
    def scores(self) -> str:
        """The scores that gradient methods differentiate, such as "logits"."""
        return self.classifier.differentiated

    @property
    def batch(self) -> int:
        """The number of images per run, `settings.batch`."""
        return self.settings.batch

    @property
    def precision(self) -> str:
        """The precision of the scores: "float", "float16", "bfloat16", "int8", ..., or "tf32"."""
        if self.halved or self.cheaper:
            return _CHEAPER_NAMES.get(self.cheaper, "float16")
        own = (self.classifier.logits.dtype or ir.DataType.FLOAT).name.lower()
        return "tf32" if own == "float" and self.device.tf32 else own

    def with_layers(self, layers: str | Sequence[str], fuse: str | None = None) -> Model:
        """Return the same model with other explained layers.

        Args:
            layers: One or several names of tensors or nodes, module paths, or "input".
            fuse: How the maps of several layers are fused: "mean", "max" or "product"; as
                before if None.

        Raises:
            UnknownLayerError: There is no such layer.
            LayerShapeError: A layer has no height and width.
            OptionError: There is no such fusion.

        Example:
            >>> import adcc_onnx
            >>> from adcc_onnx.drawings import classifier_path
            >>> model = adcc_onnx.load(classifier_path(), device="cpu")
            >>> [layer.channels for layer in model.with_layers("3").layers]
            [32]
        """
        chosen = _read_layers(self.classifier, layers)
        return replace(self, layers=chosen, fuse=self.fuse if fuse is None else fuse)

    def with_settings(
        self,
        batch: int | None = None,
        threads: int | None = None,
        concurrent_runs: int | None = None,
    ) -> Model:
        """Return the same model with other run settings, which do not change any result.

        Args:
            batch: Number of images per run; as before if None.
            threads: Number of intra-op threads per run, 0 for one per core; as before if None.
            concurrent_runs: Number of batches that are run at the same time; as before if None.

        Raises:
            OptionError: A number is too small, or the model accepts one batch size only.

        Example:
            >>> import adcc_onnx
            >>> from adcc_onnx.drawings import classifier_path
            >>> model = adcc_onnx.load(classifier_path(), device="cpu")
            >>> model.with_settings(batch=2, threads=1).settings
            RunSettings(batch=2, threads=1, concurrent_runs=1)
        """
        given = {"batch": batch, "threads": threads, "concurrent_runs": concurrent_runs}
        chosen = {name: value for name, value in given.items() if value is not None}
        settings = replace(self.settings, **chosen)
        if not self.any_batch and settings.batch != self.batch:
            raise OptionError(
                f"the model {self.name} takes exactly {self.batch} image(s) per run, not "
                f"{settings.batch}"
            )
        return replace(self, settings=settings)

    def calibrated(self, images: Float32Array) -> Model:
        """Return the same model, calibrated for 8-bit integers.

        Args:
            images: Preprocessed images, float32 [N, C, H, W], from whose activations the ranges of
                the integers and corrections of the biases are computed.

        Raises:
            OptionError: There are no images.
            ModelError: The model cannot be quantized.

        Example:
            >>> import numpy as np
            >>> import adcc_onnx
            >>> from adcc_onnx.drawings import classifier_path
            >>> model = adcc_onnx.load(classifier_path(), device="cpu", precision="int8")
            >>> model.calibrated(np.zeros((2, 3, 112, 112), np.float32)).calibration.images
            2
        """
        if not len(images):
            raise OptionError("a calibration needs at least one image")
        return self.with_calibration(calibrate(self.classifier, images, self.device.custom_ops))

    def with_calibration(self, calibration: Calibration | None) -> Model:
        """Return the same model with another calibration.

        Args:
            calibration: The statistics of activations.
        """
        return replace(self, calibration=calibration)

    def in_own_precision(self) -> Model:
        """Return the same model without passes in "bf16" or "int8"."""
        return replace(self, cheaper="", calibration=None)

    def with_labels(self, labels: Sequence[str]) -> Model:
        """Return the same model with other class names.

        Args:
            labels: The names of the classes, in the order of the scores.

        Raises:
            TypeError: `labels` is a text, not a sequence of texts.
        """
        if isinstance(labels, str):
            raise TypeError("labels must be a sequence of class names, not a single text")
        return replace(self, labels=tuple(labels))

    def with_classifier(self, classifier: Classifier) -> Model:
        """Return the same model with other weights, for which it must be calibrated again.

        Args:
            classifier: A copy of the model's classifier, with the same tensor names.
        """
        layers = layers_on(classifier.model, self.layers)
        return replace(self, classifier=classifier, layers=layers, calibration=None)

    def require_preprocessing(self) -> Preprocessing:
        """Return the preprocessing.

        Raises:
            PreprocessingError: The model has none, so that images cannot be converted.
        """
        if self.preprocessing is None:
            raise PreprocessingError(
                "the preprocessing of the images is not known: give --preprocess "
                f"torch|tf|caffe|unit|raw|CARD.toml, or put a card {self.name}.toml in the folder "
                f"of the model; adcc-onnx check finds it{_hint_for(self.classifier.channels)}"
            )
        return self.preprocessing

    def describe(self) -> dict[str, Any]:
        """Return what identifies the model in the record of a run."""
        found: dict[str, Any] = {
            "model": self.name,
            "sha256": self.sha256,
            "layer": f" {self.fuse} ".join(layer.name for layer in self.layers),
            "scores": self.classifier.scores_kind,
            # TF32 is a property of the device, which may change within a run.
            "precision": self.precision.replace("tf32", "float"),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.describe(),
            **self._describe_choice(),
        }
        if self.calibration is not None:
            found["calibration"] = {**self.calibration.describe(), "provider": self.device.kind}
        # Runs stored before these could be set lack the keys.
        if self.scores != "logits":
            found["differentiated"] = self.scores
        return {**found, "inputs": dict(self.set_inputs)} if self.set_inputs else found

    def _describe_choice(self) -> dict[str, str]:
        """Return which output holds the scores, and why it was chosen, if there are several."""
        found: dict[str, str] = {}
        if len(self.classifier.model.graph.outputs) > 1:
            name = self.classifier.scores.name or ""
            found["scores_output"] = name.removeprefix(f"{NAME_PREFIX}own/")
        if self.classifier.scores_reason:
            found["scores_reason"] = self.classifier.scores_reason
        return found

    def _repr_html_(self) -> str | None:
        html: str | None = rendered(self, "html")
        return html

    def __repr__(self) -> str:
        height, width = self.size
        layers = str([layer.name for layer in self.layers])
        fused = f" fused by {self.fuse}" if len(self.layers) > 1 else ""
        return (
            f"Model({self.name!r}, input {self.classifier.channels} x {height} x {width}, "
            f"{self.classifier.classes} classes,\n      layers {layers}{fused}, "
            f"device {self.device.name}, {self.settings})"
        )


def load(
    path_or_proto: str | Path | onnx.ModelProto,
    preprocessing: str | Path | Preprocessing | ModelCard | None = None,
    *,
    decode: str | None = None,
    layers: str | Sequence[str] | None = None,
    fuse: str = "mean",
    scores: str = "logits",
    scores_output: str | None = None,
    size: tuple[int, int] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    threads: int = 0,
    concurrent_runs: int = 1,
    custom_ops: Sequence[str | Path] = (),
    precision: str = "auto",
    cuda_graph: bool = False,
    set_inputs: InputValues | None = None,
) -> Model:
    """Load an ONNX image classifier.

    Args:
        path_or_proto: An ONNX file, or a model in memory. For a file `model.onnx`, the card
            `model.toml` in the same folder is read, if there is one.
        preprocessing: A preset ("torch", "tf", "caffe", "unit", "raw"), the path of a card, a
            `Preprocessing`, or the content of a card; the card in the model's folder if None, or
            "raw" if the model takes uint8 pixels. Ready tensors need none.
        decode: "full" or "reduced", which decodes large JPEGs faster (see docs/reference/cards.md);
            as the preprocessing says if None.
        layers: One or several layers to explain, by the name of a tensor or node, by a module
            path, or "input"; the card's or the default layer if None.
        fuse: How the maps of several layers are fused: by their "mean", "max" or "product".
        scores: The scores that gradient methods differentiate: "logits", "probabilities",
            "log-probabilities" or "rest" (see docs/reference/definitions.md).
        scores_output: The name of the output with the class scores; detected if None.
        size: The input size (height, width) in pixels, if neither the model, a `Preprocessing` nor
            a card fixes it.
        device: "auto", "cpu", "cuda", "cuda:1", or another one of `runtime.devices`.
        batch_size: Number of images per run; 8 on a CPU and 32 on a GPU if None.
        threads: Number of intra-op threads per run on a CPU; 0 uses one per core.
        concurrent_runs: Number of batches that are run at the same time.
        custom_ops: Libraries with the model's custom operators. Their code is executed.
        precision: "auto" (the model's own, with TF32 products on CUDA; float32 if it is float16 on
            a CPU, or bfloat16), "fp32" (without TF32), "fp16", "bf16" (by OpenVINO on a CPU) or
            "int8" (on a CPU; see `Model.calibrated`).
        cuda_graph: Whether to record runs of a full batch as CUDA graphs and replay them.
        set_inputs: The values of inputs other than the image, by the input's name: numbers, or
            arrays for one image, which are used for every image.

    Returns:
        The model.

    Raises:
        TypeError: `path_or_proto` is neither a path nor an `onnx.ModelProto`.
        ModelError: The model cannot be read or is not an image classifier.
        PreprocessingError: The preprocessing does not fit the model.
        DeviceError: The device is not available.
        OptionError: A name or a value does not exist.

    Example:
        >>> import adcc_onnx
        >>> from adcc_onnx.drawings import classifier_path
        >>> adcc_onnx.load(classifier_path(), device="cpu", batch_size=4).size
        (112, 112)
    """
    require_fusion(fuse)
    _require_size(size)
    chosen = _device(device, precision, custom_ops, cuda_graph)
    name, digest, source = _read(path_or_proto)
    file = file_description(source)
    card = _card_for(path_or_proto, preprocessing)
    to_float32(source, *_emulated_types(chosen))
    wanted = size or (None if card is None else card.size)
    usual = preprocessing.size if isinstance(preprocessing, Preprocessing) else None
    fixed = fix_inputs(source, set_inputs or {})
    notes: list[str] = []
    with warnings_as_notes(notes, repeat=True):
        declare_image_shape(source, wanted or usual, None if card is None else card.layout)
        prepared = prepare(source)
        if precision == "fp16":
            prepared = prepare(to_float16(prepared))
        classifier = _read_classifier(prepared, card, wanted, usual, scores_output, scores)
    classifier, any_batch, batch = _batched(classifier, chosen, batch_size)
    image = _image_input(classifier)
    return Model(
        name=name,
        sha256=digest,
        classifier=classifier,
        layers=_layers(classifier, layers, card),
        device=chosen,
        settings=RunSettings(batch, threads, concurrent_runs),
        any_batch=any_batch,
        preprocessing=model_preprocessing(preprocessing, card, image, decode),
        labels=_class_names(card, prepared),
        fuse=fuse,
        halved=precision == "fp16",
        cheaper=precision if precision in PARTIAL else "",
        set_inputs=fixed,
        file=file,
        notes=tuple(notes),
    )


def _emulated_types(device: Device) -> list[ir.DataType]:
    """Return the types that a device computes slowly, or lacks kernels for."""
    halves = [ir.DataType.FLOAT16] if device.kind == "cpu" else []
    return [ir.DataType.BFLOAT16, *halves]


def _image_input(classifier: Classifier) -> ImageInput:
    takes_bytes = classifier.image.dtype == ir.DataType.UINT8
    return ImageInput(classifier.fixed_size, classifier.channels, takes_bytes)


def _hint_for(channels: int) -> str:
    """Say how images reach a model that takes neither color nor grayscale photos."""
    if channels in (1, 3):
        return ""
    return (
        f"; the model takes {channels} channels, which photos do not have: its images must be .npy "
        "or multi-band TIFF files, or ready tensors in an .npz file"
    )


def require_fusion(fuse: str) -> None:
    """Check the rule that fuses the maps of several layers.

    Raises:
        OptionError: There is no such rule.
    """
    if fuse not in FUSIONS:
        raise OptionError(f"fuse must be {', '.join(FUSIONS[:-1])} or {FUSIONS[-1]}, not {fuse!r}")


def _require_size(size: tuple[int, int] | None) -> None:
    if size is None:
        return
    if not isinstance(size, Sequence) or [type(side) for side in size] != [int, int]:
        raise TypeError(f"size must be (height, width) in pixels, not {size!r}")
    if min(size) < 1:
        raise OptionError(f"size must be positive, not {size[0]} x {size[1]}")


def _device(
    name: str, precision: str, custom_ops: Sequence[str | Path], cuda_graph: bool
) -> Device:
    for argument, value in (("device", name), ("precision", precision)):
        if not isinstance(value, str):
            raise TypeError(f"{argument} must be a text, not {type(value).__name__}")
    device = choose_device_for(precision, name)
    device = replace(device, custom_ops=_libraries(custom_ops))
    return capturing(device) if cuda_graph else device


def _read(path_or_proto: str | Path | onnx.ModelProto) -> tuple[str, str, ir.Model]:
    """Return the model's name, its SHA-256 and its graph."""
    if isinstance(path_or_proto, onnx.ModelProto):
        source = read_proto(path_or_proto)
        materialize(source)
        digest = hashlib.sha256(path_or_proto.SerializeToString()).hexdigest()
        return path_or_proto.graph.name or "model", digest, source
    if not isinstance(path_or_proto, str | Path):
        raise TypeError(
            f"a model must be a path or an onnx.ModelProto, not {type(path_or_proto).__name__}"
        )
    path = Path(path_or_proto)
    source = read_model(path)
    return restore_name(path.stem), _digest(path, source), source


def _card_for(
    path_or_proto: str | Path | onnx.ModelProto,
    preprocessing: str | Path | Preprocessing | ModelCard | None,
) -> ModelCard | None:
    """Return the card that the user gave, or the one in the model's folder."""
    if isinstance(preprocessing, ModelCard):
        return preprocessing
    named = preprocessing is not None and not isinstance(preprocessing, Preprocessing)
    if named and str(preprocessing) not in PRESETS:
        return read_card(Path(str(preprocessing)))
    return None if isinstance(path_or_proto, onnx.ModelProto) else card_beside(Path(path_or_proto))


def _read_classifier(
    prepared: ir.Model,
    card: ModelCard | None,
    size: tuple[int, int] | None,
    usual: tuple[int, int] | None,
    output: str | None,
    differentiated: str,
) -> Classifier:
    """Read the classifier, and fix its image size: `size`, the model's own, or else the usual."""
    require_scores(differentiated)
    layout, scores = (None, None) if card is None else (card.layout, card.scores)
    classifier = read_classifier(prepared, layout, scores, output, size=size or usual)
    wanted = size or classifier.size or usual
    if wanted is None:
        raise ModelError(
            "the model leaves the image size open; give --size HxW, or `size` in its card"
        )
    fix_size(classifier, wanted)
    return replace(classifier, differentiated=differentiated)


def _libraries(custom_ops: Sequence[str | Path]) -> tuple[str, ...]:
    """Return absolute paths, so that the system searches no other folder for a library."""
    for library in custom_ops:
        if not Path(library).is_file():
            raise OptionError(f"no such library of custom operators: {library}")
    return tuple(str(Path(library).absolute()) for library in custom_ops)


def _digest(path: Path, source: ir.Model) -> str:
    """Return the SHA-256 of the model's file and of the files of its external weights."""
    tensors = (value.const_value for value in source.graph.initializers.values())
    external = {Path(t.path) for t in tensors if isinstance(t, ir.ExternalTensor)}
    digest = hashlib.sha256()
    for file in [path, *sorted(external)]:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _layers(
    classifier: Classifier, names: str | Sequence[str] | None, card: ModelCard | None
) -> tuple[Layer, ...]:
    if names is None and card is not None:
        names = card.layer
    return _read_layers(classifier, names) if names else (default_layer(classifier),)


def _read_layers(classifier: Classifier, names: str | Sequence[str]) -> tuple[Layer, ...]:
    chosen = [names] if isinstance(names, str) else names
    if not isinstance(chosen, Sequence) or not all(isinstance(name, str) for name in chosen):
        raise TypeError(f"layers must be a name or a sequence of names, not {names!r}")
    return tuple(read_layer(classifier, name) for name in chosen)


def _class_names(card: ModelCard | None, prepared: ir.Model) -> tuple[str, ...] | None:
    """Return the class names of the card, or else those that the model's file holds."""
    if card is not None and card.labels is not None:
        return tuple(card.labels)
    names = stored_class_names(prepared)
    return None if names is None else tuple(names)


def _batched(
    classifier: Classifier, device: Device, batch_size: int | None
) -> tuple[Classifier, bool, int]:
    """Return the classifier with a dynamic batch if possible, whether it has one, and the batch."""
    fixed = fixed_batch(classifier.image)
    wanted = _DEFAULT_BATCH.get(device.kind, 8) if batch_size is None else batch_size
    dynamic = _with_dynamic_batch(classifier)
    if fixed is None or takes_any_batch(dynamic, device):
        return dynamic, True, wanted
    warnings.warn(
        f"the model is written for batches of {fixed} and gives other scores in other batches, so "
        f"every run has {fixed}; incomplete batches are filled up",
        AdccWarning,
        stacklevel=3,
    )
    return classifier, False, fixed


def _with_dynamic_batch(classifier: Classifier) -> Classifier:
    copy = classifier.copy()
    make_batch_dynamic(copy.model, copy.image)
    return copy
