"""Threads that work ahead of the consumer of their results, in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from adcc_onnx.runtime.passes import RunStoppedError

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

_WAITING = 4  # results per thread that may wait for the consumer
_POLL_SECONDS = 0.1  # between checks whether the consumer still reads, or wants to end


class ConcurrentRuns(Generic[_Task, _Result]):
    """Several threads that share a stream of tasks; iterating gives the results as they finish.

    With one thread, the results have the order of the tasks. An exception from a task, or from the
    iterator of tasks, is raised in the consumer after the results that precede it.

    Args:
        tasks: The tasks; one thread at a time takes the next one.
        work: A function that computes the results of one task, one by one. It may raise
            `RunStoppedError` once `ending` is set; its remaining results are dropped.
        count: The number of threads.
        idle: Iterating gives this value while no result arrives; None waits for the next result.
        ending: The event that `end` sets; a new one if None.

    Example:
        >>> runs = ConcurrentRuns(iter([1, 2]), lambda task: iter([task, 10 * task]), count=1)
        >>> list(runs)
        [1, 10, 2, 20]
    """

    def __init__(
        self,
        tasks: Iterator[_Task],
        work: Callable[[_Task], Iterator[_Result]],
        count: int,
        idle: _Result | None = None,
        ending: threading.Event | None = None,
    ) -> None:
        self._tasks, self._work = tasks, work
        self._turn = threading.Lock()
        self._results: queue.Queue[_Result | BaseException | None] = queue.Queue(_WAITING * count)
        self._idle = idle
        self._ending, self._abandoned = ending or threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"adcc-run-{i}", daemon=True)
            for i in range(count)
        ]

    def end(self) -> None:
        """Start no more tasks; the iteration ends after the results that are being computed."""
        self._ending.set()

    def __iter__(self) -> Iterator[_Result]:
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        try:
            while running:
                try:
                    result = self._results.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    if self._idle is not None:
                        yield self._idle
                    continue
                if result is None:
                    running -= 1
                elif isinstance(result, BaseException):
                    raise result
                else:
                    yield result
        finally:
            # Also after Ctrl-C: a process that exits while a thread is in onnxruntime may crash.
            self._ending.set()
            self._abandoned.set()
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                with self._turn:
                    task = next(self._tasks, None)
                if task is None:
                    return
                for result in self._work(task):
                    self._put(result)
                    if self._ending.is_set():
                        return
        except RunStoppedError:
            pass  # the consumer asked for the end
        except BaseException as error:
            self._put(error)
        finally:
            self._put(None)

    def _put(self, result: _Result | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._results.put(result, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return
