"""The pace of a model: measured, remembered, and without effect on any result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError, OutOfMemoryError
from adcc_onnx.model import Model, Pass
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store
from adcc_onnx.runtime import autotuning as tuning
from adcc_onnx.runtime.autotuning import RunSettings, autotuned, search, with_run_settings

IMAGES = np.random.default_rng(0).standard_normal((9, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    onnx.save(small(), tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu")


def test_the_fastest_of_what_was_measured_is_taken(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_lanes, tried, slow = {1: 1.0, 2: 1.0, 6: 2.0}, set(), 1.0

    def speed(candidate: Model, kind: Pass) -> float:
        assert kind is Pass.GRADIENTS
        by_batch = {1: 50.0, 4: 100.0, 8: 102.0, 16: 101.0}
        tried.add(candidate.batch)
        return slow * by_batch[candidate.batch] * by_lanes[candidate.concurrent_runs]

    monkeypatch.setattr(tuning, "_speed", speed)
    monkeypatch.setattr(tuning, "_cores", lambda: 6)
    # 2 % more is not worth twice the memory.
    assert search(model, Pass.GRADIENTS) == RunSettings(
        batch=4, threads=1, concurrent_runs=6, speed=200.0
    )
    by_lanes[6] = 1.02  # as fast as two: they do not leave the cores idle, and take less memory
    assert search(model, Pass.GRADIENTS) == RunSettings(
        batch=4, threads=3, concurrent_runs=2, speed=100.0
    )
    by_lanes[1] = 1.25
    assert search(model, Pass.GRADIENTS) == RunSettings(
        batch=4, threads=0, concurrent_runs=1, speed=125.0
    )
    monkeypatch.setattr(tuning, "_cores", lambda: 1)
    assert search(model, Pass.GRADIENTS) == RunSettings(
        batch=4, threads=0, concurrent_runs=1, speed=125.0
    )
    assert tried == {1, 4, 8, 16}
    tried.clear()
    slow = 0.1  # a run of 16 takes more than a second
    search(model, Pass.GRADIENTS)
    assert tried == {1, 4, 8}
    fixed = replace(model, any_batch=False, batch=1)
    assert search(fixed, Pass.GRADIENTS).batch == 1


def test_a_pace_that_takes_too_much_memory_is_left_out(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def speed(candidate: Model, kind: Pass) -> float:
        if candidate.batch * candidate.concurrent_runs > most:
            raise OutOfMemoryError("no memory for it")
        return 100.0 * candidate.batch

    monkeypatch.setattr(tuning, "_speed", speed)
    monkeypatch.setattr(tuning, "_cores", lambda: 2)
    most = 8
    assert search(model, Pass.GRADIENTS) == RunSettings(
        batch=8, threads=0, concurrent_runs=1, speed=800.0
    )
    most = 0
    with pytest.raises(ModelError, match="at no batch size: no memory for it"):
        search(model, Pass.GRADIENTS)


def test_it_is_searched_for_once(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = autotuned(model, Pass.GRADIENTS, said.append)
    monkeypatch.setattr(tuning, "search", lambda *_: pytest.fail("searched again"))
    again = autotuned(model, Pass.GRADIENTS, said.append)
    assert (first.batch, first.threads, first.concurrent_runs) == (
        again.batch,
        again.threads,
        again.concurrent_runs,
    )
    assert said[0] == said[1] and said[0].startswith(f"net: {first.batch} images a run")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 1}', '{"a": {"speed": 1}}', '{"a": {"x": 1}}']
)
def test_a_broken_memory_is_forgotten(model: Model, content: str) -> None:
    path = tuning._cache()
    path.parent.mkdir(parents=True)
    path.write_text(content)
    autotuned(model, Pass.FORWARD)
    assert len(json.loads(path.read_text())) == 1


def test_where_nothing_can_be_written_it_is_searched_for_each_time(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert autotuned(model, Pass.FORWARD).batch >= 1


def test_the_pace_changes_no_result(model: Model, tmp_path: Path) -> None:

    methods, metrics = (
        ["gradcam", "smoothgradcam++(n=3)", "scorecam"],
        ["adcc", "deletion(steps=5)"],
    )
    found = set()
    for i, pace in enumerate(
        [RunSettings(1, 0, 1), RunSettings(4, 1, 2), RunSettings(2, 1, 3), RunSettings(16, 2, 1)]
    ):
        path = tmp_path / f"{i}.sqlite"
        adcc.evaluate(with_run_settings(model, pace), IMAGES, methods, metrics, out=path)
        with Store.open(path) as store:
            found.add(render([store], "json"))
    assert len(found) == 1
