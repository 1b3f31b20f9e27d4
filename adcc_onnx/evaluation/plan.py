"""The plan of an evaluation: its methods, its metrics, and the passes that they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.cams.method import CONTROL_FAMILY, Method, Need
from adcc_onnx.cams.method_registry import DEFAULT_CONTROLS, PAPER_METHODS, get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.protocols import Fill, fill_of
from adcc_onnx.explanation.map_sources import MapSource
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.explanation.seeds import image_seed
from adcc_onnx.explanation.targets import LABEL, PREDICTED, parse_target, resolve_target
from adcc_onnx.explanation.unavailable_methods import unavailable_methods
from adcc_onnx.metrics.metric import Metric, MetricNeed
from adcc_onnx.metrics.metric_registry import ADCC_FAMILY, PIXEL_CURVES, get_metric
from adcc_onnx.model import Model
from adcc_onnx.options import call_text
from adcc_onnx.results.anchor_runs import anchor_config
from adcc_onnx.results.stopping_rule import StoppingRule
from adcc_onnx.runtime.passes import Pass

# What metrics read that they may compare with p(x).
_SCORES_OF_CHANGED_IMAGES = {
    MetricNeed.MASKED_SCORE,
    MetricNeed.DELETED_SCORE,
    MetricNeed.OTHER_SCORES,
    MetricNeed.REPLACED_SCORES,
}

__all__ = ["LABEL", "PREDICTED", "Plan", "image_seed", "make_plan", "versions"]


@dataclass(frozen=True)
class Plan:
    """What one evaluation computes.

    Attributes:
        methods: The methods by their names with options, in the order of the request.
        metrics: The metrics by their names with options, in the order of the request.
        target: "predicted", "label", a class index, or a class name (see `for_model`).
        protocol: The name of the protocol, which fixes the definitions.
        fill: The values of fully masked pixels: "zero" or "black".
        seed: The seed of all random numbers.
        thumbnails: Whether the run keeps thumbnails and small maps for reports.
        stopping: When the run may stop before it has seen all images; None for never.
        anchors: Number of random images that are also evaluated in float32; 0 for none.
        budget: What a budget chose, in words; empty without a budget.
        is_anchor: Whether this is the plan of that evaluation in float32.
        unavailable: Why methods cannot explain the model, by the method's name; see
            `mark_unavailable`.
    """

    methods: dict[str, MapSource]
    metrics: dict[str, Metric]
    target: str | int
    protocol: str
    fill: Fill
    seed: int
    thumbnails: bool = False
    stopping: StoppingRule | None = None
    anchors: int = 0
    budget: str = ""
    is_anchor: bool = False
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> frozenset[Need]:
        """The outputs of the first pass, which all methods share."""
        return frozenset().union(*(method.needs for method in self.available.values()))

    @property
    def available(self) -> dict[str, MapSource]:
        """The methods that can explain the model, by their names."""
        return {n: method for n, method in self.methods.items() if n not in self.unavailable}

    @property
    def controls(self) -> list[str]:
        """The names of the methods that are controls, which do not depend on the model."""
        return [
            name
            for name, method in self.methods.items()
            if isinstance(method, Method) and method.family == CONTROL_FAMILY
        ]

    def needs_again(self, method: MapSource) -> frozenset[Need] | None:
        """Return the outputs that the pass on a method's explanation maps must have.

        Args:
            method: A method of the plan.

        Returns:
            The outputs; None if no metric needs this pass.
        """
        required = self._metric_needs(method)
        if MetricNeed.SECOND_MAP in required:
            return method.needs
        return frozenset() if MetricNeed.MASKED_SCORE in required else None

    def needs_deleted_score(self, method: MapSource) -> bool:
        """Return whether a metric needs the score of images without their explanation.

        Args:
            method: A method of the plan.
        """
        return MetricNeed.DELETED_SCORE in self._metric_needs(method)

    def compared_pass(self, method: MapSource) -> Pass | None:
        """Return the pass on changed images whose scores metrics compare with p(x).

        Args:
            method: A method of the plan.

        Returns:
            The kind of pass; None if no metric reads scores of changed images.
        """
        if not self._metric_needs(method) & _SCORES_OF_CHANGED_IMAGES:
            return None
        needs = self.needs_again(method)
        return Pass.FORWARD if needs is None else pass_for(needs)

    def compares_other_precision(self, model: Model) -> bool:
        """Return whether metrics compare p(x) with scores in another precision than it has.

        Then it is also needed in that precision, because differences would otherwise be those of
        precisions, too.

        Args:
            model: The model that the plan is for.
        """
        own = model.pool.is_cheaper(pass_for(self.needs))
        kinds = map(self.compared_pass, self.available.values())
        return any(kind is not None and model.pool.is_cheaper(kind) != own for kind in kinds)

    def _metric_needs(self, method: MapSource) -> set[MetricNeed]:
        """Return what the metrics of a method read."""
        return {need for metric in self.metrics_of(method).values() for need in metric.needs}

    @property
    def truth(self) -> bool:
        """Whether any metric needs the ground truth of the object's location."""
        return bool(self.metrics_of_truth)

    @property
    def metrics_of_truth(self) -> list[str]:
        """The names of the metrics that need the ground truth of the object's location."""
        return [name for name, metric in self.metrics.items() if MetricNeed.TRUTH in metric.needs]

    def metrics_of(self, method: MapSource) -> dict[str, Metric]:
        """Return the metrics that can be computed for a method.

        Args:
            method: A method of the plan. Ready-made maps exist for the unchanged images and the
                explained classes only.
        """
        if not isinstance(method, ReadyMaps):
            return self.metrics
        missing = {MetricNeed.OTHER_MAPS, MetricNeed.OTHER_CLASS_MAPS}
        if method.second_folder is None:
            missing.add(MetricNeed.SECOND_MAP)
        return {name: m for name, m in self.metrics.items() if not m.needs & missing}

    def for_model(self, model: Model) -> Plan:
        """Return the same plan with the class index of a target that is a class name.

        Args:
            model: The model that the plan is for.

        Raises:
            OptionError: The model has no such class.
        """
        return replace(self, target=resolve_target(self.target, model))

    def mark_unavailable(self, model: Model) -> Plan:
        """Return the same plan with the methods that cannot explain a model, and the reasons.

        A warning names these methods, and the rows of their images hold the reason.

        Args:
            model: The model that the plan is for.

        Raises:
            ModelError: No method can explain the model.
        """
        needs = {name: method.needs for name, method in self.methods.items()}
        return replace(self, unavailable=unavailable_methods(model, needs, self.controls))

    def for_anchors(self) -> Plan:
        """Return the plan of the evaluation of some images in float32."""
        return replace(self, stopping=None, is_anchor=True)

    def without(self, methods: Collection[str]) -> Plan:
        """Return the same plan without some methods.

        Args:
            methods: The names of the methods.
        """
        kept = {name: method for name, method in self.methods.items() if name not in methods}
        return replace(self, methods=kept)

    def key(self, name: str) -> int:
        """Return the seed of the random numbers of one image; see `image_seed`.

        Args:
            name: The image's name.
        """
        return image_seed(self.seed, name)

    def config(self, model: Model, source: str, images: int = 0) -> dict[str, Any]:
        """Return the record of everything that changes a score.

        Args:
            model: The evaluated model.
            source: The description of the images.
            images: The number of images, which a stopping rule depends on.
        """
        found = {
            **model.describe(),
            "protocol": self.protocol,
            "fill": self.fill,
            "target": self.target,
            "methods": list(self.methods),
            "controls": self.controls,
            **({"labels": list(model.labels)} if model.labels else {}),
            "metrics": list(self.metrics),
            "seed": self.seed,
            "images": source,
            **({"stopping": self.stopping.record(images)} if self.stopping else {}),
            "versions": versions(),
            "device": model.device.name,
            "tf32": model.device.tf32,
            "batch_size": model.batch,
        }
        if model.calibration is not None:
            found["calibration_ranges"] = model.calibration.record()
        if self.budget:
            found["budget"] = self.budget
        if self.anchors:
            found["anchors"] = self.anchors
        return anchor_config(found) if self.is_anchor else found


def make_plan(
    methods: Sequence[str | Method] = (),
    metrics: Sequence[str | Metric] = (),
    target: str | int = PREDICTED,
    protocol: str = "poppi2021",
    seed: int = 0,
    *,
    fill: str | None = None,
    baseline: str | None = None,
    steps: int | None = None,
    maps: Sequence[ReadyMaps] = (),
    controls: bool = False,
    thumbnails: bool = False,
    stopping: StoppingRule | None = None,
    anchors: int = 0,
) -> Plan:
    """Make a plan from names or instances of methods and metrics.

    Args:
        methods: Methods as names with options or as instances; the six methods of the paper if
            neither methods nor maps are given.
        metrics: Metrics as names with options or as instances; the ADCC family if empty.
        target: "predicted", "label", a class index or a class name.
        protocol: "poppi2021" or "openvino".
        seed: Seed of all random numbers.
        fill: "zero" or "black"; the protocol's own fill if None.
        baseline: Baseline of insertion and deletion where these have no options of their own.
        steps: Number of steps of insertion and deletion where these have no options of their own.
        maps: Ready-made maps; each appears in the table under its folder's name.
        controls: Whether the controls `random` and `center` run in addition to the methods.
        thumbnails: Whether the run keeps thumbnails and small maps for reports.
        stopping: When the run may stop before it has seen all images; None for never.
        anchors: Number of random images that are also evaluated in float32.

    Returns:
        The plan.

    Raises:
        OptionError: A name or a value does not exist.

    Example:
        >>> list(make_plan(["gradcam", "scorecam"], ["insertion"], steps=56).metrics)
        ['insertion(steps=56)']
    """
    chosen: dict[str, MapSource] = dict(
        named_method(method) for method in methods or (() if maps else PAPER_METHODS)
    )
    for ready in maps:
        name = ready.folder.resolve().name
        if name in chosen:
            raise OptionError(f"two methods are called '{name}': rename the folder {ready.folder}")
        chosen[name] = ready
    for control in DEFAULT_CONTROLS if controls else ():
        chosen.setdefault(control, get_method(control))
    options = {"baseline": baseline, "steps": steps}
    measured = dict(_named_metric(metric, options) for metric in metrics or ADCC_FAMILY)
    return Plan(
        chosen, measured, parse_target(target), protocol, fill_of(protocol, fill), seed, thumbnails,
        stopping, anchors,
    )  # fmt: skip


def named_method(method: str | Method) -> tuple[str, Method]:
    """Return a method with its name and options.

    Args:
        method: A name with options, or an instance.

    Raises:
        OptionError: There is no such method or option.
        TypeError: The argument is neither text nor a method.
    """
    if isinstance(method, str):
        return method, get_method(method)
    if isinstance(method, Method):
        return call_text(method), method
    raise _wrong_type("methods", method)


def _named_metric(metric: str | Metric, options: Mapping[str, object]) -> tuple[str, Metric]:
    if isinstance(metric, str):
        text = _with_options(metric, options)
        return text, get_metric(text)
    if not isinstance(metric, Metric):
        raise _wrong_type("metrics", metric)
    text = call_text(metric)
    # A report creates the metric from its text when it reads a run.
    if type(get_metric(text)) is not type(metric):
        raise OptionError(f"another metric is called '{metric.name}': choose another name")
    return text, metric


def _wrong_type(argument: str, given: object) -> TypeError:
    kind, example = ("Method", "gradcam") if argument == "methods" else ("Metric", "adcc")
    found = given.__name__ if isinstance(given, type) else type(given).__name__
    return TypeError(
        f"{argument} must be names such as '{example}' or {kind} instances, not {found}"
    )


def _with_options(text: str, options: Mapping[str, object]) -> str:
    """Add options to the text of a metric that takes them and has none."""
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{text}({given})" if given and text in PIXEL_CURVES else text


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute the scores, by the package's name."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"adcc-onnx": __version__}
    for package in ("numpy", "numba", "onnx", "onnxruntime-gpu", "onnxruntime", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
