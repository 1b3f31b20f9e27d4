"""The options of an evaluation as plain data, shared by Python, the command line and clusters.

Importing this module is fast: what the options need is imported when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

    from adcc_onnx.cams.method import Method
    from adcc_onnx.evaluation.plan import Plan
    from adcc_onnx.images.cards import ModelCard
    from adcc_onnx.images.preprocessing import Preprocessing
    from adcc_onnx.images.sources.given_images import Images
    from adcc_onnx.images.sources.image_source import Label, Source
    from adcc_onnx.metrics.metric import Metric
    from adcc_onnx.model import Model
    from adcc_onnx.runtime.calibration import Calibration

SAMPLES = ("first", "random", "stratified")


class DeviceOptions(TypedDict, total=False):
    """The options of `adcc_onnx.load` that say where a model runs; each may be missing.

    Attributes:
        device: Name of the device.
        batch_size: Number of images per run.
        precision: "auto", "fp32", "fp16", "bf16" or "int8".
        cuda_graph: Whether to record and replay the runs of full batches on CUDA.
    """

    device: str
    batch_size: int | None
    precision: str
    cuda_graph: bool


class ModelOptions(DeviceOptions, total=False):
    """The options of `adcc_onnx.load`, with those of the device; each may be missing.

    Attributes:
        preprocessing: Preset, path of a card, `Preprocessing`, or the content of a card.
        decode: "full" or "reduced".
        layers: One layer or several.
        fuse: "mean", "max" or "product".
        scores: The scores that gradient methods differentiate.
        scores_output: Name of the model's output with the class scores.
        size: Input size (height, width) in pixels.
        threads: Number of intra-op threads per run.
        concurrent_runs: Number of runs at the same time.
        custom_ops: Libraries of custom operators.
        set_inputs: Values of inputs other than the image, by the input's name.
    """

    preprocessing: str | Path | Preprocessing | ModelCard | None
    decode: str | None
    layers: str | Sequence[str] | None
    fuse: str
    scores: str
    scores_output: str | None
    size: tuple[int, int] | None
    threads: int
    concurrent_runs: int
    custom_ops: Sequence[str | Path]
    set_inputs: Mapping[str, ArrayLike] | None


@dataclass(frozen=True)
class SourceOptions:
    """Which images are evaluated.

    Attributes:
        images: The images as `as_source` accepts them.
        labels: A file of image labels, or one label per image.
        truth: Ground truth of the object's location: a folder of Pascal VOC files or of masks, or
            a COCO file.
        limit: The largest number of images.
        sample: "first", "random" or "stratified".
        cache_crops: Folder that keeps the decoded and cropped images for later runs.
    """

    images: Images
    labels: str | Path | Sequence[Label] | None = None
    truth: str | Path | None = None
    limit: int | None = None
    sample: str = "first"
    cache_crops: str | Path | None = None

    def open(self, seed: int = 0) -> Source:
        """Open the images.

        Args:
            seed: Seed of a random or stratified sample.

        Raises:
            OptionError: A value does not exist.
            SourceError: The images, labels or ground truth cannot be read, or the crops cannot be
                written.
        """
        from adcc_onnx.errors import OptionError, did_you_mean
        from adcc_onnx.images.annotations.ground_truth import with_ground_truth
        from adcc_onnx.images.crop_cache import with_crop_cache
        from adcc_onnx.images.sources.given_images import as_source
        from adcc_onnx.images.sources.subsampling import subsample

        if self.sample not in SAMPLES:
            close = did_you_mean(str(self.sample), SAMPLES)
            raise OptionError(f"sample must be {', '.join(SAMPLES)}, not '{self.sample}'{close}")
        source = _labeled(as_source(self.images), self.labels)
        chosen = None if self.sample == "first" else seed
        source = subsample(source, self.limit, chosen, self.sample == "stratified")
        if self.truth is not None:
            source = with_ground_truth(source, Path(self.truth))
        return source if self.cache_crops is None else with_crop_cache(source, self.cache_crops)


@dataclass(frozen=True)
class PlanOptions:
    """What an evaluation computes; see `make_plan`.

    Attributes:
        methods: Methods as names with options or as instances.
        metrics: Metrics as names with options or as instances.
        target: "predicted", "label", a class index or a class name.
        protocol: "poppi2021" or "openvino".
        fill: "zero" or "black"; the protocol's own fill if None.
        baseline: Baseline of insertion and deletion.
        steps: Number of steps of insertion and deletion.
        maps: Folders of ready-made maps.
        second_maps: Folders of their maps of the explanation maps.
        seed: Seed of all random numbers.
        controls: Whether the controls `random` and `center` run in addition to the methods.
        thumbnails: Whether the run keeps thumbnails and small maps for reports.
        until: When the run stops: "certain" or "width=NUMBER"; None evaluates all images.
        margin: Largest difference of two scores that counts as equivalent.
        alpha: Error probability of the stopping rule.
        keep_all: Whether methods that are certainly worse are computed until the end.
        anchor: Number of random images that are also evaluated in float32; None for none.
    """

    methods: Sequence[str | Method] = ()
    metrics: Sequence[str | Metric] = ()
    target: str | int = "predicted"
    protocol: str = "poppi2021"
    fill: str | None = None
    baseline: str | None = None
    steps: int | None = None
    maps: Sequence[str | Path] = ()
    second_maps: Sequence[str | Path] = ()
    seed: int = 0
    controls: bool = True
    thumbnails: bool = True
    until: str | None = None
    margin: float | None = None
    alpha: float | None = None
    keep_all: bool = False
    anchor: int | None = None

    def plan(self) -> Plan:
        """Make the plan.

        Raises:
            OptionError: A name or a value does not exist.
            SourceError: A folder of maps does not exist.
        """
        from adcc_onnx.evaluation.plan import make_plan
        from adcc_onnx.explanation.ready_maps import pair
        from adcc_onnx.results.stopping_rule import make_stopping_rule

        return make_plan(
            self.methods,
            self.metrics,
            self.target,
            self.protocol,
            self.seed,
            fill=self.fill,
            baseline=self.baseline,
            steps=self.steps,
            maps=pair(self.maps, self.second_maps),
            controls=self.controls,
            thumbnails=self.thumbnails,
            stopping=make_stopping_rule(self.until, self.margin, self.alpha, self.keep_all),
            anchors=self.anchor or 0,
        )


def load_with(
    model: str | Path | onnx.ModelProto,
    options: ModelOptions,
    device: str | None = None,
    threads: int | None = None,
    calibration: Calibration | None = None,
) -> Model:
    """Load a model with its options.

    Args:
        model: The model's file, or the model in memory.
        options: The options.
        device: The device in place of that in `options`.
        threads: The number of threads in place of that in `options`.
        calibration: The statistics of activations for 8-bit integers; None to measure them later.

    Returns:
        The model.
    """
    from adcc_onnx.model import load

    placed: ModelOptions = {**options}
    if device is not None:
        placed["device"] = device
    if threads is not None:
        placed["threads"] = threads
    return load(model, **placed).with_calibration(calibration)


def _labeled(source: Source, labels: str | Path | Sequence[Label] | None) -> Source:
    from adcc_onnx.errors import OptionError
    from adcc_onnx.images.sources.image_source import relabel
    from adcc_onnx.images.sources.label_files import with_labels

    if labels is None:
        return source
    if isinstance(labels, str | Path):
        return with_labels(source, Path(labels))
    known = list(labels)
    if len(known) != len(source):
        raise OptionError(f"labels has {len(known)} labels for {len(source)} images")
    return relabel(source, [one if isinstance(one, str) else int(one) for one in known])
