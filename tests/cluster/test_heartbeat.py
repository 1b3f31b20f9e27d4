"""Signs of life: silence counts, but not while a worker answers or the driver itself is stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adcc_onnx.cluster import heartbeat
from adcc_onnx.cluster.heartbeat import SILENCE_SECONDS, Heartbeat


class Workers:
    """Answers requests of the workers that are `alive`, and counts the requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive, self.requests, self.now = {"a", "b"}, 0, 0.0
        monkeypatch.setattr(heartbeat.time, "monotonic", lambda: self.now)

    def worker(self, name: str) -> Any:
        def remote() -> str:
            self.requests += 1
            return name

        pulse = SimpleNamespace(options=lambda concurrency_group: SimpleNamespace(remote=remote))
        return SimpleNamespace(pulse=pulse, name=name)

    def wait(self, promises: list[str], timeout: float) -> tuple[list[str], list[str]]:
        assert timeout == 0
        return [one for one in promises if one in self.alive], []


def test_silence_counts_from_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch)
    beat = Heartbeat(workers)
    pulses = [beat.begin(workers.worker(name)) for name in "ab"]

    def silent_after(seconds: float) -> list[str]:
        found: list[str] = []
        for _ in range(round(seconds * 5)):
            workers.now += 0.2
            found = [pulse.worker.name for pulse in beat.silent(pulses)]
        return found

    assert silent_after(300) == []
    assert workers.requests == pytest.approx(2 * 300 / 5, abs=4)
    workers.alive.discard("b")
    assert silent_after(SILENCE_SECONDS - 6) == []
    assert silent_after(7) == ["b"]
    workers.alive.add("b")
    assert silent_after(1) == []


def test_a_stopped_driver_blames_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch)
    beat = Heartbeat(workers)
    pulses = [beat.begin(workers.worker("a"))]
    workers.alive.clear()
    for _ in range(10):
        workers.now += 3600  # stopped by Ctrl-Z
        assert beat.silent(pulses) == []
