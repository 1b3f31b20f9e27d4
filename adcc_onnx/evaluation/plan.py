"""What an evaluation has to run: the methods, the metrics, and the passes they share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.cams.method import Method, Need
from adcc_onnx.cams.registry import PAPER_METHODS, get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.metrics.metric import Metric
from adcc_onnx.metrics.metric import Need as MetricNeed
from adcc_onnx.metrics.registry import ADCC_FAMILY, get_metrics
from adcc_onnx.model import Model

PROTOCOLS = ("poppi2021",)
PREDICTED, LABEL = "predicted", "label"


@dataclass(frozen=True)
class Plan:
    """One evaluation.

    Attributes:
        methods: name as asked (with its options) -> the method.
        metrics: in the order asked.
        target: "predicted", "label", or the index of a class.
        protocol: which definitions hold; see docs.
        seed: of everything that is drawn at random.
    """

    methods: dict[str, Method]
    metrics: list[Metric]
    target: str | int
    protocol: str
    seed: int

    @property
    def needs(self) -> frozenset[Need]:
        """What the first pass, which all methods share, has to show."""
        return frozenset().union(*(method.needs for method in self.methods.values()))

    @property
    def masked_score(self) -> bool:
        """Whether any metric needs the score of the explanation map, p(e)."""
        return self._needed(MetricNeed.MASKED_SCORE)

    @property
    def second_map(self) -> bool:
        """Whether any metric needs the map of the explanation map, CAM_c(e)."""
        return self._needed(MetricNeed.SECOND_MAP)

    def key(self, name: str) -> int:
        """What the noise of one image is drawn from: the same in any order, batch or process."""
        digest = hashlib.sha256(f"{self.seed}\n{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big")

    def config(self, model: Model, source: str) -> dict[str, Any]:
        """The record of everything that changes a number."""
        return {
            **model.describe(),
            "protocol": self.protocol,
            "target": self.target,
            "methods": list(self.methods),
            "metrics": [metric.name for metric in self.metrics],
            "seed": self.seed,
            "images": source,
            "versions": versions(),
            "device": model.device.name,
            "batch_size": model.batch,
        }

    def _needed(self, need: MetricNeed) -> bool:
        return any(need in metric.needs for metric in self.metrics)


def make_plan(
    methods: Sequence[str] = (),
    metrics: Sequence[str] = (),
    target: str | int = PREDICTED,
    protocol: str = PROTOCOLS[0],
    seed: int = 0,
) -> Plan:
    """A plan from names: the paper's six methods and the ADCC family where none are given.

    Raises:
        OptionError: an unknown name or value, with the closest there are.
    """
    if protocol not in PROTOCOLS:
        raise OptionError(f"no protocol '{protocol}'; there is {', '.join(PROTOCOLS)}")
    chosen = {name: get_method(name) for name in methods or PAPER_METHODS}
    return Plan(chosen, get_metrics(metrics or ADCC_FAMILY), _target(target), protocol, seed)


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
