"""The precisions that are cheaper than float32 where a model runs."""

from __future__ import annotations

from adcc_onnx.model import Model
from adcc_onnx.runtime.precisions import CheaperPrecision, machine_precisions

_FEWEST_ANCHORS, _MOST_ANCHORS = 10, 100
_ANCHORS = 0.1  # fraction of the images
_FLOAT32 = ("float", "tf32")
_WORTHWHILE = 0.9  # fraction of the time of float32


def cheaper_precisions(model: Model) -> list[CheaperPrecision]:
    """List the precisions that this machine has for a model on its device, the cheapest first.

    Args:
        model: The model; one in a cheaper precision has no cheaper ones.
    """
    if model.precision not in _FLOAT32:
        return []
    found = [
        one
        for one in machine_precisions()
        if one.available and one.device == model.device.kind and one.relative_cost < _WORTHWHILE
    ]
    return sorted(found, key=lambda one: one.relative_cost)


def default_anchors(images: int) -> int:
    """Return how many images correct the scores of a cheaper precision by default.

    Args:
        images: Number of images.

    Returns:
        A tenth of the images, from 10 to 100; 0 if there are too few images.
    """
    found = min(_MOST_ANCHORS, int(_ANCHORS * images))
    return found if found >= _FEWEST_ANCHORS else 0
