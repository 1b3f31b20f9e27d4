"""The stages of an evaluation: all images at once, or as many as a stopping rule needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.subsampling import shuffled_positions
from adcc_onnx.results.rows import RunProgress
from adcc_onnx.results.score_definitions import main_score, scores_of
from adcc_onnx.results.sequential_comparison import SequentialComparison
from adcc_onnx.results.sequential_run import compare_run
from adcc_onnx.results.stopping_rule import DEFAULT_MARGIN, FIRST_LOOK, StoppingRule
from adcc_onnx.results.store import Store


@dataclass(frozen=True)
class Stage:
    """A part of a run between two looks at its results.

    Attributes:
        done: The progress of the run; images of later stages count as finished.
        dropped: The methods that are not computed any more.
    """

    done: RunProgress
    dropped: frozenset[str] = frozenset()


def stages(
    store: Store, run: int, source: Source, plan: Plan, tracker: RunTracker
) -> Iterator[Stage]:
    """Iterate over the stages of a run; a stage must be computed before the next one is taken.

    With a stopping rule, the images come in a random order, and the results are compared after
    numbers of images that depend on nothing but the number of images. So batches, workers and
    interruptions do not change when a run stops.

    Args:
        store: The store of the run.
        run: The run's number.
        source: The images.
        plan: The plan.
        tracker: Learns how many images are finished, and how many there are in the end.

    Yields:
        The stages.
    """
    if plan.stopping is None:
        done = store.progress(run, list(plan.methods))
        tracker.skip(len(done.finished))
        others = shuffled_positions(source, plan.seed)[plan.anchors :] if plan.is_anchor else []
        yield Stage(RunProgress(done.finished.union(others), done.partial))
        return
    order = shuffled_positions(source, plan.seed)
    found, stopped = _compared(store, run)
    tracker.skip(found.images)
    while not stopped:
        count = next(count for count in plan.stopping.looks(len(source)) if count > found.images)
        left = [name for name in plan.methods if name not in found.dropped]
        progress = store.progress(run, left)
        later = set(order[count:])
        yield Stage(RunProgress(later | progress.finished, progress.partial), found.dropped)
        found, stopped = _compared(store, run)
    tracker.total = found.images


def _compared(store: Store, run: int) -> tuple[SequentialComparison, bool]:
    found = compare_run(store.run(run), store.images(run))
    assert found is not None, "the run has no stopping rule"
    return found


def stopping_in_time(plan: Plan, images: int) -> StoppingRule | None:
    """Return the rule that stops a run when its answer is known, and in any case in time.

    Args:
        plan: The plan, which may have a rule already.
        images: Number of images for which there is time.

    Returns:
        The rule; None if nothing can be compared, or if there is time for too few images.
    """
    rule = plan.stopping or StoppingRule()
    if images < FIRST_LOOK:
        return None
    try:
        check_stopping(replace(plan, stopping=rule))
    except OptionError:
        return None
    known = images if rule.at_most is None else min(images, rule.at_most)
    return replace(rule, at_most=known)


def check_stopping(plan: Plan) -> None:
    """Check that a stopping rule fits the methods and metrics of a plan.

    Args:
        plan: The plan.

    Raises:
        OptionError: There is nothing to compare, or the margin has no meaning for the score.
    """
    rule = plan.stopping
    if rule is None or rule.width is not None:
        return
    if len(plan.methods) < 2:
        raise OptionError(
            "--until certain compares methods, and there is only one: give a second --method, or "
            "stop at the width of its interval by --until width=0.02"
        )
    score = main_score(scores_of(plan.metrics))
    if rule.margin == DEFAULT_MARGIN and not score.is_fraction:
        raise OptionError(
            f"{score.name} is no fraction, so the default margin of half a percentage point has no "
            "meaning for it: give --margin in its own unit"
        )
    low, high = score.metric.value_range
    if rule.margin >= high - low:
        raise OptionError(
            f"--margin {rule.margin:g} is as large as the range of {score.name}: every method "
            f"would be equivalent. Give a smaller one, such as --margin {DEFAULT_MARGIN:g}"
        )
