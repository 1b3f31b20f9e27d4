"""The one way to an evaluation: check every model, open the store, run, and summarize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from adcc_onnx.evaluation.cost_estimate import estimate, long_run_notice
from adcc_onnx.evaluation.pipeline import (
    Begin,
    Graceful,
    check,
    evaluate_into,
    never_stopped,
    open_plan_sessions,
)
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.plausibility import check_labels, check_predictions
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation.autotuned_model import autotuned
from adcc_onnx.explanation.calibrated_model import calibrated_models, with_stored_calibration
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.model import Model
from adcc_onnx.results.anchor_runs import anchor_name
from adcc_onnx.results.evaluation_result import EvaluationResult, evaluation_result
from adcc_onnx.results.rows import StoredRun
from adcc_onnx.results.store import Store

# Shows the progress of a run.
ProgressBar = Callable[[RunTracker], AbstractContextManager[None]]
# Receives one-line messages for the user.
Notify = Callable[[str], None]
# Given a model's number, the model and its plan: provides the model as it is recorded, and the
# function that starts its work (None: in this process).
Placed = Callable[[int, Model, Plan], AbstractContextManager[tuple[Model, Begin | None]]]


@dataclass(frozen=True)
class EvaluatedModel:
    """One evaluated model.

    Attributes:
        stored: The values of every image.
        result: The scores on the whole dataset.
    """

    stored: StoredRun
    result: EvaluationResult


def quiet(message: str) -> None:
    """Ignore a message; the default of `Notify` arguments."""


def no_bar(tracker: RunTracker) -> AbstractContextManager[None]:
    """Show no progress; the default of `ProgressBar` arguments.

    Args:
        tracker: The progress.
    """
    return nullcontext()


def in_this_process(
    number: int, model: Model, plan: Plan
) -> AbstractContextManager[tuple[Model, Begin | None]]:
    """Run a model in this process; the default of `Placed` arguments.

    Args:
        number: The model's number.
        model: The model.
        plan: The plan.
    """
    return nullcontext((model, None))


def evaluate_and_store(
    models: Sequence[Model],
    source: Source,
    plan: Plan,
    described_as: str,
    anchors: Sequence[Model] = (),
    *,
    out: str | Path | None = None,
    resume: bool = False,
    autotune: bool = False,
    bar: ProgressBar = no_bar,
    notify: Notify = quiet,
    graceful: Graceful = never_stopped,
    placed: Placed = in_this_process,
) -> list[EvaluatedModel]:
    """Evaluate models on the same images.

    Args:
        models: The models.
        source: The images.
        plan: The plan for all models.
        described_as: The description of the images for the record.
        anchors: The same models in float32, if some images are also evaluated in it.
        out: The SQLite file of the runs; None keeps them in memory.
        resume: Whether to continue the runs in `out`.
        autotune: Whether to search for the fastest run settings of each model first.
        bar: Opens the progress bar of a model.
        notify: Receives messages about the run settings.
        graceful: Opens the part of the work that can be stopped without loss.
        placed: Provides where a model runs.

    Returns:
        The results in the order of the models.

    Raises:
        InterruptedRunError: The user asked for a stop; the finished results are kept.
        AdccError: The evaluation cannot run; nothing was written.
    """
    plans = [plan.for_model(model) for model in models]
    for model, own in zip(models, plans, strict=True):
        check(model, source, own)
        check_labels(model, source, own)
    if resume and out is not None:
        models = [with_stored_calibration(model, Path(out)) for model in models]
    models = calibrated_models(models, source, notify)
    plans = [own.mark_unavailable(model) for model, own in zip(models, plans, strict=True)]
    if autotune:
        models = [tuned(model, own, notify) for model, own in zip(models, plans, strict=True)]
        anchors = [tuned(one, own, notify) for one, own in zip(anchors, plans, strict=False)]
    found = []
    with open_store(out, resume) as store:

        def run(number: int, model: Model, own: Plan) -> int:
            tracker = RunTracker(*_title_and_images(model, own, len(source)))
            with placed(number, model, own) as (recorded, begin):
                if begin is None and (bar is not no_bar or notify is not quiet):
                    announce(recorded, own, tracker, notify)
                with bar(tracker):
                    return evaluate_into(
                        store, recorded, source, own, described_as, tracker, graceful, begin
                    )

        for number, (model, own) in enumerate(zip(models, plans, strict=True)):
            # A stopping rule needs the anchors from the beginning.
            for exact in anchors[number : number + 1] if own.stopping is not None else ():
                run(number, exact, own.for_anchors())
            main = run(number, model, own)
            for exact in anchors[number : number + 1] if own.stopping is None else ():
                run(number, exact, own.for_anchors())
            store.keep_warnings(main, check_predictions(model, store.images(main), source))
            stored = store.run(main)
            found.append(EvaluatedModel(stored, evaluation_result(store, stored)))
    return found


def _title_and_images(model: Model, plan: Plan, images: int) -> tuple[str, int]:
    """Return the title of a run's progress and its number of images."""
    if plan.is_anchor:
        return anchor_name(model.name), plan.anchors
    most = images if plan.stopping is None else max(plan.stopping.looks(images))
    return model.name, most


def announce(model: Model, plan: Plan, tracker: RunTracker, notify: Notify) -> None:
    """Estimate what a run takes, and say so if it is long.

    Args:
        model: The model.
        plan: The plan.
        tracker: Receives the estimate.
        notify: Receives the message.
    """
    open_plan_sessions(model, plan)
    found = estimate(model, plan)
    tracker.expected = found.expected
    message = long_run_notice(found, tracker.total, plan.stopping is not None)
    if message is not None:
        notify(f"{model.name}: {message}")


def tuned(model: Model, plan: Plan, notify: Notify = quiet) -> Model:
    """Return a model with the fastest run settings for the first pass of a plan.

    Args:
        model: The model.
        plan: The plan.
        notify: Receives the settings in one line.
    """
    return autotuned(model, plan.needs, notify)


def tuned_models(models: Sequence[Model], plan: Plan, notify: Notify) -> list[Model]:
    """Return models with the fastest run settings for a plan.

    Args:
        models: The models.
        plan: The plan for all models.
        notify: Receives the settings in one line.
    """
    return [tuned(model, plan.mark_unavailable(model), notify) for model in models]


def open_store(out: str | Path | None, resume: bool) -> Store:
    """Open the store of a run.

    Args:
        out: The SQLite file; None for a store in memory.
        resume: Whether the file may exist already, to be continued.

    Raises:
        StoreError: The file exists and `resume` is False, or it cannot be opened.
    """
    if out is None:
        return Store.create(None)
    return Store.resume(Path(out)) if resume else Store.create(Path(out))
