"""The progress of a run: passes done and to do, the speed, and the time that is left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from adcc_onnx.evaluation import run_tracker
from adcc_onnx.evaluation.run_tracker import Expected, RunTracker
from adcc_onnx.runtime.passes import Pass


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(run_tracker.time, "monotonic", lambda: clock.seconds)
    return clock


def test_the_estimate_counts_until_a_twentieth_is_done(now: SimpleNamespace) -> None:
    tracker = RunTracker("net", 10)
    tracker.expected = Expected({Pass.MASKED: 90, Pass.GRADIENTS: 5}, {
        Pass.MASKED: 0.1, Pass.GRADIENTS: 0.2,
    })  # fmt: skip
    assert tracker.expected.unit_seconds == pytest.approx(10)
    first = tracker.snapshot()
    assert (first.passes, first.expected_passes, first.fraction) == (0, 950, 0)
    assert first.seconds_left == pytest.approx(100)
    with tracker.part(2) as counter:
        now.seconds += 7  # most of it compilation
        counter.add(Pass.GRADIENTS, 10)  # 2 seconds of 100
        assert tracker.snapshot().seconds_left == pytest.approx(98)
        counter.add(Pass.MASKED, 80)  # 10 seconds of 100
        assert tracker.snapshot().fraction == pytest.approx(0.1)
        assert tracker.snapshot().seconds_left == pytest.approx(7 * 9)
        assert tracker.snapshot().per_second == 0


def test_finished_parts_correct_the_number_of_passes(now: SimpleNamespace) -> None:
    tracker = RunTracker("net", 12)
    tracker.expected = Expected({Pass.MASKED: 100}, {Pass.MASKED: 0.01})
    tracker.skip(2)  # by an earlier run
    with tracker.part(2) as counter:
        counter.add(Pass.MASKED, 100)  # half of the masks were equal
    tracker.advance(2)
    now.seconds += 4
    with tracker.part(4) as counter:
        counter.add(Pass.MASKED, 50)
        found = tracker.snapshot()
    assert (found.finished, found.passes, found.expected_passes) == (4, 150, 500)
    assert found.fraction == pytest.approx(2 / 12 + 10 / 12 * 150 / 500)
    assert found.per_second == 0.5
    assert found.seconds_left == pytest.approx(4 * 350 / 150)


def test_without_passes_the_units_count(now: SimpleNamespace) -> None:
    tracker, told = RunTracker("net", 8), []
    tracker.on_advance = told.append
    assert tracker.snapshot().expected_passes is None and tracker.snapshot().seconds_left is None
    tracker.skip(4)
    tracker.advance(1)
    assert tracker.snapshot().fraction == 5 / 8 and told == [4, 1]
