"""The comparison of methods while their images come in: what is certain after how many images.

All statements concern the scores on the whole dataset, and hold together with a probability of at
least 1 - alpha, however often the methods are compared. They are statements about the best method
(multiple comparisons with the best; Hsu, Annals of Statistics 12(3), 1984): if none of the other
methods is ever mistaken for better than the truly best one, they are all true. So the error
probability is divided by the number of these methods and of the controls, whichever method leads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from adcc_onnx.results.ordered_values import OrderedValues
from adcc_onnx.results.paired_evidence import PairedEvidence
from adcc_onnx.results.score_definitions import Score
from adcc_onnx.results.sequential_scores import Sample
from adcc_onnx.results.stopping_rule import StoppingRule
from adcc_onnx.statistics.resampling import means
from adcc_onnx.statistics.sequential_estimates import CORRECTION_SHARE

# What is known of a method: that it is the best one, that it is within the margin of the best one,
# that it is worse, or nothing. A control may also be better than every method.
BEST, EQUIVALENT, WORSE, BETTER, OPEN = "best", "equivalent", "worse", "better", "open"


def hypotheses(methods: int, controls: int) -> int:
    """Return the number of ways to be wrong: another method, or a control, mistaken for better.

    Args:
        methods: Number of methods.
        controls: Number of controls.
    """
    return max(1, methods - 1 + controls)


@dataclass
class SequentialComparison:
    """Methods and controls after a number of images of a random order.

    Attributes:
        evidence: The evidence of all pairs at all looks.
        rule: The rule.
        methods: Names of all methods.
        controls: Names of all controls.
        candidates: Methods that may be the best.
        equivalent: Candidates that are certainly within the margin of the best method.
        verdicts: Verdicts on controls, by name.
        look: Index of the last look; -1 before the first one.
    """

    evidence: PairedEvidence
    rule: StoppingRule
    methods: list[str]
    controls: list[str]
    candidates: list[str] = field(init=False)
    equivalent: set[str] = field(default_factory=set)
    verdicts: dict[str, str] = field(default_factory=dict)
    look: int = -1

    def __post_init__(self) -> None:
        self.candidates = list(self.methods)

    @property
    def hypotheses(self) -> int:
        """Number of ways to be wrong: another method, or a control, mistaken for better."""
        return hypotheses(len(self.methods), len(self.controls))

    @property
    def images(self) -> int:
        """Number of images at the last look."""
        return 0 if self.look < 0 else int(self.evidence.sample.looks[self.look])

    @property
    def dropped(self) -> frozenset[str]:
        """Methods and controls that need not be computed any more."""
        if self.rule.keep_all:
            return frozenset()
        return frozenset(self.methods) - set(self.candidates) | self.verdicts.keys()

    @property
    def stopped(self) -> bool:
        """Whether all methods and controls have a verdict, or no more images may be used."""
        if self.images >= self.evidence.sample.looks[-1]:
            return True
        contenders = self.contenders
        settled = bool(contenders) and self.equivalent >= set(contenders)
        known = all(c in self.verdicts or not self.has_scores(c) for c in self.controls)
        return self.rule.width is None and settled and known

    @property
    def contenders(self) -> list[str]:
        """Candidates that have a score; a method that fails on every image has none."""
        return [name for name in self.candidates if self.has_scores(name)]

    def has_scores(self, name: str) -> bool:
        """Return whether a method or control has the score on any image.

        Args:
            name: Its name.
        """
        values = self.evidence.methods[name]
        columns = values.columns(self.evidence.sample.score.columns, min(self.images, values.count))
        return not np.isnan(columns).any(axis=0).all()

    def has_values(self, look: int) -> bool:
        """Return whether everything that is still computed has values for a look."""
        count = self.evidence.sample.looks[look]
        needed = [n for n in (*self.methods, *self.controls) if n not in self.dropped]
        return all(self.evidence.methods[name].count >= count for name in needed)

    def compare(self, look: int) -> None:
        """Look at the evidence after one more number of images."""
        self.look = look
        worse = {m for m in self.candidates if any(self._better(a, m) for a in self.candidates)}
        # Comparisons that exclude every method contradict each other.
        self.candidates = [m for m in self.candidates if m not in worse] or [self.leader()]
        contenders, margin = self.contenders, self.rule.margin
        self.equivalent = {
            m for m in contenders if all(self._better(m, a, -margin) for a in contenders if a != m)
        }
        for control in self.controls:
            if control not in self.verdicts and (verdict := self._verdict(control)) != OPEN:
                self.verdicts[control] = verdict

    def _verdict(self, control: str) -> str:
        """Compare a control with every method that may be the best."""
        contenders, margin = self.contenders, self.rule.margin
        if not contenders:
            return OPEN
        if all(self._better(m, control) for m in contenders):
            return WORSE
        if all(self._better(control, m) for m in contenders):
            return BETTER
        near = (
            self._better(m, control, -margin) and self._better(control, m, -margin)
            for m in contenders
        )
        return EQUIVALENT if all(near) else OPEN

    def _better(self, one: str, other: str, by: float = 0.0) -> bool:
        if one == other or self.look < 0:
            return False
        found = self.evidence.better(one, other, by)[self.look]
        return bool(found >= math.log(self.hypotheses / self.rule.alpha))

    def leader(self) -> str:
        """Return the candidate with the best score; the first one without scores."""
        score = self.evidence.sample.score
        found = {}
        for name in self.candidates:
            ordered = self.evidence.methods[name]
            count = min(self.images or ordered.count, ordered.count)
            value = score.from_means(means(ordered.columns(score.columns, count)))[0]
            found[name] = -math.inf if math.isnan(value) else score.sign * value
        return max(found, key=lambda name: found[name])

    def verdict(self, name: str) -> str:
        """Return what is known of a method or control.

        Args:
            name: Its name.
        """
        if name in self.controls:
            return self.verdicts.get(name, OPEN)
        if name not in self.candidates:
            return WORSE
        if self.contenders == [name]:
            return BEST
        return EQUIVALENT if name in self.equivalent else OPEN

    def p_value(self, name: str) -> float:
        """Return the anytime-valid p-value of a method or control, corrected for all of them.

        Args:
            name: The name of a method, for the hypothesis that it is the best one; or of a control,
                for the hypothesis that no method is better.
        """
        rivals = self.contenders if name in self.controls else self.methods
        found = [self.p_value_of_pair(m, name) for m in rivals if m != name]
        # Every method must be better than a control, and any of them than the best one.
        p_value = (max if name in self.controls else min)(found, default=1.0)
        return min(1.0, self.hypotheses * p_value)

    def p_value_of_pair(self, one: str, other: str) -> float:
        """Return the uncorrected p-value of the hypothesis that a method is no better than another.

        Args:
            one: The name of the method.
            other: The name of the other method.
        """
        if self.look < 0:
            return 1.0
        return math.exp(-max(0.0, float(self.evidence.better(one, other)[self.look])))


def compare_sequentially(
    values: Mapping[str, OrderedValues],
    controls: Sequence[str],
    score: Score,
    rule: StoppingRule,
    population: int,
) -> SequentialComparison:
    """Compare methods after each number of images that all of them were computed on.

    Args:
        values: Values of the methods and controls in the random order of the images, by name.
        controls: Names of the controls. Without other methods, they are compared like methods.
        score: The score to compare by.
        rule: The rule that says what is sufficient.
        population: Number of images of the dataset.

    Returns:
        The comparison at the last look, or at the one at which the rule is met.
    """
    methods = [name for name in values if name not in controls] or list(values)
    others = [name for name in values if name not in methods]
    level = CORRECTION_SHARE * rule.alpha / hypotheses(len(methods), len(others))
    sample = Sample(score, np.array(list(rule.looks(population))), population, level)
    found = SequentialComparison(PairedEvidence(values, sample), rule, methods, others)
    for look in range(len(sample.looks)):
        if not found.has_values(look):
            break
        found.compare(look)
        if found.stopped:
            break
    return found
