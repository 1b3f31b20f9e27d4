"""The evaluation pipeline: from a source of images to a store of rows, batch by batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol

from adcc_onnx.errors import InterruptedRunError, OptionError, OutOfMemoryError, PreprocessingError
from adcc_onnx.evaluation.batch import Batch
from adcc_onnx.evaluation.concurrent_runs import ConcurrentRuns
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.evaluation.stages import check_stopping, stages
from adcc_onnx.explanation.memory_strategy import memory_strategy
from adcc_onnx.explanation.metric_context import PASSES
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.explanation.required_passes import open_sessions, pass_for
from adcc_onnx.explanation.samples import (
    Sample,
    batches,
    even_batch,
    prefetch,
    require_preprocessing,
    tensor_of,
)
from adcc_onnx.explanation.targets import LABEL, PREDICTED
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.kernels.jit import share_threads
from adcc_onnx.metrics.metric import MetricNeed
from adcc_onnx.model import Model
from adcc_onnx.results.rows import ImageRow, RunProgress, ScoreRow
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.passes import Pass

Rows = tuple[list[ImageRow], list[ScoreRow]]


class Work(Protocol):
    """Work in progress; iterating gives rows and the number of images that they finish."""

    def __iter__(self) -> Iterator[tuple[Rows, int]]:
        """Iterate over the rows as they are computed."""

    def end(self) -> None:
        """Start no more work; the iteration ends after the rows that are being computed."""


# Opens the part of the work that can be stopped without loss, and provides a function that returns
# whether to stop.
Graceful = Callable[[], AbstractContextManager[Callable[[], bool]]]
# Starts the remaining work of a run or of a stage of it, given the progress so far and the methods
# that are not computed any more.
Begin = Callable[[RunProgress, frozenset[str]], AbstractContextManager[Work]]

# Rows are written at this interval, so that a killed process loses about one second of work.
_FLUSH_SECONDS = 1.0


def never_stopped() -> AbstractContextManager[Callable[[], bool]]:
    """Never ask for a stop; the default of `Graceful` arguments."""
    return nullcontext(lambda: False)


def evaluate_into(
    store: Store,
    model: Model,
    source: Source,
    plan: Plan,
    described_as: str,
    tracker: RunTracker | None = None,
    graceful: Graceful = never_stopped,
    begin: Begin | None = None,
) -> int:
    """Evaluate every pair of image and method that the store does not hold yet.

    Args:
        store: The store that receives the rows.
        model: The model, which passed `check`.
        source: The images.
        plan: The plan.
        described_as: The description of the images for the run's record.
        tracker: Receives the progress in images and passes.
        graceful: Opens the part of the work that can be stopped without loss, and provides a
            function that returns whether to stop. It is called at least ten times per second.
        begin: A function that starts the work on a cluster; None for this process.

    Returns:
        The run's number in the store.

    Raises:
        InterruptedRunError: The run was stopped; the finished rows are kept.
    """
    run = store.begin(plan.config(model, described_as, len(source)))
    tracker = tracker or RunTracker(model.name, len(source))
    begin = begin or partial(work_here, model, source, plan, tracker=tracker)
    with graceful() as stop, _Writer(store, run) as writer:
        for stage in stages(store, run, source, plan, tracker):
            with begin(stage.done, stage.dropped) as work:
                _keep(writer, work, tracker, stop)
            writer.flush()
    store.finish(run)
    return run


@contextmanager
def work_here(
    model: Model,
    source: Source,
    plan: Plan,
    done: RunProgress,
    dropped: frozenset[str] = frozenset(),
    tracker: RunTracker | None = None,
) -> Iterator[Work]:
    """Do the remaining work in this process; images are decoded while the model runs.

    Args:
        model: The model.
        source: The images.
        plan: The plan.
        done: The progress of the run so far.
        dropped: The methods that are not computed any more.
        tracker: Counts the passes.

    Yields:
        The work.
    """
    plan = plan.without(dropped)
    ending, counted = threading.Event(), tracker or RunTracker(model.name, len(source))
    runs = model.settings.concurrent_runs

    def evaluated(group: list[Sample]) -> Iterator[tuple[Rows, int]]:
        with counted.part(len(group), ending.is_set), share_threads(runs):
            for rows in evaluate_batch(model, plan, group):
                yield rows, 0
        yield ([], []), len(group)

    left = len(source) - len(done.finished)
    if left:
        open_plan_sessions(model, plan)
    with prefetch(source, model, done, plan.truth) as stream:
        size = even_batch(left, model)
        yield ConcurrentRuns(batches(stream, size), evaluated, runs, (([], []), 0), ending)


def _keep(writer: _Writer, work: Work, tracker: RunTracker, stop: Callable[[], bool]) -> None:
    stopped = False
    for rows, finished in work:
        writer.add(rows)
        tracker.advance(finished)
        if not stopped and stop():
            stopped = True
            work.end()
            writer.flush()  # a second signal ends the process at once
    if stopped:
        raise InterruptedRunError("interrupted")


def check(model: Model, source: Source, plan: Plan) -> None:
    """Check that an evaluation can run, before anything is written.

    Args:
        model: The model.
        source: The images.
        plan: The plan for this model.

    Raises:
        OptionError: The model does not have the target class, a metric needs ground truth that no
            image has, or the stopping rule does not fit the methods and metrics.
        PreprocessingError: The images cannot be converted to the model's tensors.
        SourceError: There are fewer ready-made maps than images.
    """
    if isinstance(plan.target, int):
        model.classifier.require_class(plan.target)
    check_stopping(plan)
    require_preprocessing(source, model)
    if source.preprocessed:
        if plan.fill == "black":
            raise PreprocessingError(
                "ready tensors have no black pixels: the openvino protocol (--fill black) masks "
                "the raw image, before preprocessing"
            )
        tensor_of(next(iter(source)), True, model)
    if plan.truth and all(record.truth is None for record in source):
        raise OptionError(
            "no image has ground truth: give --truth (boxes or masks), or an .npz with `mask`, for "
            f"{', '.join(plan.metrics_of_truth)}"
        )
    for method in plan.methods.values():
        if isinstance(method, ReadyMaps):
            method.require(len(source))


def open_plan_sessions(model: Model, plan: Plan) -> None:
    """Open all sessions before the first run, so that their peak memory does not add up.

    Args:
        model: The model.
        plan: The plan.
    """
    open_sessions(model, plan.needs)
    is_cheaper = model.pool.is_cheaper(pass_for(plan.needs))
    doubts = is_cheaper and plan.target == PREDICTED
    if doubts or plan.compares_other_precision(model):  # about classes, or p(x) once more
        model.pool.session(Pass.FORWARD, exact=is_cheaper)
    for method in plan.available.values():
        again = plan.needs_again(method)
        if again is not None:
            open_sessions(model, again, masked=memory_strategy(model).masks_in_graph)
    required = {need for metric in plan.metrics.values() for need in metric.needs}
    if MetricNeed.DELETED_SCORE in required:
        open_sessions(model, frozenset(), masked=memory_strategy(model).masks_in_graph)
    for need in required & PASSES.keys():
        model.pool.session(PASSES[need])


def evaluate_batch(model: Model, plan: Plan, group: Sequence[Sample]) -> Iterator[Rows]:
    """Evaluate one group of samples.

    Args:
        model: The model.
        plan: The plan.
        group: The samples; one without a tensor gets rows with the reason of its failure.

    Yields:
        The rows of one method after the other.
    """
    usable = []
    for sample in group:
        reason = sample.failure or _target_failure(plan, sample)
        if reason is None:
            usable.append(sample)
        else:
            yield failed_rows(plan, sample, reason)
    if not usable:
        return
    try:
        batch = Batch.observe(model, plan, usable)
    except OutOfMemoryError as error:
        for sample in usable:
            yield failed_rows(plan, sample, str(error))
        return
    done = usable[0].done
    yield (batch.image_rows() if done is None else []), []
    left = {name: method for name, method in plan.methods.items() if name not in (done or ())}
    for rows in batch.score(left):
        yield [], rows


class _Writer:
    """Writes rows to the store about once a second, and the remaining ones at the end."""

    def __init__(self, store: Store, run: int) -> None:
        self._store, self._run = store, run
        self._images: list[ImageRow] = []
        self._scores: list[ScoreRow] = []
        self._written = time.monotonic()

    def add(self, rows: Rows) -> None:
        self._images += rows[0]
        self._scores += rows[1]
        if time.monotonic() - self._written >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        # The lists are emptied first: if Ctrl-C interrupts the call, no row is written twice.
        images, self._images = self._images, []
        scores, self._scores = self._scores, []
        if images or scores:
            self._store.write(self._run, images, scores)
        self._written = time.monotonic()

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()


def _target_failure(plan: Plan, sample: Sample) -> str | None:
    if plan.target == LABEL and sample.label is None:
        return "the image has no label that the model knows, and the target is the label"
    return None


def failed_rows(plan: Plan, sample: Sample, reason: str) -> Rows:
    """Return the rows of an image that cannot be evaluated.

    Args:
        plan: The plan.
        sample: The image. If an earlier run kept its row, only the missing methods fail.
        reason: The reason of the failure.
    """
    if sample.done is None:
        row = ImageRow(sample.position, sample.name, sample.label, None, None, None, reason)
        return [row], []
    left = [method for method in plan.methods if method not in sample.done]
    return [], [ScoreRow(sample.position, method, False, reason, {}) for method in left]
