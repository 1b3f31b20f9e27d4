"""The model-parameter randomization check: does a method look at what the model has learned?

Weights are drawn anew from the scores downwards, more at every step, until none is left. A method
whose maps stay as they were explains the image, or itself, but not the model. Adebayo et al.,
NeurIPS 2018, https://arxiv.org/abs/1810.03292.
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
class Step:
    """One step of the check.

    Attributes:
        weights: how many weight tensors are drawn anew.
        lowest: the name of the last of them.
        similarity: the mean Pearson correlation of each method's maps with those of the sound
            model, in [-1, 1]; a constant map is like no other (0).
    """

    weights: int
    lowest: str
    similarity: dict[str, float]


def randomization_check(
    model: Model,
    source: Source,
    plan: Plan,
    steps: int = 8,
    progress: Callable[[int], None] = lambda steps: None,
) -> Iterator[Step]:
    """Compare the maps of ever more randomized models with the model's own.

    Args:
        model, source, plan: whose maps, of which images, by which methods. The class that the
            sound model predicts (or that the plan names) is explained in all of them.
        steps: how many, in equal shares of the weights; each costs as much as all the maps.
        progress: called with 1 after each step.

    Raises:
        OptionError: steps is below 1, or the target is the label.
        ModelError: the model has no weights on the way to its scores.
    """
    if steps < 1:
        raise OptionError(f"steps must be at least 1, not {steps}")
    if plan.target == LABEL:
        raise OptionError("the check explains the predicted class, or one given by its index")
    require_preprocessing(source, model)
    names = weight_names_from_top(model.classifier)
    if not names:
        raise ModelError("the model has no weights on the way to its scores")
    sound = _maps(model, source, plan, None)
    edges = sorted({round(len(names) * step / steps) for step in range(1, steps + 1)} - {0})
    for edge in edges:
        classifier = randomize_weights(model.classifier, names[:edge], plan.seed)
        changed = replace(model, classifier=classifier, _sessions={})
        found = _maps(changed, source, plan, sound.targets)
        progress(1)
        yield Step(edge, names[edge - 1], _similarities(sound, found))


@dataclass(frozen=True)
class _Explained:
    targets: NDArray[np.int64]
    maps: dict[str, Float32Array]


def _maps(
    model: Model, source: Source, plan: Plan, targets: NDArray[np.int64] | None
) -> _Explained:
    """The maps of all images by all methods; the predicted classes where no targets are given."""
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


def _similarities(sound: _Explained, found: _Explained) -> dict[str, float]:
    return {
        name: float(
            np.where(_flat(sound.maps[name], maps), 0.0, pearson(sound.maps[name], maps)).mean()
        )
        for name, maps in found.maps.items()
    }


def _flat(first: Float32Array, second: Float32Array) -> NDArray[np.bool_]:
    """The pairs of which one is constant: their correlation is undefined."""
    extents = [np.ptp(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    flat: NDArray[np.bool_] = np.minimum(*extents) == 0
    return flat
