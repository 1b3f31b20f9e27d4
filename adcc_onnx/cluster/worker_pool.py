"""The workers of a cluster on one job; work of a lost worker is assigned to others."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from adcc_onnx.cluster.backlog import MAX_LOSSES, Backlog, Chunk
from adcc_onnx.cluster.heartbeat import PULSE, SILENCE_SECONDS, Heartbeat, Pulse
from adcc_onnx.cluster.job import Job, identity
from adcc_onnx.cluster.worker import Ready, Worker
from adcc_onnx.errors import AdccError, ClusterError, first_line
from adcc_onnx.evaluation.pipeline import Rows, Work, failed_rows
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.samples import Sample, labeled_class
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.rows import RunProgress

_QUEUE_DEPTH = 2  # chunks assigned to a worker, so that it never waits for the next one
_MAX_BATCHES = 4  # batches per chunk, which is what a lost worker costs
_MIN_CHUNKS = 4  # chunks per worker, so that all workers finish at about the same time
_POLL_SECONDS = 0.2  # seconds between checks for an interruption
_DISCOVERY_SECONDS = 5.0  # seconds between looks for machines that have joined
_CONTROL = "control"  # the thread of a worker that is free while it evaluates
_START_TIMEOUT = 300.0  # seconds to wait for the first worker
_LOST = f"{MAX_LOSSES} workers were lost while they evaluated it (did they run out of memory?)"


@dataclass(frozen=True)
class Placement:
    """The machine and the resources of one worker.

    Attributes:
        host: Address of the machine, for messages.
        resources: Resources to request from Ray: arguments of an actor's `options`.
        threads: Number of CPU threads of the worker.
        node: Ray's name of the machine's current membership in the cluster.
    """

    host: str
    resources: dict[str, Any] = field(compare=False)
    threads: int
    node: str = ""


@dataclass
class _Slot:
    """A placement, and the worker that currently occupies it.

    Attributes:
        placement: The placement.
        worker: Handle of the Ray actor.
        opening: Ray's future of the worker's `Ready` message; None once it has arrived.
        assigned: Assigned chunks with Ray's futures of their rows, in the order of the work.
        pulse: Signs of life of the worker; None before it is ready.
        failed_starts: Number of consecutive workers that were lost before they were ready.
    """

    placement: Placement
    worker: Any = None
    opening: Any = None
    assigned: deque[tuple[Chunk, Any]] = field(default_factory=deque)
    pulse: Pulse | None = None
    failed_starts: int = 0

    @property
    def pending(self) -> Any:
        """The future that is due next; None if there is none."""
        return self.opening or (self.assigned[0][1] if self.assigned else None)


class WorkerPool:
    """The workers on one job.

    Args:
        ray: The Ray module, connected.
        job: Job, from which the workers build their model, source and plan.
        device: Device of the workers, as `adcc_onnx.load` takes it.
        placements: Placement of each worker.
        model: The driver's model, which the workers' models must equal.
        source: The driver's source, which the workers' sources must equal.
        plan: The driver's plan.
        notify: Function that prints a line for the user.
        discover: Function that returns the placements on the machines of this moment; None if
            machines neither join nor leave.
    """

    def __init__(
        self,
        ray: Any,
        job: Job,
        device: str,
        placements: Sequence[Placement],
        model: Model,
        source: Source,
        plan: Plan,
        notify: Callable[[str], None],
        discover: Callable[[], Sequence[Placement]] | None = None,
    ) -> None:
        self._ray, self._job, self._device, self._notify = ray, job, device, notify
        self._model, self._source, self._plan = model, source, plan
        self._identity = identity(model, source)
        self._done, self._dropped = RunProgress(set(), {}), frozenset[str]()
        self._backlog = Backlog([], 1)
        self._ended = False
        self._last_seen = self._last_discovery = time.monotonic()
        self._discover = discover
        self._known_nodes = {placement.node for placement in placements}
        self._lost_nodes: set[str] = set()
        self._heartbeat = Heartbeat(ray)
        self._slots = [_Slot(placement) for placement in placements]
        for slot in self._slots:
            self._start_worker(slot)

    def first_ready(self) -> Ready:
        """Wait for the first worker.

        Returns:
            Its message.

        Raises:
            ClusterError: No worker starts, or a worker has another model or other images.
        """
        ready = None
        while ready is None:
            for slot in self._arrived_slots():
                ready = self._ready_message(slot) or ready
        return ready

    @contextmanager
    def begin(self, done: RunProgress, dropped: frozenset[str] = frozenset()) -> Iterator[Work]:
        """Begin the work that is not finished; call `first_ready` before.

        Args:
            done: The progress of the run so far.
            dropped: The methods that are not computed any more.
        """
        remaining = [i for i in range(len(self._source)) if i not in done.finished]
        batches = len(remaining) // (_MIN_CHUNKS * len(self._slots) * self._model.batch)
        size = self._model.batch * min(max(batches, 1), _MAX_BATCHES)
        # Few images are spread over all workers.
        size = min(size, max(1, math.ceil(len(remaining) / len(self._slots))))
        self._done, self._backlog = done, Backlog(remaining, size)
        self._dropped = dropped
        yield self

    def end(self) -> None:
        """Assign nothing more; each worker finishes its current pass and returns its rows."""
        self._ended = True
        for slot in self._slots:
            if slot.opening is None:
                slot.worker.stop.options(concurrency_group=_CONTROL).remote()
            while len(slot.assigned) > 1:
                slot.assigned.pop()

    def __iter__(self) -> Iterator[tuple[Rows, int]]:
        while True:
            if not self._ended:
                self._follow_machines()
                self._assign_chunks()
            idle = not any(slot.assigned for slot in self._slots)
            if idle and (self._ended or any(slot.opening is None for slot in self._slots)):
                return
            arrived = self._arrived_slots()
            for slot in arrived:
                yield self._collect_rows(slot) if slot.opening is None else self._handle_start(slot)
            for slot in self._silent_slots():
                yield self._handle_silence(slot)
            if not arrived:
                yield ([], []), 0

    def shut_down(self) -> None:
        """Stop all workers."""
        for slot in self._slots:
            self._ray.kill(slot.worker)

    def _start_worker(self, slot: _Slot) -> None:
        """Start a worker; Ray may make it wait until its resources are free."""
        remote = self._ray.remote(max_restarts=0, concurrency_groups={_CONTROL: 1, PULSE: 1})
        actor = remote(Worker).options(**slot.placement.resources)
        slot.worker = actor.remote(self._job, self._device, slot.placement.threads)
        slot.opening, slot.pulse = slot.worker.open.remote(), None
        slot.assigned.clear()

    def _follow_machines(self) -> None:
        """Start workers on machines that have joined, and give up those that have left."""
        now = time.monotonic()
        if self._discover is None or now - self._last_discovery < _DISCOVERY_SECONDS:
            return
        self._last_discovery = now
        present = self._discover()
        self._give_up_lost_machines({one.node for one in present})
        for placement in [one for one in present if one.node not in self._known_nodes]:
            if placement.node not in self._known_nodes:
                self._known_nodes.add(placement.node)
                self._notify(f"{placement.host} has joined the cluster and gets work")
            slot = _Slot(placement)
            self._slots.append(slot)
            self._start_worker(slot)

    def _give_up_lost_machines(self, present: set[str]) -> None:
        """Stop workers that wait for a machine that is no longer in the cluster."""
        for slot in [one for one in self._slots if one.opening is not None]:
            if slot.placement.node not in present and len(self._slots) > 1:
                if slot.placement.node not in self._lost_nodes:
                    self._notify(f"the machine {slot.placement.host} was lost")
                self._lost_nodes.add(slot.placement.node)
                self._remove(slot)

    def _assign_chunks(self) -> None:
        """Fill the queues of all workers evenly."""
        for depth in range(_QUEUE_DEPTH):
            for slot in self._slots:
                if slot.opening is None and len(slot.assigned) == depth:
                    self._assign_chunk(slot)

    def _assign_chunk(self, slot: _Slot) -> None:
        chunk = self._backlog.take()
        if chunk is None:
            return
        stored = {i: self._done.partial[i] for i in chunk.positions if i in self._done.partial}
        rows = slot.worker.evaluate.remote(chunk.positions, stored, self._dropped)
        slot.assigned.append((chunk, rows))

    def _arrived_slots(self) -> list[_Slot]:
        """Wait a moment; return the slots whose future has arrived or whose worker was lost."""
        by_future = {slot.pending: slot for slot in self._slots if slot.pending is not None}
        ready, _ = self._ray.wait(list(by_future), timeout=_POLL_SECONDS)
        now = time.monotonic()
        if ready or any(slot.opening is None for slot in self._slots):
            self._last_seen = now
        if now - self._last_seen > _START_TIMEOUT:
            raise ClusterError(
                f"no worker started within {_START_TIMEOUT:.0f} seconds: is the cluster busy with "
                "other work? See `ray status`"
            )
        return [by_future[future] for future in ready]

    def _handle_start(self, slot: _Slot) -> tuple[Rows, int]:
        self._ready_message(slot)
        return ([], []), 0

    def _ready_message(self, slot: _Slot) -> Ready | None:
        """Return the checked message of a new worker; None if it was lost."""
        host = slot.placement.host
        try:
            ready: Ready = self._ray.get(slot.opening)
        except self._ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, AdccError):
                raise
            raise ClusterError(
                f"the worker on {host} cannot start: {error.cause}; models and images must be "
                "available under the same paths on all machines"
            ) from None
        except self._ray.exceptions.RayError as error:
            self._handle_failed_start(slot, error)
            return None
        for key, mine in self._identity.items():
            if ready.identity[key] != mine:
                raise ClusterError(
                    f"the worker on {host} differs from this machine ({key}: "
                    f"{ready.identity[key]!r}, here {mine!r}): models, their cards, images and "
                    "adcc-onnx must be the same on all machines"
                )
        slot.opening, slot.failed_starts = None, 0
        slot.pulse = self._heartbeat.begin(slot.worker)
        return ready

    def _handle_failed_start(self, slot: _Slot, error: Exception) -> None:
        slot.failed_starts += 1
        if slot.failed_starts < MAX_LOSSES:
            self._replace(slot)
            return
        self._slots.remove(slot)
        host = slot.placement.host
        self._notify(f"{host}: no longer used, {MAX_LOSSES} workers were lost at the start")
        if not self._slots:
            raise ClusterError(f"no worker is left: {first_line(error)}")

    def _collect_rows(self, slot: _Slot) -> tuple[Rows, int]:
        """Return the rows of a worker's current chunk; none if the worker was lost."""
        try:
            # The rows may still be on a machine that does not answer any more.
            rows: Rows = self._ray.get(slot.assigned[0][1], timeout=SILENCE_SECONDS)
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, AdccError) else error) from None
        except self._ray.exceptions.RayError:
            return self._handle_loss(slot)
        chunk, _ = slot.assigned.popleft()
        return rows, len(chunk.positions)

    def _handle_loss(self, slot: _Slot) -> tuple[Rows, int]:
        host, node = slot.placement.host, slot.placement.node
        gone = self._machine_is_lost(slot)
        if node not in self._lost_nodes:
            self._notify_of_takeover(f"{'the machine' if gone else 'a worker on'} {host} was lost")
        rows = self._return_work(slot)
        if gone and len(self._slots) > 1:
            self._lost_nodes.add(node)
            self._remove(slot)  # a machine that comes back is admitted as a new one
        else:
            self._replace(slot)
        return rows

    def _silent_slots(self) -> list[_Slot]:
        """Return the slots with work whose worker has not answered for a long time."""
        pulses = [slot.pulse for slot in self._slots if slot.pulse is not None]
        silent = [pulse.worker for pulse in self._heartbeat.silent(pulses)]
        return [slot for slot in self._slots if slot.assigned and slot.worker in silent]

    def _handle_silence(self, slot: _Slot) -> tuple[Rows, int]:
        self._notify_of_takeover(
            f"a worker on {slot.placement.host} has not answered for {SILENCE_SECONDS:.0f} seconds"
        )
        rows = self._return_work(slot)
        self._replace(slot)
        return rows

    def _notify_of_takeover(self, event: str) -> None:
        heir = "a new worker takes" if len(self._slots) == 1 else "others take"
        self._notify(f"{event}; {heir} over its images")

    def _return_work(self, slot: _Slot) -> tuple[Rows, int]:
        """Put the work of a lost worker back; return the rows of images that are given up."""
        current, *waiting = [chunk for chunk, _ in slot.assigned]
        retries = current.after_loss()
        self._backlog.put_back([*retries, *waiting])
        return (([], []), 0) if retries else (self._failed_rows(current), len(current.positions))

    def _machine_is_lost(self, slot: _Slot) -> bool:
        if self._discover is None:
            return False
        return all(placement.node != slot.placement.node for placement in self._discover())

    def _remove(self, slot: _Slot) -> None:
        self._ray.kill(slot.worker)
        self._slots.remove(slot)

    def _replace(self, slot: _Slot) -> None:
        # The worker may still run if only its network failed: its work is not needed any more.
        self._ray.kill(slot.worker)
        self._start_worker(slot)

    def _failed_rows(self, chunk: Chunk) -> Rows:
        """Return rows that mark images, or their unfinished methods, as failed."""
        images, scores = [], []
        for i in chunk.positions:
            label = labeled_class(self._source.labels[i], self._model)
            done = self._done.partial.get(i)
            sample = Sample(i, self._source.names[i], label, None, _LOST, done=done)
            rows = failed_rows(self._plan.without(self._dropped), sample, _LOST)
            images += rows[0]
            scores += rows[1]
        return images, scores
