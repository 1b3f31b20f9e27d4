"""Published scores beside those of an evaluation with the same settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from adcc_onnx.cams.method_registry import METHODS
from adcc_onnx.errors import UnknownLayerError
from adcc_onnx.graph.classifier.published_layers import (
    first_activation_of_block,
    last_activation,
    last_convolution,
    layer_before_pooling,
)
from adcc_onnx.model import Model
from adcc_onnx.published.networks import (
    BEFORE_POOLING,
    FIRST_ACTIVATION,
    LAST_ACTIVATION,
    LAST_CONVOLUTION,
    PublishedNetwork,
    method_name,
)
from adcc_onnx.published.scores import PublishedRow
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.statistics.intervals import Interval

# Published scores are rounded to a hundredth of a percent.
_ROUNDING = 0.00005


@dataclass(frozen=True)
class Setting:
    """The settings of a group of published scores, apart from the publication and the network.

    Attributes:
        layer: The explained layer as published, such as "before pooling"; empty if it is not
            stated.
        scores: The differentiated scores.
    """

    layer: str
    scores: str


@dataclass(frozen=True)
class ReproducedScore:
    """A published score and the measured one.

    Attributes:
        method: Name of the method, as published.
        table: Name of the table or log of the publication.
        score: Name of the score.
        published: The published score, as a fraction.
        measured: The measured score; None if it could not be measured.
        interval: Its confidence interval; None with fewer than two images.
    """

    method: str
    table: str
    score: str
    published: float
    measured: float | None
    interval: Interval | None

    @property
    def is_inside(self) -> bool | None:
        """Whether the published score lies in the interval; None without an interval."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low - _ROUNDING <= self.published <= high + _ROUNDING


@dataclass(frozen=True)
class Reproduction:
    """The published scores of a network with one setting, and the measured ones; see `reproduce`.

    Attributes:
        publication: Name of the publication.
        network: Name of the network.
        setting: The layer and the differentiated scores.
        layer: Name of the explained layer in the model's file; empty if there is none.
        target: The explained class, "label" or "predicted".
        images: Number of evaluated images.
        published_images: Number of images of the publication.
        top1: Top-1 accuracy on the images; None without labels.
        scores: The scores; empty if `problem` is not.
        missing: Names of published methods that adcc-onnx lacks.
        problem: Why nothing was measured; empty if it was.
    """

    publication: str
    network: str
    setting: Setting
    layer: str
    target: str
    images: int
    published_images: int
    top1: float | None
    scores: list[ReproducedScore]
    missing: list[str]
    problem: str = ""


def settings_of(rows: Sequence[PublishedRow]) -> dict[Setting, list[PublishedRow]]:
    """Group published rows by their settings, in the order of the source.

    Args:
        rows: Rows of one publication and one network. Scores that are not stated are logits.
    """
    found: dict[Setting, list[PublishedRow]] = {}
    for row in rows:
        found.setdefault(Setting(row.layer, row.scores or "logits"), []).append(row)
    return found


def known_methods(rows: Sequence[PublishedRow]) -> tuple[list[str], list[str]]:
    """Return the methods of published rows as adcc-onnx names them, and those that it lacks.

    Args:
        rows: The rows.
    """
    names = dict.fromkeys(row.method for row in rows)
    known = set(METHODS.names())
    ours = {name: method_name(name) for name in names}
    return (
        list(dict.fromkeys(m for m in ours.values() if m in known)),
        [name for name, method in ours.items() if method not in known],
    )


def with_setting(
    model: Model, network: PublishedNetwork, setting: Setting, layer: str | None
) -> Model:
    """Return a model with the layer and the differentiated scores of a publication.

    Args:
        model: The model.
        network: The network that it is.
        setting: The setting.
        layer: Name of the layer in the file; found by the network's rule if None.

    Raises:
        UnknownLayerError: The file has no such layer.
        LayerShapeError: The file has no layer before pooling.
    """
    name = layer or _layer_name(model, network, setting)
    classifier = replace(model.classifier, differentiated=setting.scores)
    place = f"{setting.layer or 'usual layer'}, {setting.scores}"
    shown = replace(model, classifier=classifier, name=f"{network.name} ({place})")
    return shown.with_layers(name)


def _layer_name(model: Model, network: PublishedNetwork, setting: Setting) -> str:
    rule = network.layers.get(setting.layer, network.layers[""])
    if rule == BEFORE_POOLING:
        return layer_before_pooling(model.classifier)
    if rule == LAST_ACTIVATION:
        return last_activation(model.classifier)
    if rule == FIRST_ACTIVATION:
        return first_activation_of_block(model.classifier)
    if rule == LAST_CONVOLUTION:
        return last_convolution(model.classifier, network.normalized)
    try:
        model.with_layers(rule)
    except UnknownLayerError as error:
        raise UnknownLayerError(
            f"the file records no module '{rule}', whose output was explained: name the tensor "
            "with --layer, or export the network with torch's exporter"
        ) from error
    return rule


def reproduced_scores(
    rows: Sequence[PublishedRow], result: EvaluationResult
) -> Iterator[ReproducedScore]:
    """Pair the measured scores with the published ones.

    Args:
        rows: The published rows of one setting.
        result: The result of the evaluation.

    Yields:
        The scores in the order of the source; methods that adcc-onnx lacks are left out.
    """
    for row in rows:
        method = method_name(row.method)
        found = result.methods.get(method) if method is not None else None
        if found is None:
            continue
        for name, value in row.values.items():
            yield ReproducedScore(
                row.method,
                row.table,
                name,
                value,
                found.scores.get(name),
                found.intervals.get(name),
            )


def published_metrics(rows: Sequence[PublishedRow]) -> list[str]:
    """Return the metrics that published rows contain.

    Args:
        rows: The rows.
    """
    return list(dict.fromkeys(name for row in rows for name in row.values))
