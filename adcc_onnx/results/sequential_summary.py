"""What a report shows of a run that may stop before it has seen all images."""

from __future__ import annotations

from dataclasses import dataclass

from adcc_onnx.results.sequential_comparison import SequentialComparison
from adcc_onnx.results.stopping_rule import StoppingRule
from adcc_onnx.statistics.intervals import Interval


@dataclass(frozen=True)
class Standing:
    """What is known of a method or control.

    Attributes:
        verdict: "best"; "worse": certainly worse than the best method; "equivalent": certainly
            within the margin of the best method; "better": a control that is certainly better than
            every method; or "open".
        images: Number of images that the method was computed on.
        difference: Its score minus that of the leading method on their common images; NaN without
            common images.
        interval: Confidence sequence of the difference.
        p_value: Anytime-valid p-value, corrected for all methods: of the hypothesis that the method
            is the best one, or that no method is better than the control.
    """

    verdict: str
    images: int
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class SequentialSummary:
    """Methods and controls after a number of images of a random order.

    Attributes:
        rule: The stopping rule.
        images: Number of images that the comparison uses.
        population: Number of images of the dataset.
        leader: Name of the method with the best score among those that may be the best.
        standings: Standing of each method and control, by name.
        stopped: Whether the rule is met, or all images are used.
    """

    rule: StoppingRule
    images: int
    population: int
    leader: str
    standings: dict[str, Standing]
    stopped: bool

    @property
    def is_whole(self) -> bool:
        """Whether every method was computed on all images."""
        return all(one.images >= self.population for one in self.standings.values())


def summarize(found: SequentialComparison, stopped: bool) -> SequentialSummary:
    """Summarize a comparison.

    Args:
        found: The comparison.
        stopped: Whether the rule of the run is met.
    """
    leader = found.leader()
    return SequentialSummary(
        found.rule,
        found.images,
        found.evidence.sample.population,
        leader,
        {name: _standing(found, name, leader) for name in (*found.methods, *found.controls)},
        stopped,
    )


def _standing(found: SequentialComparison, name: str, leader: str) -> Standing:
    difference, interval = 0.0, (0.0, 0.0)
    if name != leader:
        alpha = 2.0 * found.rule.alpha / found.hypotheses  # of two ends
        difference, interval = found.evidence.difference(name, leader, alpha)
    count = found.evidence.methods[name].count
    return Standing(found.verdict(name), count, difference, interval, found.p_value(name))
