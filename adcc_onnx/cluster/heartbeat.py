"""Signs of life of the workers, so that a lost machine is noticed before Ray declares it dead.

With its defaults, Ray takes more than a minute to notice a machine whose network or whose raylet
(Ray's process on each machine) no longer answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PULSE = "pulse"  # the thread of a worker that answers while it evaluates
SILENCE_SECONDS = 40.0  # seconds without an answer after which a worker counts as lost
_INTERVAL_SECONDS = 5.0  # seconds between two requests
_LONGEST_STEP = 1.0  # seconds


@dataclass
class Pulse:
    """The signs of life of one worker.

    Attributes:
        worker: Handle of the Ray actor.
        heard: Time of the last answer.
        asked: Time of the last request.
        answer: Ray's future of the answer that is awaited; None if there is none.
    """

    worker: Any
    heard: float
    asked: float = float("-inf")
    answer: Any = None


class Heartbeat:
    """Asks the workers for signs of life.

    Args:
        ray: The Ray module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._seconds, self._last = 0.0, time.monotonic()

    def begin(self, worker: Any) -> Pulse:
        """Return the pulse of a worker that has just answered.

        Args:
            worker: Handle of the Ray actor.
        """
        return Pulse(worker, self._seconds)

    def silent(self, pulses: Iterable[Pulse]) -> list[Pulse]:
        """Ask for signs of life where they are due; called several times per second.

        Args:
            pulses: The workers that must answer.

        Returns:
            The workers that have not answered for `SILENCE_SECONDS`.
        """
        now = self._tick()
        watched = list(pulses)
        for pulse in watched:
            if pulse.answer is not None and self._ray.wait([pulse.answer], timeout=0)[0]:
                pulse.heard, pulse.answer = now, None
            if pulse.answer is None and now - pulse.asked >= _INTERVAL_SECONDS:
                request = pulse.worker.pulse.options(concurrency_group=PULSE)
                pulse.asked, pulse.answer = now, request.remote()
        return [pulse for pulse in watched if now - pulse.heard > SILENCE_SECONDS]

    def _tick(self) -> float:
        """Return the seconds so far without those in which this process was stopped (Ctrl-Z)."""
        now = time.monotonic()
        self._seconds += min(now - self._last, _LONGEST_STEP)
        self._last = now
        return self._seconds
