"""All sessions of an evaluation are open before the first run, and no others are needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import OutOfMemoryError
from adcc_onnx.evaluation.pipeline import work_here
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.images.sources.open_images import open_arrays
from adcc_onnx.model import Model
from adcc_onnx.results.rows import RunProgress
from adcc_onnx.runtime import session_pool
from adcc_onnx.runtime.passes import Pass

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    onnx.save(small(), tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu")


@pytest.mark.parametrize(
    ("methods", "metrics", "opened"),
    [
        (["gradcam"], ["adcc"], {Pass.GRADIENTS}),
        (["gradcam", "eigencam"], ["adcc"], {Pass.GRADIENTS, Pass.ACTIVATIONS}),
        (["gradcam"], ["average_drop"], {Pass.GRADIENTS, Pass.FORWARD}),
        (["gradcam"], ["deletion(steps=2)"], {Pass.GRADIENTS, Pass.RANKED}),
        (["random"], ["road"], {Pass.ACTIVATIONS, Pass.FORWARD}),
        (["scorecam"], ["adcc"], {Pass.ACTIVATIONS, Pass.MASKED}),
        (["groupcam"], ["adcc"], {Pass.GRADIENTS, Pass.BLENDED}),
        (["ablationcam"], ["adcc"], {Pass.ACTIVATIONS, Pass.SUFFIX}),
        (["saliency"], ["adcc"], {Pass.IMAGE_GRADIENTS}),
        (["smoothgrad(n=2)"], ["adcc"], {Pass.FORWARD, Pass.IMAGE_GRADIENTS}),
        (["opticam(steps=2)"], ["adcc"], {Pass.ACTIVATIONS, Pass.SHARE_GRADIENTS}),
    ],
)
def test_sessions_are_open_before_any_runs(
    model: Model, methods: list[str], metrics: list[str], opened: set[Pass]
) -> None:
    plan, source = make_plan(methods, metrics), open_arrays(IMAGES)
    with work_here(model, source, plan, RunProgress(set(), {})) as work:
        assert model.pool.usage() == dict.fromkeys(opened, (0, 0.0))
        for _ in work:
            pass
    assert set(model.pool.usage()) == opened
    assert all(samples for samples, _ in model.pool.usage().values())


def test_finished_work_opens_no_sessions(model: Model) -> None:
    plan, source = make_plan(["gradcam"]), open_arrays(IMAGES)
    with work_here(model, source, plan, RunProgress({0, 1}, {})) as work:
        assert list(work) == [] and model.pool.usage() == {}


def test_equal_methods_share_the_session_of_their_maps(model: Model) -> None:
    sessions = {model.pool.cam_session((get_method("gradcam").graph_maps,), 0) for _ in range(100)}
    assert len(sessions) == len(model.pool._cam_sessions) == 1
    assert len(model.pool._cam_graphs) <= 64
    model.pool.cam_session((get_method("layercam").graph_maps,), 0)
    assert len(model.pool._cam_sessions) == 2


def test_dropped_sessions_open_again_and_their_work_still_counts(model: Model) -> None:
    session = model.pool.session(Pass.FORWARD)
    expected = session.run({"image": IMAGES})["logits"]
    assert model.pool.drop_idle() and not model.pool.drop_idle()
    again = model.pool.session(Pass.FORWARD)
    assert again is not session
    np.testing.assert_array_equal(again.run({"image": IMAGES})["logits"], expected)
    assert model.pool.usage()[Pass.FORWARD].samples == 2 * len(IMAGES)


def test_a_session_that_runs_is_not_dropped(model: Model) -> None:
    session = model.pool.session(Pass.FORWARD)
    session._running = 1
    assert not model.pool.drop_idle()
    assert model.pool.session(Pass.FORWARD) is session


def test_memory_is_freed_when_a_session_does_not_open(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.pool.session(Pass.FORWARD)
    opened = session_pool.Session

    def full(*given: object) -> session_pool.Session:
        if model.pool._sessions:
            raise OutOfMemoryError("full")
        return opened(*given)

    monkeypatch.setattr(session_pool, "Session", full)
    model.pool.session(Pass.ACTIVATIONS)
    assert [kind for kind, *_ in model.pool._sessions] == [Pass.ACTIVATIONS]
