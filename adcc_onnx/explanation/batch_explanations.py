"""Runs methods on a source of images, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method, Need
from adcc_onnx.errors import AdccError, ImageError, OptionError
from adcc_onnx.explanation.explanations import Explanations
from adcc_onnx.explanation.maps import Maps, maps_of
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import Sample, batches, require_preprocessing, samples
from adcc_onnx.explanation.seeds import image_seed
from adcc_onnx.explanation.targets import LABEL, PREDICTED
from adcc_onnx.explanation.unavailable_methods import unavailable_methods
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.tensor_pictures import thumbnail
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model

# "predicted", "label", one class index for all images, or one index per image.
Targets = str | int | NDArray[np.int64]
_BAD_SCORES = "the model's scores are NaN or infinite"
_NO_LABEL = "the image has no label that the model knows, and the target is the label"


@dataclass(frozen=True)
class BatchExplanations:
    """The maps of one batch of images by several methods.

    Attributes:
        samples: The images that the model was run on, n of them.
        logits: The class scores, float32 [n, classes].
        predicted: The indices of the predicted classes, int64 [n].
        targets: The indices of the explained classes, int64 [n].
        maps: The maps by the method's name.
        notes: The methods' remarks by the method's name and the image's number in the batch.
        errors: The errors of methods that failed on the whole batch, by the method's name.
        failures: The images of the batch that failed, with the reasons, by the image's name.
    """

    samples: list[Sample]
    logits: Float32Array
    predicted: NDArray[np.int64]
    targets: NDArray[np.int64]
    maps: dict[str, Maps] = field(default_factory=dict)
    notes: dict[str, dict[int, str]] = field(default_factory=dict)
    errors: dict[str, AdccError] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def has_scores(self, image: int) -> bool:
        """Return whether all scores of an image are finite.

        Args:
            image: The image's number in the batch.
        """
        return bool(np.isfinite(self.logits[image]).all())


def explain_batches(
    model: Model, source: Source, methods: Mapping[str, Method], targets: Targets, seed: int
) -> Iterator[BatchExplanations]:
    """Run methods on all images of a source.

    Args:
        model: The classifier.
        source: The images.
        methods: The methods by their names; they share the passes through the model.
        targets: The explained classes.
        seed: The seed of all random numbers.

    Yields:
        One batch of maps after the other, in the order of the images.

    Raises:
        OptionError: `targets` has another length than the source.
        PreprocessingError: The images cannot be converted to the model's tensors.
        ModelError: No method can explain the model; methods that cannot are skipped with a warning.
    """
    require_preprocessing(source, model)
    if isinstance(targets, np.ndarray) and len(targets) != len(source):
        raise OptionError(f"target has {len(targets)} classes for {len(source)} images")
    skipped = unavailable_methods(model, {name: one.needs for name, one in methods.items()})
    methods = {name: method for name, method in methods.items() if name not in skipped}
    for group in batches(samples(source, model), model.batch):
        reasons = {sample.name: _failure(sample, targets) for sample in group}
        failures = {name: reason for name, reason in reasons.items() if reason is not None}
        usable = [sample for sample in group if sample.name not in failures]
        if usable:
            yield _explained(model, usable, methods, targets, seed, failures)
        else:
            nothing = np.zeros(0, np.int64)
            no_logits = np.zeros((0, 0), np.float32)
            yield BatchExplanations([], no_logits, nothing, nothing, failures=failures)


def collect(method: str, batches: Iterator[BatchExplanations], model: Model) -> Explanations:
    """Join the batches of one method.

    Args:
        method: The method's name in the batches.
        batches: The batches from `explain_batches`.
        model: The classifier that they come from.

    Returns:
        The maps of all images that did not fail.

    Raises:
        ImageError: No image could be explained.
        AdccError: The method failed.
    """
    parts: list[Explanations] = []
    failures: dict[str, str] = {}
    for batch in batches:
        if method in batch.errors:
            raise batch.errors[method]
        failures.update(batch.failures)
        if batch.samples:
            parts.append(_rows_of(method, batch, model, failures))
    kept = [part for part in parts if len(part)]
    if not kept:
        raise ImageError(f"no image could be explained: {_first_of(failures)}")
    return Explanations(
        method,
        np.concatenate([part.maps for part in kept]),
        [name for part in kept for name in part.names],
        np.concatenate([part.targets for part in kept]),
        np.concatenate([part.predicted for part in kept]),
        np.concatenate([part.probabilities for part in kept]),
        np.concatenate([part.degenerate for part in kept]),
        {name: note for part in kept for name, note in part.notes.items()},
        failures,
        {name: picture for part in kept for name, picture in part.thumbnails.items()},
        model.labels,
    )


def _failure(sample: Sample, targets: Targets) -> str | None:
    if sample.tensor is None:
        return sample.failure
    return _NO_LABEL if _is(targets, LABEL) and sample.label is None else None


def _explained(
    model: Model,
    usable: list[Sample],
    methods: Mapping[str, Method],
    targets: Targets,
    seed: int,
    failures: dict[str, str],
) -> BatchExplanations:
    needs = frozenset[Need]().union(*(method.needs for method in methods.values()))
    tensors = np.stack([sample.tensor for sample in usable if sample.tensor is not None])
    seeds = [image_seed(seed, sample.name) for sample in usable]
    chosen = _classes(usable, targets)
    outputs = run_images(model, tensors, chosen, needs, seeds, methods.values())
    batch = BatchExplanations(
        usable, outputs.logits, outputs.predicted, outputs.targets, failures=failures
    )
    for name, method in methods.items():
        try:
            batch.maps[name] = maps_of(method, outputs)
        except AdccError as error:
            batch.errors[name] = error
            continue
        batch.notes[name] = dict(batch.maps[name].notes)
    for i, sample in enumerate(usable):
        if not batch.has_scores(i):
            failures[sample.name] = _BAD_SCORES
    return batch


def _classes(usable: Sequence[Sample], targets: Targets) -> NDArray[np.int64] | None:
    """Return the explained classes of a batch, or None for the predicted ones."""
    if _is(targets, PREDICTED):
        return None
    if _is(targets, LABEL):
        return np.array([sample.label for sample in usable], np.int64)
    if isinstance(targets, np.ndarray):
        return targets[[sample.position for sample in usable]]
    return np.full(len(usable), int(targets), np.int64)


def _is(targets: Targets, word: str) -> bool:
    return isinstance(targets, str) and targets == word


def _rows_of(
    method: str, batch: BatchExplanations, model: Model, failures: dict[str, str]
) -> Explanations:
    """Return the rows of the images that have scores and a map; add the others to `failures`."""
    found = batch.maps[method]
    for i, sample in enumerate(batch.samples):
        if found.failed[i]:
            failures.setdefault(sample.name, found.reason(i))
    kept = [i for i, sample in enumerate(batch.samples) if sample.name not in failures]
    p = probabilities(batch.logits, batch.targets, model.classifier.scores_kind)
    notes = batch.notes[method]
    return Explanations(
        method,
        found.maps[kept],
        [batch.samples[i].name for i in kept],
        batch.targets[kept],
        batch.predicted[kept],
        p[kept],
        found.degenerate[kept],
        {batch.samples[i].name: notes[i] for i in kept if i in notes},
        thumbnails=_thumbnails([batch.samples[i] for i in kept], model),
    )


def _thumbnails(kept: Sequence[Sample], model: Model) -> dict[str, bytes]:
    steps = model.preprocessing
    return {one.name: thumbnail(one.tensor, steps) for one in kept if one.tensor is not None}


def _first_of(failures: Mapping[str, str]) -> str:
    name, reason = next(iter(failures.items()))
    return reason if reason.startswith(name) else f"{name}: {reason}"
