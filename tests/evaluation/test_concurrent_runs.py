"""Concurrent runs: order, errors, the end, and the bound on waiting results."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.evaluation.concurrent_runs import _WAITING, ConcurrentRuns
from adcc_onnx.explanation.samples import even_batch


def twice(task: int) -> Iterator[int]:
    yield 10 * task
    yield 10 * task + 1


def test_one_thread_keeps_the_order() -> None:
    assert list(ConcurrentRuns(iter(range(50)), twice, 1)) == [
        10 * i + j for i in range(50) for j in (0, 1)
    ]


def test_many_threads_do_every_task_once() -> None:
    found = list(ConcurrentRuns(iter(range(200)), twice, 4))
    assert sorted(found) == [10 * i + j for i in range(200) for j in (0, 1)]


def test_threads_run_concurrently() -> None:
    """Each task waits until the other one has started, so a single thread would wait forever."""
    meeting = threading.Barrier(2, timeout=20)

    def meet(task: int) -> Iterator[int]:
        meeting.wait()
        yield task

    assert sorted(ConcurrentRuns(iter(range(2)), meet, 2)) == [0, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_is_raised_in_the_consumer(count: int) -> None:
    def work(task: int) -> Iterator[int]:
        yield task
        if task == 5:
            raise ValueError("five")

    read = []
    with pytest.raises(ValueError, match="five"):
        for result in ConcurrentRuns(iter(range(100)), work, count):
            read.append(result)
    assert 5 in read
    assert _gone()


def test_an_error_of_the_iterator_of_tasks() -> None:
    def tasks() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(ConcurrentRuns(tasks(), twice, 2))


def test_end_finishes_the_current_tasks_only() -> None:
    begun: list[int] = []

    def work(task: int) -> Iterator[int]:
        begun.append(task)
        yield task

    concurrent_runs, read = ConcurrentRuns(iter(range(1000)), work, 2), []
    for result in concurrent_runs:
        read.append(result)
        concurrent_runs.end()
    assert sorted(read) == sorted(begun)
    assert len(begun) < 50 and _gone()


def test_the_number_of_waiting_results_is_bounded() -> None:
    made: list[int] = []

    def work(task: int) -> Iterator[int]:
        made.append(task)
        yield task

    results = iter(ConcurrentRuns(iter(range(100)), work, 1))
    next(results)
    time.sleep(0.3)
    assert len(made) <= 1 + _WAITING + 1
    results.close()
    assert _gone()


def _gone() -> bool:
    return not any(thread.name.startswith("adcc-run") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("images", "batch", "concurrent_runs", "sizes"),
    [
        (48, 16, 2, [12, 12, 12, 12]),
        (48, 16, 1, [16, 16, 16]),
        (50, 16, 1, [13, 13, 13, 11]),
        (3, 16, 2, [2, 1]),
        (33, 8, 2, [6, 6, 6, 6, 6, 3]),
        (0, 8, 2, []),
    ],
)
def test_all_concurrent_runs_end_at_about_the_same_time(
    images: int, batch: int, concurrent_runs: int, sizes: list[int]
) -> None:
    model = adcc.load(classifier_path(), device="cpu").with_settings(
        batch=batch, concurrent_runs=concurrent_runs
    )
    size = even_batch(images, model)
    made = [min(size, images - start) for start in range(0, images, size)]
    assert made == sizes and max(made, default=0) <= batch
    assert even_batch(images, replace(model, any_batch=False)) == batch
