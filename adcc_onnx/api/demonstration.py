"""The demonstration: the main steps on the built-in classifier and built-in images, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adcc_onnx.api.checked_arguments import checked_arguments
from adcc_onnx.api.models import load
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.errors import StoreError
from adcc_onnx.evaluation.plan import make_plan, named_method
from adcc_onnx.evaluation.stored_evaluation import ProgressBar, evaluate_and_store, no_bar
from adcc_onnx.explanation.batch_explanations import explain_batches
from adcc_onnx.images.sources.open_images import open_arrays
from adcc_onnx.report.overlay import write_png
from adcc_onnx.report.overlay_grid import draw_grid
from adcc_onnx.results.evaluation_result import EvaluationResult

# The classifier was trained on drawings of another seed.
_SEED, _IMAGES, _PICTURES = 2026, 32, 6


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration made.

    Attributes:
        result: The scores of the paper's methods.
        folder: The folder of the overlay pictures.
        verdict: One sentence about Fake-CAM and the best method.
    """

    result: EvaluationResult
    folder: Path
    verdict: str


@checked_arguments
def demo(
    out: str | Path = "adcc-demo", *, model: str = "cnn", bar: ProgressBar = no_bar
) -> Demonstration:
    """Evaluate the paper's methods on built-in images, and write overlay pictures.

    Args:
        out: Folder of the pictures; it is created if it does not exist.
        model: Built-in classifier: "cnn", a convolutional network, or "transformer", a vision
            transformer.
        bar: Function that shows the progress.

    Returns:
        The scores, the folder and a verdict.

    Raises:
        OptionError: There is no such built-in classifier.
        StoreError: A picture cannot be written.

    Example:
        >>> import adcc_onnx as adcc
        >>> found = adcc.demo("pictures")  # doctest: +SKIP
    """
    loaded = load(classifier_path(model), device="cpu")
    drawn = list(draw_many(_SEED, _IMAGES, loaded.size[0]))
    assert loaded.preprocessing is not None
    tensors = np.stack([loaded.preprocessing(drawing.image) for drawing in drawn])
    source = open_arrays(tensors, labels=np.array([drawing.label for drawing in drawn]))
    plan, folder = make_plan(), Path(out)
    (found,) = evaluate_and_store([loaded], source, plan, "built-in drawings", bar=bar)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the folder {folder}: {error.strerror}") from error
    pictured = open_arrays(tensors[:_PICTURES])
    methods = dict(named_method(name) for name in plan.methods)
    for batch in explain_batches(loaded, pictured, methods, plan.target, plan.seed):
        for i, sample in enumerate(batch.samples):
            drawing = drawn[sample.position]
            maps = {name: maps.maps[i] for name, maps in batch.maps.items()}
            label = loaded.labels[drawing.label] if loaded.labels else drawing.label
            write_png(folder / f"{sample.position}_{label}.png", draw_grid(drawing.image, maps))
    return Demonstration(found.result, folder.resolve(), verdict(found.result))


def verdict(run: EvaluationResult) -> str:
    """Summarize a result in one sentence about Fake-CAM and the best method.

    Args:
        run: The result of an evaluation with Fake-CAM, average drop and ADCC.

    Returns:
        The sentence.
    """
    assert run.ranking is not None
    methods = run.methods
    by_adcc = sorted(methods, key=lambda name: -methods[name].scores["adcc"])
    by_drop = sorted(methods, key=lambda name: methods[name].scores["average_drop"])
    drop_place, adcc_place = by_drop.index("fakecam") + 1, by_adcc.index("fakecam") + 1
    count, rivals = len(methods), run.ranking.not_significantly_worse(run.resampling.confidence)
    doubt = f", though {_listed(rivals)} may be as good" if rivals else ""
    return (
        f"Fake-CAM, which explains nothing, is {_ordinal(drop_place, count)} of {count} by average "
        f"drop but {_ordinal(adcc_place, count)} by ADCC; {by_adcc[0]} explains this model "
        f"best{doubt}."
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _ordinal(place: int, count: int) -> str:
    if place == count:
        return "last"
    return {1: "first", 2: "second", 3: "third"}.get(place, f"number {place}")
