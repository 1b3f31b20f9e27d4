"""The model-parameter randomization check: do the maps depend on what the model has learned?

Each step replaces more weights by random numbers, from the scores towards the image. If the maps
of a method do not change, the method does not explain the model. Adebayo et al., NeurIPS 2018,
https://arxiv.org/abs/1810.03292.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method
from adcc_onnx.errors import ImageError, ModelError, OptionError, first_reasons
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation.calibrated_model import calibrated
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.explanation.run_outputs import RunOutputs, run_images
from adcc_onnx.explanation.samples import Sample, batches, require_preprocessing, samples
from adcc_onnx.explanation.targets import LABEL
from adcc_onnx.graph.programs.randomize_weights import randomize_weights, weight_names_from_top
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.similarity import pearson
from adcc_onnx.model import Model


@dataclass(frozen=True)
class RandomizationStep:
    """One step of the check.

    Attributes:
        weights: The number of weight tensors that are replaced.
        last_weight: The name of the last of them.
        similarity: The mean Pearson correlation of each method's maps with the maps of the
            original model, in [-1, 1]; 0 for a constant map.
    """

    weights: int
    last_weight: str
    similarity: dict[str, float]


def randomization_check(
    model: Model,
    source: Source,
    plan: Plan,
    steps: int = 8,
    tracker: RunTracker | None = None,
) -> Iterator[RandomizationStep]:
    """Compare the maps of randomized models with the maps of the original model.

    Args:
        model: The original model.
        source: The images.
        plan: The methods and the target. All models explain the class that the original model
            predicts, or the class that the plan names.
        steps: The number of steps, with equal shares of the weights; each step computes all maps.
        tracker: Receives the progress in steps; the maps of the original model are one, too.

    Yields:
        One step after the other.

    Raises:
        OptionError: `steps` is below 1, the target is the label, or the maps are ready-made.
        ModelError: The scores do not depend on any weights.
        ImageError: No image could be read.
    """
    if steps < 1:
        raise OptionError(f"steps must be at least 1, not {steps}")
    if plan.target == LABEL:
        raise OptionError("the check explains the predicted class, or one given by its index")
    methods = _methods(plan)
    require_preprocessing(source, model)
    names = weight_names_from_top(model.classifier)
    if not names:
        raise ModelError("the model has no weights on the way to its scores")
    tracker = tracker or RunTracker(model.name, steps + 1, "steps")
    with tracker.part(1):
        original = _maps(model, source, plan, methods, None)
    tracker.advance(1)
    edges = sorted({round(len(names) * step / steps) for step in range(1, steps + 1)} - {0})
    for edge in edges:
        weights = randomize_weights(model.classifier, names[:edge], plan.seed)
        changed = calibrated(model.with_classifier(weights), source)
        with tracker.part(1):
            found = _maps(changed, source, plan, methods, original.targets)
        tracker.advance(1)
        yield RandomizationStep(edge, names[edge - 1], _similarities(original, found))


@dataclass(frozen=True)
class _Explained:
    targets: NDArray[np.int64]
    maps: dict[str, Float32Array]


def _methods(plan: Plan) -> dict[str, Method]:
    methods = {name: one for name, one in plan.available.items() if isinstance(one, Method)}
    if len(methods) < len(plan.available):
        raise OptionError("ready-made maps do not change with the model: give methods only")
    return methods


def _maps(
    model: Model,
    source: Source,
    plan: Plan,
    methods: dict[str, Method],
    targets: NDArray[np.int64] | None,
) -> _Explained:
    """Return the maps of all images by all methods, for the predicted classes without targets."""
    maps: dict[str, list[Float32Array]] = {name: [] for name in methods}
    explained: list[NDArray[np.int64]] = []
    start = 0
    failures: list[str | None] = []
    for group in batches(samples(source, model), model.batch):
        usable = [sample for sample in group if sample.tensor is not None]
        failures += [sample.failure for sample in group]
        if not usable:
            continue
        chosen = None if targets is None else targets[start : start + len(usable)]
        outputs = _run(model, plan, methods, usable, chosen)
        explained.append(outputs.targets)
        start += len(usable)
        for name, method in methods.items():
            maps[name].append(maps_of(method, outputs).maps)
    if not explained:
        raise ImageError(f"no image could be read: {first_reasons(failures)}")
    return _Explained(
        np.concatenate(explained), {name: np.concatenate(parts) for name, parts in maps.items()}
    )


def _run(
    model: Model,
    plan: Plan,
    methods: dict[str, Method],
    usable: Sequence[Sample],
    targets: NDArray[np.int64] | None,
) -> RunOutputs:
    tensors = np.stack([sample.tensor for sample in usable if sample.tensor is not None])
    seeds = [plan.key(sample.name) for sample in usable]
    if targets is None and isinstance(plan.target, int):
        targets = np.full(len(usable), plan.target)
    return run_images(model, tensors, targets, plan.needs, seeds, methods.values())


def _similarities(original: _Explained, found: _Explained) -> dict[str, float]:
    similarities = {}
    for name, maps in found.maps.items():
        first = original.maps[name]
        correlations = np.where(_constant(first, maps), 0.0, pearson(first, maps))
        similarities[name] = float(correlations.mean())
    return similarities


def _constant(first: Float32Array, second: Float32Array) -> NDArray[np.bool_]:
    """Return the pairs with a constant map, whose correlation is undefined."""
    ranges = [np.ptp(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    constant: NDArray[np.bool_] = np.minimum(*ranges) == 0
    return constant
