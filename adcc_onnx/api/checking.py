"""The check of a model's preprocessing on images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from adcc_onnx.api.checked_arguments import checked_arguments
from adcc_onnx.api.models import ModelLike, as_model
from adcc_onnx.errors import AdccError, OptionError, StoreError, first_line
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions, load_with
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stored_evaluation import Notify, ProgressBar, no_bar, quiet
from adcc_onnx.graph.classifier.image_input import has_certain_layout
from adcc_onnx.images.card_writing import preprocessing_keys, write_card
from adcc_onnx.images.cards import ModelCard, card_beside
from adcc_onnx.images.sources.given_images import Images
from adcc_onnx.images.sources.image_source import Label
from adcc_onnx.model import Model
from adcc_onnx.studies.preprocessing_check import PreprocessingCheck
from adcc_onnx.studies.preprocessing_search import STAGES, search_preprocessing


@checked_arguments
def check(
    model: ModelLike,
    images: Images,
    *,
    labels: str | Path | Sequence[Label] | None = None,
    limit: int | None = 100,
    seed: int = 0,
    write_card: bool = False,
    force: bool = False,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    **load_options: Unpack[ModelOptions],
) -> PreprocessingCheck:
    """Find the preprocessing of a model on images.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`. The preprocessing of
            its card, or the one that is given, is one of the candidates.
        images: The images as for `evaluate`, not preprocessed.
        labels: Image labels as for `evaluate`. Without labels, the ranking is uncertain.
        limit: Largest number of images, which are drawn at random; all images if None.
        seed: Seed of the choice and the order of the images.
        write_card: Whether to write the best candidate to the card next to the model's file.
        force: Whether an existing card may be replaced; its labels, layer and scores are kept.
        bar: Function that shows the progress.
        notify: Function that receives messages about the device.
        **load_options: Options of `load` for a model that is not loaded.

    Returns:
        The candidates, the best one first.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: A card exists already, or the model is no file.
        AdccError: The model or the images cannot be read.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = adcc.check(classifier_path(), "drawings:24")
        >>> found.best.preprocessing.channels, found.given.fits
        ('RGB', True)
    """
    card = _card_path(model, force) if write_card else None
    options: ModelOptions = {**load_options}
    models = [one.in_own_precision() for one in _in_possible_layouts(model, options, notify)]
    source = SourceOptions(images, labels, limit=limit, sample="random").open(seed)
    tracker = RunTracker(models[0].name, STAGES * len(models), "stages")
    with bar(tracker):
        results = [search_preprocessing(one, source, seed, tracker) for one in models]
    found = max(results, key=lambda one: (one.best.top1 or 0.0, one.best.consistency or 0.0))
    if card is not None:
        _write(card, found)
    return found


def _in_possible_layouts(model: ModelLike, options: ModelOptions, notify: Notify) -> list[Model]:
    """Load a model, and also in the other layout if its input does not say which one it has."""
    loaded = as_model(model, options, notify)
    if isinstance(model, Model) or has_certain_layout(loaded.classifier.image):
        return [loaded]
    given = options.get("preprocessing")
    card = card_beside(Path(model)) if isinstance(model, str | Path) else None
    if given is not None or (card is not None and card.layout is not None):
        return [loaded]
    other = "NCHW" if loaded.classifier.layout == "NHWC" else "NHWC"
    with_other: ModelOptions = {
        **options,
        "preprocessing": replace(card or ModelCard({}), layout=other),
    }
    try:
        return [loaded, load_with(model, with_other)]
    except AdccError:  # the graph does not fit the other layout
        return [loaded]


def _card_path(model: ModelLike, force: bool) -> Path:
    """Return the card to write, before any work is done for it."""
    if not isinstance(model, str | Path):
        raise OptionError("a card is written next to the model's file: give the model by its path")
    card = Path(model).with_suffix(".toml")
    if os.path.lexists(card) and not force:
        raise OptionError(f"{card} exists: replace it with --force")
    return card


def _write(card: Path, found: PreprocessingCheck) -> None:
    """Write the best candidate; what an existing card says beyond pixels is kept."""
    best = found.best
    old = card_beside(card)
    if best.top1 is not None:
        evidence = f"top-1 {100 * best.top1:.1f} % on {best.images} images"
    else:
        evidence = f"{best.images} images without labels"
    keys = {
        **preprocessing_keys(best.preprocessing),
        "layout": found.layout,
        "layer": None if old is None else old.layer,
        "scores": None if old is None else old.scores,
        "about": {"source": f"adcc-onnx check: {evidence}"},
    }
    try:
        write_card(card, keys, None if old is None else old.labels)
    except OSError as error:
        raise StoreError(f"cannot write {card}: {error.strerror or first_line(error)}") from error
