"""The main job on what the package brings with it: its classifier and images that it draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from adcc_onnx.api import explain
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.images.sources.open_images import open_arrays
from adcc_onnx.model import load
from adcc_onnx.report.overlay import sheet, write_png
from adcc_onnx.report.rendering import render
from adcc_onnx.results.evaluation_result import EvaluationResult, summarize_run
from adcc_onnx.results.store import Store

# Unseen by the classifier, which is trained on another seed.
_SEED, _IMAGES, _PICTURES = 2026, 32, 6

Bar = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def run_demo(folder: Path, bar: Bar, say: Callable[[str], None]) -> None:
    """Evaluate the paper's methods on drawings, print the table and write overlay pictures.

    Args:
        folder: where the pictures go; made if it is not there.
        bar: opens a progress bar for a number of images.
        say: prints a text.
    """
    model = load(classifier_path(), device="cpu")
    drawn = list(draw_many(_SEED, _IMAGES, model.size[0]))
    assert model.preprocessing is not None
    tensors = np.stack([model.preprocessing(drawing.image) for drawing in drawn])
    labels = np.array([drawing.label for drawing in drawn])
    plan = make_plan()
    with Store.create(None) as store:
        with bar(_IMAGES) as advance:
            source = open_arrays(tensors, labels=labels)
            run = evaluate_into(store, model, source, plan, "built-in drawings", advance)
        say(render([store], "table"))
        summary = summarize_run(store.run(run))
    folder.mkdir(parents=True, exist_ok=True)
    maps = {name: explain(model, tensors[:_PICTURES], name) for name in plan.methods}
    for i, drawing in enumerate(drawn[:_PICTURES]):
        picture = sheet(drawing.image, {name: found[i] for name, found in maps.items()})
        write_png(folder / f"{i}_{model.labels[drawing.label] if model.labels else i}.png", picture)
    say(f"Pictures: {folder.resolve()}")
    say(verdict(summary))


def verdict(run: EvaluationResult) -> str:
    """One sentence on what the table says of Fake-CAM, and of the best method."""
    assert run.ranking is not None
    by_adcc, methods = run.ranking.order, run.methods
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
