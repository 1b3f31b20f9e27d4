"""An image that does not fit into the memory fails without stopping the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OutOfMemoryError
from adcc_onnx.evaluation import pipeline as run_module
from adcc_onnx.evaluation.batch import Batch
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.samples import Sample
from adcc_onnx.model import Model


def test_the_other_images_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Batch):
        @classmethod
        def observe(cls, model: Model, plan: Plan, group: Sequence[Sample]) -> Batch:
            if any(sample.position == 2 for sample in group):
                raise OutOfMemoryError("the memory is too small")
            return Batch.observe(model, plan, group)

    monkeypatch.setattr(run_module, "Batch", Short)
    model = adcc.load(classifier_path(), device="cpu", batch_size=1)
    found = adcc.evaluate(model, "drawings:5", ["center"], ["complexity"])
    assert (found.images, found.failed) == (5, 1)
    (failure,) = found.failures
    assert failure.reason == "the memory is too small"
    monkeypatch.undo()
    whole = adcc.evaluate(model, "drawings:5", ["center"], ["complexity"])
    scores = [run.methods["center"].scores["complexity"] for run in (found, whole)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-12)  # the center is the center
