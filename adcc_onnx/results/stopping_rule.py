"""When an evaluation may stop before it has seen all images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adcc_onnx.errors import OptionError

DEFAULT_ALPHA = 0.05
DEFAULT_MARGIN = 0.005  # half a percentage point
FIRST_LOOK = 20  # images before the first comparison
_CERTAIN = "certain"
_WIDTH = re.compile(r"width=([^\s]+)")
_IMAGES = re.compile(r",\s*images=(\d{1,9})\s*")
_STEP, _GROWTH = 10, 0.05
_LARGEST_ALPHA = 0.5
_FEWEST = 2  # images


@dataclass(frozen=True)
class StoppingRule:
    """When an evaluation stops; the images come in a random order.

    Attributes:
        width: Width of the confidence intervals at which the run stops; None stops when the best
            method is certain.
        margin: Largest difference of two scores that counts as equivalent.
        alpha: Error probability of all statements together, or of each interval.
        keep_all: Whether methods that are certainly worse are computed until the end.
        at_most: Largest number of images, after which the run stops in any case; None for all.
    """

    width: float | None = None
    margin: float = DEFAULT_MARGIN
    alpha: float = DEFAULT_ALPHA
    keep_all: bool = False
    at_most: int | None = None

    @property
    def until(self) -> str:
        """The rule as the user writes it, such as "certain" or "width=0.02,images=500"."""
        goal = _CERTAIN if self.width is None else f"width={self.width:g}"
        return goal if self.at_most is None else f"{goal},images={self.at_most}"

    def looks(self, images: int) -> Iterator[int]:
        """Iterate over the numbers of images after which a run may stop.

        Args:
            images: Number of images of the dataset.
        """
        last = images if self.at_most is None else min(self.at_most, images)
        yield from (count for count in looks(images) if count < last)
        yield last

    def record(self, images: int) -> dict[str, Any]:
        """Return the rule for the config of a run.

        Args:
            images: Number of images of the dataset.
        """
        rule: dict[str, Any] = {"until": self.until, "alpha": self.alpha, "images": images}
        if self.width is None:
            rule |= {"margin": self.margin, "keep_all": self.keep_all}
        return rule


def make_stopping_rule(
    until: str | None, margin: float | None, alpha: float | None, keep_all: bool
) -> StoppingRule | None:
    """Make a stopping rule from options.

    Args:
        until: "certain" or "width=NUMBER", followed by ",images=NUMBER" for the largest number of
            images; None evaluates all images.
        margin: Margin of equivalence; None takes half a percentage point.
        alpha: Error probability; None takes 5 %.
        keep_all: Whether methods that are certainly worse are computed until the end.

    Returns:
        The rule; None if all images are evaluated.

    Raises:
        OptionError: An option has no valid value, or does not belong to the rule.

    Example:
        >>> make_stopping_rule("certain", 0.01, None, False).record(1000)
        {'until': 'certain', 'alpha': 0.05, 'images': 1000, 'margin': 0.01, 'keep_all': False}
        >>> make_stopping_rule("width=0.02, images=500", None, 0.1, False).at_most
        500
    """
    if until is None:
        given = {"margin": margin is not None, "alpha": alpha is not None, "keep_all": keep_all}
        for name, is_given in given.items():
            if is_given:
                raise OptionError(f"{_flag(name)} needs --until certain (or until='certain')")
        return None
    goal, at_most = _without_images(until)
    width = _width(goal)
    if width is not None and (margin is not None or keep_all):
        name = "keep_all" if margin is None else "margin"
        raise OptionError(
            f"{_flag(name)} belongs to --until certain; --until width=... computes every method "
            "on the same images"
        )
    _check_margin(margin)
    if alpha is not None and not 0.0 < alpha < _LARGEST_ALPHA:
        raise OptionError(
            f"--alpha is an error probability and must lie between 0 and {_LARGEST_ALPHA:g}, not "
            f"{alpha:g}: 0.05 stands for 5 %"
        )
    return StoppingRule(
        width,
        DEFAULT_MARGIN if margin is None else margin,
        DEFAULT_ALPHA if alpha is None else alpha,
        keep_all or width is not None,
        at_most,
    )


def recorded_rule(config: Mapping[str, Any]) -> tuple[StoppingRule, int] | None:
    """Return the rule of a stored run and the number of images of its dataset.

    Args:
        config: The config of the run.

    Returns:
        None if the run had no rule.
    """
    stored = config.get("stopping")
    if stored is None:
        return None
    rule = make_stopping_rule(
        stored["until"], stored.get("margin"), stored["alpha"], stored.get("keep_all", False)
    )
    assert rule is not None
    return rule, int(stored["images"])


def looks(images: int) -> Iterator[int]:
    """Iterate over the numbers of images after which a run may stop.

    Every 10 images from 20 on, and every 5 % later; they depend on the size of the dataset only.

    Args:
        images: Number of images of the dataset.

    Example:
        >>> list(looks(45)), list(looks(8)), list(looks(10**6))[20:24]
        ([20, 30, 40, 45], [8], [220, 230, 240, 250])
    """
    count = min(FIRST_LOOK, images)
    while count < images:
        yield count
        step = max(_STEP, int(count * _GROWTH) // _STEP * _STEP)
        count = min(images, count + step)
    yield images


def _without_images(until: str) -> tuple[str, int | None]:
    """Split a rule into its goal and its largest number of images."""
    match = _IMAGES.search(until)
    if match is None or match.end() != len(until):
        return until, None
    at_most = int(match[1])
    if at_most < _FEWEST:
        raise OptionError(
            f"--until {until}: {_FEWEST} images are the fewest that can be compared, so give a "
            "larger number of images"
        )
    return until[: match.start()], at_most


def _width(until: str) -> float | None:
    """Parse the width of a rule; None for "certain"."""
    if until == _CERTAIN:
        return None
    match = _WIDTH.fullmatch(until)
    try:
        width = float(match[1]) if match else math.nan
    except ValueError:
        width = math.nan
    if not (width > 0 and math.isfinite(width)):
        raise OptionError(
            f"--until must be 'certain' or 'width=NUMBER' with a number above 0, such as "
            f"width=0.02, not '{until}'; ',images=500' after it sets the largest number of images"
        )
    return width


def _check_margin(margin: float | None) -> None:
    if margin is None or (margin > 0 and math.isfinite(margin)):
        return
    raise OptionError(
        f"--margin must be above 0, not {margin:g}: no number of images shows that two scores are "
        f"exactly equal. Give the difference that does not matter to you, such as --margin "
        f"{DEFAULT_MARGIN:g} (half a percentage point)"
    )


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
