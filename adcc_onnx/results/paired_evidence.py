"""Pairs of methods, compared after several numbers of images: which one is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ordered_values import OrderedValues
from adcc_onnx.results.sequential_scores import Sample
from adcc_onnx.statistics.intervals import Interval
from adcc_onnx.statistics.sequential_estimates import SequentialEstimate

_MISSING = (float("nan"), (float("nan"), float("nan")))


@dataclass
class PairedEvidence:
    """Compares pairs of methods by one score on the first images of a random order.

    Attributes:
        methods: Values of the methods, by name.
        sample: The score and the numbers of images after which methods are compared, [L].
    """

    methods: Mapping[str, OrderedValues]
    sample: Sample
    _pairs: dict[tuple[str, str], SequentialEstimate | None] = field(default_factory=dict)
    _found: dict[tuple[str, str, float], Float64Array] = field(default_factory=dict)

    def better(self, one: str, other: str, by: float = 0.0) -> Float64Array:
        """Return how strongly the images show that a method is better than another one.

        Args:
            one: Name of the method that may be better.
            other: Name of the other method.
            by: Difference that must be exceeded; -0.01 means that `one` is worse by less than 0.01.

        Returns:
            Logarithms of the largest e-values so far, [L]. They stay the same after the last image
            that both methods were computed on.
        """
        key = one, other, by
        if key not in self._found:
            looks = self.sample.looks
            evidence = np.full(len(looks), -np.inf)
            pair = self._pair(one, other)
            if pair is not None:
                last = int((looks <= self._common(one, other)).sum())
                values = pair.evidence(by)
                evidence[last - len(values) : last] = values
            self._found[key] = np.maximum.accumulate(evidence)
        return self._found[key]

    def difference(self, one: str, other: str, alpha: float) -> tuple[float, Interval]:
        """Return the difference of two scores on the images that both methods were computed on.

        Args:
            one: Name of the first method.
            other: Name of the second method.
            alpha: Error probability of the interval.

        Returns:
            The score of `one` minus that of `other`, and its interval; NaN without images.
        """
        pair = self._pair(one, other)
        if pair is None:
            return _MISSING
        gain, (low, high) = pair.interval(alpha)
        return (gain, (low, high)) if self.sample.score.sign > 0 else (-gain, (-high, -low))

    def _common(self, one: str, other: str) -> int:
        return min(self.methods[one].count, self.methods[other].count)

    def _pair(self, one: str, other: str) -> SequentialEstimate | None:
        if (other, one) in self._pairs:
            found = self._pairs[other, one]
            return None if found is None else found.negated()
        if (one, other) not in self._pairs:
            self._pairs[one, other] = self.sample.difference(
                self.methods[one], self.methods[other], self._common(one, other)
            )
        return self._pairs[one, other]
