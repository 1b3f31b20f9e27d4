"""The model parameter randomization test: do the maps depend on what the model has learned?

Weights are replaced by random ones in a cascade from the scores down to the input, more of them at
every step. A method whose maps do not change does not explain the model. Adebayo et al., Sanity
Checks for Saliency Maps, NeurIPS 2018, https://arxiv.org/abs/1810.03292.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import ModelError, OptionError
from adcc_onnx.evaluation.plan import LABEL, Plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.explanation.samples import Sample, batches, require_preprocessing, samples
from adcc_onnx.graph.programs.randomize_weights import randomize_weights, weight_names_from_top
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.similarity import pearson
from adcc_onnx.model import Model


@dataclass(frozen=True)
class RandomizationStep:
    """One step of the cascade.

    Attributes:
        weights: Number of randomized weight tensors.
        last_weight: Name of the randomized weight tensor that is farthest from the scores.
        similarity: Mean Pearson correlation of each method's maps with those of the original
            model, in [-1, 1]; 0 for constant maps.
    """

    weights: int
    last_weight: str
    similarity: dict[str, float]


def randomization_check(
    model: Model,
    source: Source,
    plan: Plan,
    steps: int = 8,
    progress: Callable[[int], None] = lambda steps: None,
) -> Iterator[RandomizationStep]:
    """Compare the maps of increasingly randomized models with those of the original model.

    Args:
        model: Model to explain.
        source: Images to explain.
        plan: Methods, seed and target. The class that the original model predicts (or that the
            plan names) is explained in every step.
        steps: Number of steps; each randomizes an equal share of the weights, and takes as long
            as computing all the maps once.
        progress: Function that is called with 1 after each step.

    Yields:
        The steps, from few randomized weights to all of them.

    Raises:
        OptionError: `steps` is below 1, or the target is the label.
        ModelError: The scores depend on no weights.
    """
    if steps < 1:
        raise OptionError(f"steps must be at least 1, not {steps}")
    if plan.target == LABEL:
        raise OptionError("randomize explains the predicted class, or a class given by its index")
    require_preprocessing(source, model)
    names = weight_names_from_top(model.classifier)
    if not names:
        raise ModelError("the model has no weights on the way to its scores")
    original = _maps(model, source, plan, None)
    edges = sorted({round(len(names) * step / steps) for step in range(1, steps + 1)} - {0})
    for edge in edges:
        classifier = randomize_weights(model.classifier, names[:edge], plan.seed)
        changed = replace(model, classifier=classifier, _sessions={})
        found = _maps(changed, source, plan, original.targets)
        progress(1)
        yield RandomizationStep(edge, names[edge - 1], _similarities(original, found))


@dataclass(frozen=True)
class _Explained:
    targets: NDArray[np.int64]
    maps: dict[str, Float32Array]


def _maps(
    model: Model, source: Source, plan: Plan, targets: NDArray[np.int64] | None
) -> _Explained:
    """Compute the maps of all images by all methods, for the predicted classes without targets."""
    maps: dict[str, list[Float32Array]] = {name: [] for name in plan.methods}
    explained: list[NDArray[np.int64]] = []
    start = 0
    for group in batches(samples(source, model), model.batch):
        usable = [sample for sample in group if sample.tensor is not None]
        if not usable:
            continue
        chosen = None if targets is None else targets[start : start + len(usable)]
        seen = _observe(model, plan, usable, chosen)
        explained.append(seen.targets)
        start += len(usable)
        for name, method in plan.methods.items():
            maps[name].append(maps_of(method, seen, model.fuse).maps)
    if not explained:
        raise OptionError("no image could be read")
    return _Explained(
        np.concatenate(explained), {name: np.concatenate(parts) for name, parts in maps.items()}
    )


def _observe(
    model: Model, plan: Plan, usable: Sequence[Sample], targets: NDArray[np.int64] | None
) -> BatchContext:
    tensors = np.stack([sample.tensor for sample in usable if sample.tensor is not None])
    keys = [plan.key(sample.name) for sample in usable]
    if targets is None and isinstance(plan.target, int):
        targets = np.full(len(usable), plan.target)
    return BatchContext(model, tensors, targets, plan.needs, keys, plan.methods.values())


def _similarities(original: _Explained, found: _Explained) -> dict[str, float]:
    return {
        name: float(
            np.where(
                _flat(original.maps[name], maps), 0.0, pearson(original.maps[name], maps)
            ).mean()
        )
        for name, maps in found.maps.items()
    }


def _flat(first: Float32Array, second: Float32Array) -> NDArray[np.bool_]:
    """Mark the pairs with a constant map, whose correlation is undefined."""
    extents = [np.ptp(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    flat: NDArray[np.bool_] = np.minimum(*extents) == 0
    return flat
