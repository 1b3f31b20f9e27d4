"""Metrics by name: the built-in ones and those that users and other packages register."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, overload

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.metrics.metric import ExplainedBatch, Metric, MetricNeed
from adcc_onnx.plugin_registry import PluginRegistry

ScoreFunction = Callable[[ExplainedBatch], Float64Array]

_Class = TypeVar("_Class", bound=type[Metric])
_Function = TypeVar("_Function", bound=ScoreFunction)

# The metrics of the ADCC paper, in the order of its tables.
ADCC_FAMILY = ("average_drop", "average_increase", "coherency", "complexity", "adcc")
# The metrics that replace pixels step by step.
PIXEL_CURVES = ("deletion", "insertion")

# The module under `adcc_onnx.metrics` and the class of each built-in metric.
_BUILT_IN = {
    "average_drop": ("adcc_family", "AverageDrop"),
    "average_increase": ("adcc_family", "AverageIncrease"),
    "average_gain": ("adcc_family", "AverageGain"),
    "drop_in_deletion": ("adcc_family", "DropInDeletion"),
    "coherency": ("adcc_family", "Coherency"),
    "complexity": ("adcc_family", "Complexity"),
    "adcc": ("adcc_family", "ADCC"),
    "deletion": ("pixel_curves", "Deletion"),
    "insertion": ("pixel_curves", "Insertion"),
    "road_morf": ("road", "RoadMorf"),
    "road_lerf": ("road", "RoadLerf"),
    "road": ("road", "Road"),
    "arcc": ("road", "ARCC"),
    "sparseness": ("map_shape", "Sparseness"),
    "entropy": ("map_shape", "Entropy"),
    "max_sensitivity": ("robustness", "MaxSensitivity"),
    "infidelity": ("robustness", "Infidelity"),
    "top2_iou": ("class_maps", "Top2IoU"),
    "class_sensitivity": ("class_sensitivity", "ClassSensitivity"),
    "passes": ("cost", "Passes"),
    "pointing_game": ("localization", "PointingGame"),
    "energy_pointing_game": ("localization", "EnergyPointingGame"),
    "iou": ("localization", "IoU"),
    "best_iou": ("localization", "BestIoU"),
}

METRICS: PluginRegistry[Metric] = PluginRegistry(
    Metric,  # type: ignore[type-abstract]
    kind="metric",
    group="adcc_onnx.metrics",
    built_in={name: (f"adcc_onnx.metrics.{file}", cls) for name, (file, cls) in _BUILT_IN.items()},
    required=("name", "title", "higher_is_better"),
)


@overload
def metric(target: _Class, /) -> _Class: ...


@overload
def metric(
    *,
    name: str,
    higher_is_better: bool,
    needs: Iterable[MetricNeed] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    summary: str = "",
) -> Callable[[_Function], _Function]: ...


def metric(
    target: _Class | None = None,
    /,
    *,
    name: str = "",
    higher_is_better: bool = True,
    needs: Iterable[MetricNeed] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
    title: str = "",
    summary: str = "",
) -> _Class | Callable[[_Function], _Function]:
    """Register a metric, written as a class or as a function.

    A class is decorated with `@metric` alone. It defines its name, title and direction itself, and
    the arguments of its constructor are the metric's options. A function from the explained batch
    to one value per image is decorated with `@metric(name=..., higher_is_better=...)`.

    Args:
        target: The class.
        name: The function's name in requests, without spaces, commas, "=" or brackets.
        higher_is_better: Whether high values are the good ones.
        needs: Everything the function reads in addition to p(x) and the maps.
        value_range: The smallest and the largest possible value.
        title: Heading of the column in tables; the name if it is empty.
        summary: One line for lists of metrics.

    Returns:
        The class or function, unchanged.

    Raises:
        OptionError: The name is not usable or is taken by another metric. The same class or
            function, defined again, replaces the earlier one.
        TypeError: `target` is not a subclass of `Metric`.

    Example:
        >>> import numpy as np
        >>> batch = ExplainedBatch(np.ones(1), maps=np.array([[[0.25, 0.5]]], np.float32))
        >>> with METRICS.isolated():  # outside of tests, register at the top of a module
        ...     @metric(name="peak", higher_is_better=True, summary="the map's largest value")
        ...     def peak(explained):
        ...         return explained.full_size_maps.max(axis=(1, 2)).astype(np.float64)
        ...     get_metric("peak").score(batch)
        array([0.5])
    """
    if target is not None:
        METRICS.register(target)
        return target
    attributes = {
        "name": name,
        "title": title or name,
        "summary": summary,
        "higher_is_better": higher_is_better,
        "value_range": value_range,
        "needs": frozenset(needs),
    }

    def register_function(function: _Function) -> _Function:
        METRICS.register_function(function, "score", attributes)
        return function

    return register_function


def get_metric(text: str) -> Metric:
    """Create the metric that a text names, such as "adcc" or "deletion(steps=56)".

    Args:
        text: The name, with options in brackets if there are any.

    Returns:
        The metric with these options.

    Raises:
        OptionError: The metric or an option does not exist, or a value is wrong. The message
            suggests close names.

    Example:
        >>> get_metric("deletion(steps=56)")
        Deletion(steps=56, baseline='zero')
    """
    return METRICS.create(text)


def get_metrics(texts: Iterable[str]) -> dict[str, Metric]:
    """Create metrics by name, in the given order and each once.

    Args:
        texts: The names, with options in brackets if there are any.

    Returns:
        The metrics by these texts.

    Raises:
        OptionError: A metric or an option does not exist, or a value is wrong.

    Example:
        >>> list(get_metrics(["adcc", "iou(threshold=0.3)", "adcc"]))
        ['adcc', 'iou(threshold=0.3)']
    """
    return {text: get_metric(text) for text in dict.fromkeys(texts)}


def metric_names() -> list[str]:
    """The names of all metrics, the built-in ones first.

    Example:
        >>> metric_names()[:3]
        ['average_drop', 'average_increase', 'average_gain']
    """
    return METRICS.names()


def list_metrics() -> list[type[Metric]]:
    """Return the classes of all metrics, built-in and registered ones.

    Returns:
        The classes, in the order of the command `adcc-onnx metrics`.

    Example:
        >>> import adcc_onnx as adcc
        >>> [(cls.name, cls.higher_is_better) for cls in adcc.list_metrics()][:2]
        [('average_drop', False), ('average_increase', True)]
    """
    return METRICS.classes()
