"""The classes of ILSVRC2012 (ImageNet-1k) by their synsets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CLASSES = 1000


def synset_class(label: str, classes: int) -> int | None:
    """Find the class that a synset denotes in the scores of an ImageNet-1k model.

    The classes are the synsets in alphabetical order. Models of the TensorFlow line have a
    background class before them.

    Args:
        label: The synset, such as "n01440764", or a text that begins with it.
        classes: Number of classes of the model.

    Returns:
        The class index; None if the label is no synset of ILSVRC2012, or the model has neither 1000
        nor 1001 classes.

    Example:
        >>> synset_class("n01443537", 1000), synset_class("n01443537", 1001)
        (1, 2)
    """
    offset = classes - _CLASSES
    if offset not in (0, 1):
        return None
    index = _synsets().get(label.strip().partition(" ")[0].partition("_")[0])
    return None if index is None else index + offset


@cache
def _synsets() -> dict[str, int]:
    lines = Path(__file__).with_name("ilsvrc_synsets.txt").read_text("ascii").split()
    return {synset: index for index, synset in enumerate(lines)}
