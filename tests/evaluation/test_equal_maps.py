"""Maps and images that are equal bit by bit are run once, and the rows stay as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation import batch as batch_module
from adcc_onnx.evaluation.cost_estimate import estimate
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation import run_outputs as run_outputs_module
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.passes import Pass

EIGHT = [
    "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam", "eigengradcam",
    "random",
]  # fmt: skip
Rows = dict[tuple[int, str], tuple[dict[str, float], float | None]]


class Ones(adcc.Method):
    """The map of Fake-CAM under another name."""

    name, family, summary = "ones", "custom", "the whole image but one pixel"
    needs = frozenset()

    def raw_maps(self, context: adcc.MethodContext) -> np.ndarray:
        maps = np.ones((len(context.images), *context.images.shape[2:]), np.float32)
        maps[:, 0, 0] = 0
        return maps


def evaluated(
    model: Model, source: Source, methods: Sequence[str | adcc.Method], metrics: Sequence[str] = ()
) -> tuple[Rows, Counter[Pass]]:
    """Return the values and p(e) of each image and method, and the passes of the run."""
    tracker = RunTracker("net", len(source))
    with Store.create(None) as store:
        run = evaluate_into(store, model, source, make_plan(methods, metrics), "images", tracker)
        rows = [row for _, scores in store.rows(run) for row in scores]
    assert all(row.failure is None for row in rows)
    passes = Counter(tracker._ended_passes)
    return {(r.position, r.method): (r.values, r.masked_probability) for r in rows}, passes


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Switches the sharing off: every method and every row is run."""

    def single(arrays: Sequence[object], kinds: Sequence[object]) -> list[list[int]]:
        return [[index] for index in range(len(arrays))]

    monkeypatch.setattr(batch_module, "equal_groups", single)
    monkeypatch.setattr(
        run_outputs_module, "first_equal_rows", lambda rows, targets: np.arange(len(rows))
    )
    return monkeypatch


def test_eight_gradient_methods_take_seven_passes_instead_of_nine(
    apart: pytest.MonkeyPatch,
) -> None:
    """Grad-CAM, XGrad-CAM and HiResCAM are equal before global average pooling."""
    model, source = (
        adcc.load(classifier_path(), device="cpu", batch_size=2),
        as_source("drawings:5"),
    )
    expected, all_passes = evaluated(model, source, EIGHT)
    apart.undo()
    found, passes = evaluated(model, source, EIGHT)
    assert found == expected  # bit by bit
    assert len({str(found[0, name]) for name in EIGHT}) == 6
    assert all_passes.total() == 9 * 5
    assert passes.total() == 7 * 5


def test_scores_without_the_explanation_are_shared(apart: pytest.MonkeyPatch) -> None:
    model, source = adcc.load(classifier_path(), device="cpu"), as_source("drawings:2")
    plan = ["gradcam", "hirescam"], ["drop_in_deletion"]
    expected, all_passes = evaluated(model, source, *plan)
    apart.undo()
    found, passes = evaluated(model, source, *plan)
    assert found == expected
    assert (all_passes.total(), passes.total()) == (3 * 2, 2 * 2)
    assert estimate(model, make_plan(*plan)).expected.passes == {Pass.GRADIENTS: 1, Pass.FORWARD: 1}


def test_the_estimate_counts_the_shared_passes() -> None:
    model = adcc.load(classifier_path(), device="cpu")
    found = estimate(model, make_plan(EIGHT))
    assert found.expected.passes == {Pass.GRADIENTS: 5, Pass.ACTIVATIONS: 2}
    assert found.methods["gradcam"] == {Pass.GRADIENTS: 1}
    assert found.methods["hirescam"] == found.methods["xgradcam"] == {}
    alone = estimate(model, make_plan(["hirescam", "layercam"]))
    assert alone.expected.passes == {Pass.GRADIENTS: 3}


def test_constant_maps_of_two_methods_take_one_pass(apart: pytest.MonkeyPatch) -> None:
    model, source = adcc.load(classifier_path(), device="cpu"), as_source("drawings:3")
    methods = ["fakecam", Ones(), "center"]
    expected, all_passes = evaluated(model, source, methods)
    apart.undo()
    found, passes = evaluated(model, source, methods)
    assert found == expected
    assert (all_passes.total(), passes.total()) == (4 * 3, 3 * 3)
    assert estimate(model, make_plan(methods)).expected.passes == {Pass.FORWARD: 3}


def test_repeated_images_of_a_batch_are_run_once(apart: pytest.MonkeyPatch, tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)
    images = np.random.default_rng(1).standard_normal((8, 3, 8, 8)).astype(np.float32)
    images[2] = images[0]
    images[3] = images[0]
    images[6] = -images[4]
    source, methods = as_source(images), ["gradcam", "gradcam++", "eigencam", "random"]
    expected, all_passes = evaluated(model, source, methods)
    apart.undo()
    found, passes = evaluated(model, source, methods)
    assert found == expected
    # Two copies of one image: neither its first pass nor those of its equal maps run again. The
    # maps of the control `random` differ.
    saved = all_passes - passes
    assert saved == {Pass.GRADIENTS: 2 * (1 + 2), Pass.ACTIVATIONS: 2}
    assert found[0, "gradcam"] == found[2, "gradcam"] == found[3, "gradcam"]
    assert found[0, "random"] != found[2, "random"]


def test_equal_images_of_different_classes_are_run_apart(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=4)
    images = np.repeat(np.random.default_rng(1).standard_normal((1, 3, 8, 8)), 2, axis=0)
    found = {}
    for labels in ([0, 1], [1, 0]):
        result = adcc.evaluate(
            model, images.astype(np.float32), "gradcam", target="label", labels=labels,
            controls=False,
        )  # fmt: skip
        for row in result.per_image(as_dataframe=False):
            found.setdefault(row["target"], []).append(row["adcc"])
    assert found[0][0] == found[0][1]
    assert found[1][0] == found[1][1]
    assert found[0][0] != found[1][0]
