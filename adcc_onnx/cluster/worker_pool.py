"""The workers of a cluster on one job: work is handed out, and given anew where one is lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from adcc_onnx.cluster.backlog import MOST_LOSSES, Backlog, Chunk
from adcc_onnx.cluster.job import Job, identity
from adcc_onnx.cluster.worker import Ready, Worker
from adcc_onnx.errors import AdccError, ClusterError, first_line
from adcc_onnx.evaluation.pipeline import Rows, Work, failed_rows
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.samples import Sample, labeled_class
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.store import Progress

_DEPTH = 2  # chunks a worker has, so that it never waits for the next
_BATCHES = 4  # of a chunk, at most: what a lost worker costs
_SHARES = 4  # chunks a worker gets, at least, so that all end at about the same time
_POLL_SECONDS = 0.2  # seconds between looks whether to stop
_PATIENCE = 300.0  # seconds without any worker
_LOST = f"{MOST_LOSSES} workers were lost while they evaluated it (did it take all memory?)"


@dataclass(frozen=True)
class Placement:
    """Where one worker stands.

    Attributes:
        host: the machine's address, for messages.
        wanted: what Ray is asked for: the arguments of an actor's `options`.
        threads: the worker's.
    """

    host: str
    wanted: dict[str, Any] = field(compare=False)
    threads: int


@dataclass
class _Slot:
    """A place, and the worker that is there now.

    Attributes:
        opening: Ray's promise that the worker is ready; None once it is.
        at_work: the chunks it has, with Ray's promises of their rows, in the order of the work.
        deaths: how many workers in a row were lost here before they were ready.
    """

    place: Placement
    worker: Any = None
    opening: Any = None
    at_work: deque[tuple[Chunk, Any]] = field(default_factory=deque)
    deaths: int = 0

    @property
    def awaited(self) -> Any:
        """The promise that comes next, None where nothing was asked for."""
        return self.opening or (self.at_work[0][1] if self.at_work else None)


class WorkerPool:
    """Workers on one job.

    Args:
        ray: the module, connected.
        job: what they build their model, source and plan from.
        device: as `adcc_onnx.load` takes it.
        places: one a worker.
        model, source, plan: the driver's, as the workers' must be.
        say: takes a line for a person.
    """

    def __init__(
        self,
        ray: Any,
        job: Job,
        device: str,
        places: Sequence[Placement],
        model: Model,
        source: Source,
        plan: Plan,
        say: Callable[[str], None],
    ) -> None:
        self._ray, self._job, self._device, self._say = ray, job, device, say
        self._model, self._source, self._plan = model, source, plan
        self._identity = identity(model, source)
        self._done = Progress(set(), {})
        self._backlog = Backlog([], 1)
        self._ended = False
        self._heard = time.monotonic()
        self._seats = [_Slot(place) for place in places]
        for seat in self._seats:
            self._fill(seat)

    def first_ready(self) -> Ready:
        """Wait for the first worker.

        Raises:
            ClusterError: none comes, or it does not have what the driver has.
        """
        ready = None
        while ready is None:
            for seat in self._arrivals():
                ready = self._opened(seat) or ready
        return ready

    @contextmanager
    def begin(self, done: Progress) -> Iterator[Work]:
        """The work that is left; `first_ready` has been waited for."""
        left = [i for i in range(len(self._source)) if i not in done.finished]
        batches = len(left) // (_SHARES * len(self._seats) * self._model.batch)
        size = self._model.batch * min(max(batches, 1), _BATCHES)
        self._done, self._backlog = done, Backlog(left, size)
        yield self

    def end(self) -> None:
        """Begin nothing more: the chunk that each worker has in hand comes yet."""
        self._ended = True
        for seat in self._seats:
            while len(seat.at_work) > 1:
                seat.at_work.pop()

    def __iter__(self) -> Iterator[tuple[Rows, int]]:
        while True:
            if not self._ended:
                self._hand_out()
            idle = not any(seat.at_work for seat in self._seats)
            if idle and (self._ended or any(seat.opening is None for seat in self._seats)):
                return
            arrived = self._arrivals()
            for seat in arrived:
                yield self._finished(seat) if seat.opening is None else self._began(seat)
            if not arrived:
                yield ([], []), 0

    def dismiss(self) -> None:
        """End all workers."""
        for seat in self._seats:
            self._ray.kill(seat.worker)

    def _fill(self, seat: _Slot) -> None:
        """Start a worker, which may have to wait until its place is free."""
        actor = self._ray.remote(Worker).options(max_restarts=0, **seat.place.wanted)
        seat.worker = actor.remote(self._job, self._device, seat.place.threads)
        seat.opening = seat.worker.open.remote()
        seat.at_work.clear()

    def _hand_out(self) -> None:
        for depth in range(_DEPTH):
            for seat in self._seats:
                if seat.opening is None and len(seat.at_work) == depth:
                    self._give(seat)

    def _give(self, seat: _Slot) -> None:
        chunk = self._backlog.take()
        if chunk is None:
            return
        kept = {i: self._done.partial[i] for i in chunk.positions if i in self._done.partial}
        seat.at_work.append((chunk, seat.worker.evaluate.remote(chunk.positions, kept)))

    def _arrivals(self) -> list[_Slot]:
        """Where what was awaited has come, or the worker was lost; waits for a moment."""
        by_promise = {seat.awaited: seat for seat in self._seats if seat.awaited is not None}
        come, _ = self._ray.wait(list(by_promise), timeout=_POLL_SECONDS)
        now = time.monotonic()
        if come or any(seat.opening is None for seat in self._seats):
            self._heard = now
        if now - self._heard > _PATIENCE:
            raise ClusterError(
                f"no worker came up in {_PATIENCE:.0f} seconds: are the cluster's machines taken "
                "by other work? See `ray status`"
            )
        return [by_promise[promise] for promise in come]

    def _began(self, seat: _Slot) -> tuple[Rows, int]:
        self._opened(seat)
        return ([], []), 0

    def _opened(self, seat: _Slot) -> Ready | None:
        """What a new worker tells; None where it was lost."""
        host = seat.place.host
        try:
            ready: Ready = self._ray.get(seat.opening)
        except self._ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, AdccError):
                raise
            raise ClusterError(
                f"the worker on {host} cannot begin: {error.cause}; models and images must lie "
                "under the same paths on all machines"
            ) from None
        except self._ray.exceptions.RayError as error:
            self._died_early(seat, error)
            return None
        for key, mine in self._identity.items():
            if ready.identity[key] != mine:
                raise ClusterError(
                    f"the worker on {host} has something else under the same path ({key}: "
                    f"{ready.identity[key]!r}, here {mine!r}): models, their cards, images and "
                    "adcc-onnx must be the same on all machines"
                )
        seat.opening, seat.deaths = None, 0
        return ready

    def _died_early(self, seat: _Slot, error: Exception) -> None:
        seat.deaths += 1
        if seat.deaths < MOST_LOSSES:
            self._replace(seat)
            return
        self._seats.remove(seat)
        self._say(f"{seat.place.host}: given up, {MOST_LOSSES} workers were lost while they began")
        if not self._seats:
            raise ClusterError(f"no worker is left: {first_line(error)}")

    def _finished(self, seat: _Slot) -> tuple[Rows, int]:
        """The rows of the chunk that a worker had in hand; none if the worker was lost."""
        try:
            rows: Rows = self._ray.get(seat.at_work[0][1])
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, AdccError) else error) from None
        except self._ray.exceptions.RayError:
            return self._lost(seat)
        chunk, _ = seat.at_work.popleft()
        return rows, len(chunk.positions)

    def _lost(self, seat: _Slot) -> tuple[Rows, int]:
        self._say(f"a worker on {seat.place.host} was lost; others take over its images")
        in_hand, *waiting = [chunk for chunk, _ in seat.at_work]
        again = in_hand.after_loss()
        self._backlog.put_back([*again, *waiting])
        self._replace(seat)
        return (([], []), 0) if again else (self._failed(in_hand), len(in_hand.positions))

    def _replace(self, seat: _Slot) -> None:
        # It may have been its machine's network only: whatever it still does is not wanted.
        self._ray.kill(seat.worker)
        self._fill(seat)

    def _failed(self, chunk: Chunk) -> Rows:
        """The rows of images that cannot be evaluated: of the whole, or of what is left of it."""
        images, scores = [], []
        for i in chunk.positions:
            label = labeled_class(self._source.labels[i], self._model)
            done = self._done.partial.get(i)
            sample = Sample(i, self._source.names[i], label, None, _LOST, done=done)
            rows = failed_rows(self._plan, sample, _LOST)
            images += rows[0]
            scores += rows[1]
        return images, scores
