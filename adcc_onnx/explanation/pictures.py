"""`adcc-onnx explain`: pictures of what a model looks at, and the maps themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.cams.method import Method
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import AdccError, OptionError, SourceError, StoreError, did_you_mean
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.maps import maps_of
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.explanation.samples import Sample, batches, require_preprocessing, samples
from adcc_onnx.images.class_names import find_class, read_class_names
from adcc_onnx.images.sources.image_source import Source, concatenate_sources
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.report.overlay import sheet, write_png
from adcc_onnx.report.text_table import safe

_BEST = 5
Say = Callable[[str], None]


def explain_images(
    model: Model,
    images: Sequence[str],
    methods: Sequence[str],
    target: str | None,
    labels: Path | None,
    folder: Path,
    seed: int,
    say: Say,
) -> int:
    """Write an overlay and a map for every image and method; one image's failure stops no other.

    Args:
        model: from `load`.
        images: files and folders.
        methods: names, with options.
        target: the explained class, by name or number; the predicted one if None.
        labels: a file of class names; the card's if None.
        folder: where the files go; made if it is not there.
        seed: of everything that is drawn at random.
        say: prints a text.

    Returns:
        How many images failed.

    Raises:
        AdccError: an unknown method or class, no image, or a file that cannot be written.
    """
    model = model.with_labels(read_class_names(labels)) if labels is not None else model
    chosen = {name: get_method(name) for name in methods}
    source = _gathered(images)
    require_preprocessing(source, model)
    wanted = None if target is None else class_index(target, model)
    plan = make_plan(methods, seed=seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}") from error
    failed = 0
    for group in batches(samples(source, model), model.batch):
        usable = [sample for sample in group if sample.tensor is not None]
        for sample in group:
            if sample.tensor is None:
                say(safe(f"failed: {sample.failure}"))
                failed += 1
        if usable:
            keys = [plan.key(sample.name) for sample in usable]
            failed += _explain_batch(model, source, usable, keys, chosen, wanted, folder, say)
    return failed


def class_index(target: str, model: Model) -> int:
    """The class that a user names, by its number or its name.

    Raises:
        OptionError: there is none.
    """
    wanted = int(target) if target.isdigit() else target
    index = find_class(wanted, model.labels, model.classifier.classes)
    if index is not None:
        return index
    if target.lstrip("-").isdigit():
        model.classifier.require_class(int(target))
    if model.labels is None:
        raise OptionError(f"class '{target}' needs names: give --labels FILE, or a number")
    known = [name.partition(" ")[2] or name for name in model.labels]
    raise OptionError(f"there is no class '{target}'{did_you_mean(target, known)}")


def _gathered(images: Iterable[str]) -> Source:
    """All pictures of the files and folders, in the order given."""
    sources = [open_source(image) for image in images]
    if any(source.preprocessed for source in sources):
        raise SourceError("explain shows pictures: ready tensors have none")
    return concatenate_sources(sources)


def _explain_batch(
    model: Model,
    source: Source,
    group: Sequence[Sample],
    keys: Sequence[int],
    methods: dict[str, Method],
    target: int | None,
    folder: Path,
    say: Say,
) -> int:
    """Explain one batch; returns how many of its images failed."""
    needs = frozenset().union(*(method.needs for method in methods.values()))
    tensors = np.stack([sample.tensor for sample in group if sample.tensor is not None])
    targets = None if target is None else np.full(len(group), target)
    seen = run_images(model, tensors, targets, needs, keys, methods.values())
    maps: dict[str, Float32Array] = {}
    told: dict[str, dict[int, str]] = {}
    for name, method in methods.items():
        try:
            found_maps = maps_of(method, seen)
            maps[name], told[name] = found_maps.maps, found_maps.notes
        except AdccError as error:
            say(safe(f"failed: {name}: {error}"))
    failed = 0
    for i, sample in enumerate(group):
        if not np.isfinite(seen.logits[i]).all():
            say(safe(f"failed: {sample.name}: the model's scores are NaN or infinite"))
            failed += 1
            continue
        say(safe(f"{sample.name}: {_predictions(model, seen.logits[i])}"))
        picture = _shown(model, source, sample)
        for name, found in maps.items():
            stem = f"{sample.position:04d}_{_plain(Path(sample.name).stem)}.{_plain(name)}"
            write_png(folder / f"{stem}.png", sheet(picture, {name: found[i]}))
            np.save(folder / f"{stem}.npy", found[i], allow_pickle=False)
            note = told[name].get(i)
            say(f"  {folder / stem}.png{f' ({note})' if note else ''}")
    return failed if maps else len(group)


def _predictions(model: Model, logits: Float32Array) -> str:
    """The five highest classes with their probabilities."""
    best: NDArray[np.int64] = np.argsort(logits)[::-1][:_BEST]
    rows = np.repeat(logits[None], len(best), axis=0)
    p = probabilities(rows, best, model.classifier.scores_kind)
    names = model.labels or ()
    titles = [names[c] if c < len(names) else f"class {c}" for c in best]
    return ", ".join(f"{t} {100 * value:.1f} %" for t, value in zip(titles, p, strict=True))


def _shown(model: Model, source: Source, sample: Sample) -> NDArray[np.uint8]:
    """What the model saw of the picture."""
    return model.require_preprocessing().load_cropped(next(source.at([sample.position])))


def _plain(name: str) -> str:
    """A name as part of a file's name: no separators, nothing hidden, no option brackets."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "image"
