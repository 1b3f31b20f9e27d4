"""The progress of a run in images and passes, with the time that is left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from adcc_onnx.runtime.passes import Pass, PassCounter, counting

# Until this fraction of the work is done, the speed of the run, which includes the compilation of
# kernels, says less than the measured passes.
_WARM_UP = 0.05


@dataclass(frozen=True)
class Expected:
    """What a run will probably take.

    Attributes:
        passes: The number of passes per unit of the run, such as an image, by the kind of pass.
        seconds: The seconds of one pass, by the kind of pass.
    """

    passes: Mapping[Pass, float]
    seconds: Mapping[Pass, float]

    @property
    def unit_seconds(self) -> float:
        """The seconds per unit."""
        return sum(self.cost(kind) * count for kind, count in self.passes.items())

    def cost(self, kind: Pass) -> float:
        """Return the seconds of one pass; the mean of the known kinds if it was not measured.

        Args:
            kind: The kind of pass.
        """
        known = self.seconds.values()
        mean = sum(known) / len(known) if known else 1.0
        return self.seconds.get(kind, mean)


@dataclass(frozen=True)
class Snapshot:
    """The progress at one moment.

    Attributes:
        finished: The number of finished units.
        passes: The number of passes that were run.
        expected_passes: The number of passes of the whole run; None if it is not known.
        fraction: The finished fraction of the work, in [0, 1].
        per_second: The number of units per second; 0 before the first one is finished.
        seconds_left: The time that is left; None if it is not known.
    """

    finished: int
    passes: int
    expected_passes: int | None
    fraction: float
    per_second: float
    seconds_left: float | None


@dataclass(frozen=True)
class _Part:
    units: float
    counter: PassCounter


@dataclass(frozen=True)
class _Seen:
    units: float
    passes: Mapping[Pass, int]


class RunTracker:
    """The progress of one run; any thread may read it.

    Args:
        title: The title of the run.
        total: The number of units.
        unit: The name of the units in the plural.

    Attributes:
        expected: What the run will probably take; None if that is not known.
        on_advance: A function that is called with the number of units just finished.

    Example:
        >>> tracker = RunTracker("net", 4)
        >>> with tracker.part(2) as counter:
        ...     counter.add(Pass.FORWARD, 20)
        >>> tracker.advance(2)
        >>> now = tracker.snapshot()
        >>> now.finished, now.passes, now.expected_passes, now.fraction
        (2, 20, 40, 0.5)
    """

    def __init__(self, title: str, total: int, unit: str = "images") -> None:
        self.title, self.total, self.unit = title, total, unit
        self.expected: Expected | None = None
        self.on_advance: Callable[[int], None] = lambda units: None
        self._skipped, self._finished = 0, 0
        self._running: dict[int, _Part] = {}
        self._ended_units, self._ended_passes = 0.0, Counter[Pass]()
        self._lock = threading.Lock()  # taken per part and per snapshot, not per pass
        self._start: float | None = None
        self._clock = time.monotonic

    def skip(self, units: int) -> None:
        """Count units that an earlier run has finished.

        Args:
            units: The number of units.
        """
        self._begin()
        self._skipped += units
        self.on_advance(units)

    def advance(self, units: int) -> None:
        """Count units that are finished.

        Args:
            units: The number of units.
        """
        self._finished += units
        self.on_advance(units)

    @contextmanager
    def part(self, units: float, stop: Callable[[], bool] = lambda: False) -> Iterator[PassCounter]:
        """Count the passes that this thread runs for some units.

        Args:
            units: The number of units.
            stop: A function that returns whether to stop before the next pass.

        Yields:
            The counter.
        """
        self._begin()
        part = _Part(units, PassCounter(stop))
        with self._lock:
            self._running[id(part)] = part
        try:
            with counting(part.counter):
                yield part.counter
        finally:
            with self._lock:
                del self._running[id(part)]
                self._ended_units += units
                self._ended_passes.update(part.counter.passes)

    def _begin(self) -> None:
        if self._start is None:
            self._start = self._clock()

    def snapshot(self) -> Snapshot:
        """Return the progress at this moment."""
        with self._lock:
            running = [_Seen(p.units, dict(p.counter.passes)) for p in self._running.values()]
            ended = _Seen(self._ended_units, dict(self._ended_passes))
        done: Counter[Pass] = Counter()
        for part in [*running, ended]:
            done.update(part.passes)
        to_do = self._to_do(running, ended)
        cost = self.expected.cost if self.expected else _equal_cost
        spent = sum(count * cost(kind) for kind, count in done.items())
        left = None if to_do is None else sum(count * cost(k) for k, count in to_do.items())
        elapsed = 0.0 if self._start is None else self._clock() - self._start
        finished = self._skipped + self._finished
        return Snapshot(
            finished,
            done.total(),
            None if to_do is None else done.total() + round(sum(to_do.values())),
            self._fraction(spent, left, finished),
            self._finished / elapsed if elapsed else 0.0,
            self._seconds_left(spent, left, elapsed),
        )

    def _to_do(self, running: Sequence[_Seen], ended: _Seen) -> dict[Pass, float] | None:
        """Return the passes that are left: as many per unit as the finished parts took."""
        if ended.units:
            per_unit: Mapping[Pass, float] = {k: n / ended.units for k, n in ended.passes.items()}
        elif self.expected is not None:
            per_unit = self.expected.passes
        else:
            return None
        begun = ended.units + sum(part.units for part in running)
        waiting = max(0.0, self.total - self._skipped - begun)
        return {
            kind: waiting * count
            + sum(max(0.0, part.units * count - part.passes.get(kind, 0)) for part in running)
            for kind, count in per_unit.items()
        }

    def _fraction(self, spent: float, left: float | None, finished: int) -> float:
        if left is None or not spent + left:
            return finished / self.total if self.total else 1.0
        skipped = self._skipped / self.total if self.total else 0.0
        return skipped + (1 - skipped) * spent / (spent + left)

    def _seconds_left(self, spent: float, left: float | None, elapsed: float) -> float | None:
        if left is None:
            if not self._finished:
                return None
            return elapsed / self._finished * (self.total - self._skipped - self._finished)
        is_measured = self.expected is not None and bool(self.expected.seconds)
        if is_measured and not self._finished and spent < _WARM_UP * (spent + left):
            return left
        return elapsed * left / spent if spent else None


def _equal_cost(kind: Pass) -> float:
    return 1.0
