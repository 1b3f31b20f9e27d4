"""What an evaluation has to run: the methods, the metrics, and the passes they share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.cams.method import Need
from adcc_onnx.cams.method_registry import PAPER_METHODS, get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.protocols import Fill, fill_of
from adcc_onnx.explanation.map_sources import MapSource
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.metrics.metric import Metric, MetricNeed
from adcc_onnx.metrics.metric_registry import ADCC_FAMILY, PIXEL_CURVES, get_metrics
from adcc_onnx.model import Model

PREDICTED, LABEL = "predicted", "label"


@dataclass(frozen=True)
class Plan:
    """One evaluation.

    Attributes:
        methods: name as asked (with its options) -> the method.
        metrics: name as asked (with its options) -> the metric, in the order asked.
        target: "predicted", "label", or the index of a class.
        protocol: which definitions hold; see docs.
        fill: what shows where a map is 0; the protocol's unless asked otherwise.
        seed: of everything that is drawn at random.
    """

    methods: dict[str, MapSource]
    metrics: dict[str, Metric]
    target: str | int
    protocol: str
    fill: Fill
    seed: int

    @property
    def needs(self) -> frozenset[Need]:
        """What the first pass, which all methods share, has to show."""
        return frozenset().union(*(method.needs for method in self.methods.values()))

    def needs_again(self, method: MapSource) -> frozenset[Need] | None:
        """What the run on a method's explanation maps has to show; None if no metric needs it."""
        asked = {need for metric in self.metrics_of(method).values() for need in metric.needs}
        if MetricNeed.SECOND_MAP in asked:
            return method.needs
        return frozenset() if MetricNeed.MASKED_SCORE in asked else None

    @property
    def truth(self) -> bool:
        """Whether any metric needs to know where the object is."""
        return bool(self.metrics_of_truth)

    @property
    def metrics_of_truth(self) -> list[str]:
        """The metrics that need to know where the object is."""
        return [name for name, metric in self.metrics.items() if MetricNeed.TRUTH in metric.needs]

    def metrics_of(self, method: MapSource) -> dict[str, Metric]:
        """The metrics that can be had of a method: ready maps are of no other images."""
        if not isinstance(method, ReadyMaps):
            return self.metrics
        missing = {MetricNeed.OTHER_MAPS}
        if method.second_folder is None:
            missing.add(MetricNeed.SECOND_MAP)
        return {name: m for name, m in self.metrics.items() if not m.needs & missing}

    def key(self, name: str) -> int:
        """What the noise of one image is drawn from; see `image_key`."""
        return image_seed(self.seed, name)

    def config(self, model: Model, source: str) -> dict[str, Any]:
        """The record of everything that changes a number."""
        return {
            **model.describe(),
            "protocol": self.protocol,
            "fill": self.fill,
            "target": self.target,
            "methods": list(self.methods),
            "metrics": list(self.metrics),
            "seed": self.seed,
            "images": source,
            "versions": versions(),
            "device": model.device.name,
            "tf32": model.device.tf32,
            "batch_size": model.batch,
        }


def image_seed(seed: int, name: str) -> int:
    """What the noise of the image of a name is drawn from: the same in any order or process."""
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def make_plan(
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    target: str | int = PREDICTED,
    protocol: str = "poppi2021",
    seed: int = 0,
    *,
    fill: str | None = None,
    baseline: str | None = None,
    steps: int | None = None,
    maps: Sequence[ReadyMaps] = (),
) -> Plan:
    """A plan from names.

    Args:
        methods: the paper's six where neither methods nor maps are given.
        metrics: the ADCC family where none are given.
        target: "predicted", "label" or a class index.
        protocol: "poppi2021" or "openvino".
        seed: of everything that is drawn at random.
        fill: "zero" or "black"; the protocol's if None.
        baseline, steps: of insertion and deletion, where these are asked for without options.
        maps: made by other tools; each stands in the table under its folder's name.

    Raises:
        OptionError: an unknown name or value, with the closest there are.
    """
    chosen: dict[str, MapSource] = {
        name: get_method(name) for name in methods or (() if maps else PAPER_METHODS)
    }
    for ready in maps:
        name = ready.folder.resolve().name
        if name in chosen:
            raise OptionError(f"two methods are called '{name}': rename the folder {ready.folder}")
        chosen[name] = ready
    options = {"baseline": baseline, "steps": steps}
    measured = get_metrics([_with_options(text, options) for text in metrics or ADCC_FAMILY])
    return Plan(chosen, measured, _target(target), protocol, fill_of(protocol, fill), seed)


def _with_options(text: str, options: Mapping[str, object]) -> str:
    """A metric as asked, with options that it was asked for without."""
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{text}({given})" if given and text in PIXEL_CURVES else text


def _target(asked: str | int) -> str | int:
    if asked in (PREDICTED, LABEL):
        return asked
    try:
        index = int(asked)
    except ValueError:
        index = -1
    if index < 0:
        raise OptionError(f"target must be 'predicted', 'label' or a class index, not '{asked}'")
    return index


def versions() -> dict[str, str]:
    """The versions of what computes the numbers."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"adcc-onnx": __version__}
    for package in ("numpy", "numba", "onnx", "onnxruntime-gpu", "onnxruntime", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
