"""ADCC of one image as its authors' published code computes it, written from the definitions.

Their functions take an image, its saliency map, the explanation map, the network, and a callable
that explains an image: https://github.com/aimagelab/ADCC. The harmonic mean there is written
`3 * (...)`, which contradicts the paper and its tables; here it is `3 / (...)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import softmax
from scipy.stats import pearsonr

Array = np.ndarray
# From an image [C, H, W] to its logits [classes], and to its map [H, W] for a class.
Scores = Callable[[Array], Array]
Explain = Callable[[Array, int], Array]


def average_drop(image: Array, explanation_map: Array, scores: Scores) -> float:
    """max(0, p(x) - p(e)) / p(x) for the class predicted on the image."""
    before, after = softmax(scores(image)), softmax(scores(explanation_map))
    target = int(before.argmax())
    return float(max(0.0, before[target] - after[target]) / before[target])


def coherency(saliency_map: Array, explanation_map: Array, explain: Explain, target: int) -> float:
    """Pearson's r of the map and the map of the explanation map, from [-1, 1] to [0, 1]."""
    again = explain(explanation_map, target)
    if np.isnan(saliency_map).any() or np.isnan(again).any() or np.ptp(again) == 0:
        return 0.0
    return float((pearsonr(saliency_map.ravel(), again.ravel())[0] + 1) / 2)


def complexity(saliency_map: Array) -> float:
    """The sum of the map over its number of pixels."""
    return float(np.abs(saliency_map).sum() / saliency_map.size)


def adcc(image: Array, scores: Scores, explain: Explain) -> dict[str, float]:
    """The three parts and their harmonic mean for one image.

    Args:
        image: The preprocessed image, [C, H, W].
        scores: The network.
        explain: The method.
    """
    target = int(scores(image).argmax())
    saliency_map = explain(image, target)
    explanation_map = (image * saliency_map).astype(np.float32)
    found = {
        "average_drop": average_drop(image, explanation_map, scores),
        "coherency": coherency(saliency_map, explanation_map, explain, target),
        "complexity": complexity(saliency_map),
    }
    terms = found["coherency"], 1 - found["complexity"], 1 - found["average_drop"]
    found["adcc"] = 3 / sum(1 / term for term in terms) if min(terms) > 0 else 0.0
    return found
