"""A run that was cut off goes on where it stopped, and ends as if it had not been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation import batch as batch_module
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.model import Model
from adcc_onnx.report.rendering import render
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

IMAGES = np.random.default_rng(2).standard_normal((11, 3, 8, 8)).astype(np.float32)
METHODS = ["gradcam", "smoothgradcam++(n=3)", "random", "scorecam"]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    onnx.save(small(), tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)


def evaluate(model: Model, path: Path) -> None:
    metrics = ["adcc", "deletion(steps=4)"]
    adcc.evaluate(model, IMAGES, METHODS, metrics, controls=False, out=path, resume=True)


def as_json(path: Path) -> str:
    with Store.open(path) as store:
        return render([store], "json")


@pytest.mark.parametrize("cut_after", [0, 1, 2, 5, 6, 11])
def test_cut_off_anywhere_and_continued(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_after: int
) -> None:
    """Cut off after so many pairs of batch and method; no finished pair is computed again."""
    evaluate(model, tmp_path / "whole.sqlite")
    measured, computed = batch_module.Batch._measured, []

    class CutOffError(Exception):
        pass

    def counted(self, mapped, seen, deleted):
        if len(computed) == cut_after:
            raise CutOffError
        computed.append((mapped.name, tuple(sample.position for sample in self.samples)))
        return measured(self, mapped, seen, deleted)

    monkeypatch.setattr(batch_module.Batch, "_measured", counted)
    with pytest.raises(CutOffError):
        evaluate(model, tmp_path / "run.sqlite")
    cut_after = -1
    evaluate(model, tmp_path / "run.sqlite")
    pairs = [(name, position) for name, positions in computed for position in positions]
    assert len(pairs) == len(set(pairs)) == len(IMAGES) * len(METHODS)
    assert as_json(tmp_path / "run.sqlite") == as_json(tmp_path / "whole.sqlite")


def test_the_batch_size_changes_nothing(model: Model, tmp_path: Path) -> None:
    evaluate(model, tmp_path / "four.sqlite")
    other = adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=3)
    evaluate(other, tmp_path / "three.sqlite")
    assert as_json(tmp_path / "three.sqlite") == as_json(tmp_path / "four.sqlite")


def test_an_image_that_vanished_meanwhile_fails_under_what_is_left(tmp_path: Path) -> None:
    """Its row is kept from before, so that only the methods that are missing can fail."""
    model = adcc.load(classifier_path(), device="cpu", batch_size=2)
    for record in as_source("drawings:3"):
        Image.fromarray(record.load()).save(tmp_path / f"{record.name}.png")
    source, plan = as_source(tmp_path), make_plan(["center", "random"], ["complexity"])
    with Store.create(None) as store:
        run = store.begin(plan.config(model, "pictures"))
        kept = ImageRow(1, source.names[1], None, 0, 0, 0.5, None)
        done = ScoreRow(1, "center", False, None, {"complexity": 0.25})
        store.write(run, [kept], [done])
        (tmp_path / source.names[1]).unlink()
        evaluate_into(store, model, source, plan, "pictures")
        found = store.run(run)
    assert (found.images, found.failed, found.complete) == (3, 0, True)
    (failure,) = found.failures
    assert (failure.image, failure.method) == (source.names[1], "random")
    assert "cannot be read" in failure.reason
    assert len(found.methods["center"].positions) == 3
