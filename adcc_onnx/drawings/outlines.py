"""Outlines of the shape classes: polygons centered at the origin with area 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Outline = tuple[Points, ...]  # one contour; a second one is a hole

_CURVE_POINTS = 64


def _polar(angles: Points, radii: Points) -> Points:
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _arc(angles: Points, radius: float = 1.0) -> Points:
    return _polar(angles, np.full(len(angles), radius))


def _turn(count: int) -> Points:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _circle() -> Outline:
    return (_arc(_turn(_CURVE_POINTS)),)


def _square() -> Outline:
    return (_arc(_turn(4)),)


def _triangle() -> Outline:
    return (_arc(_turn(3)),)


def _star() -> Outline:
    return (_polar(_turn(10), np.tile([1.0, 0.45], 5)),)


def _ring() -> Outline:
    return (_arc(_turn(_CURVE_POINTS)), _arc(_turn(_CURVE_POINTS), 0.58))


def _cross() -> Outline:
    arm = np.array([[0.32, 0.32], [1.0, 0.32], [1.0, -0.32]])
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    arms = [arm @ np.linalg.matrix_power(quarter, turns) for turns in range(4)]
    return (np.concatenate(arms),)


def _heart() -> Outline:
    t = _turn(_CURVE_POINTS)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return (np.stack([x, -y], axis=1),)


def _crescent() -> Outline:
    # Two arcs between the same tips: the long arc of the unit circle and the far arc of a smaller
    # circle.
    tip, bite = 0.75, 0.72
    outer = np.linspace(tip, 2 * np.pi - tip, _CURVE_POINTS)
    center = np.cos(tip) - np.sqrt(bite**2 - np.sin(tip) ** 2)
    inner_tip = np.arctan2(np.sin(tip), np.cos(tip) - center)
    inner = np.linspace(2 * np.pi - inner_tip, inner_tip, _CURVE_POINTS)
    edge = _arc(inner, bite) + np.array([center, 0.0])
    return (np.concatenate([_arc(outer), edge]),)


def _arrow() -> Outline:
    upper = np.array([[-1.0, 0.26], [0.1, 0.26], [0.1, 0.75], [1.0, 0.0]])
    return (np.concatenate([upper, upper[-2::-1] * [1.0, -1.0]]),)


def _hourglass() -> Outline:
    right = np.array([[0.8, -1.0], [0.1, 0.0], [0.8, 1.0]])
    return (np.concatenate([right, -right]),)


_OUTLINES: dict[str, Callable[[], Outline]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "heart": _heart,
    "crescent": _crescent,
    "arrow": _arrow,
    "hourglass": _hourglass,
}

CLASSES: tuple[str, ...] = tuple(_OUTLINES)


def outline_area(outline: Outline) -> float:
    """Compute the area inside the first contour and outside the others (shoelace formula).

    Args:
        outline: Contours, each of points (x, y), [n, 2].

    Returns:
        The area, in squared units of the points.

    Example:
        >>> outline_area((np.array([[0, 0], [2, 0], [2, 3], [0, 3]]),))
        6.0
    """
    first, *holes = (_shoelace(contour) for contour in outline)
    return first - sum(holes)


def _shoelace(contour: Points) -> float:
    x, y = contour.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _unit(outline: Outline) -> Outline:
    center = (outline[0].max(axis=0) + outline[0].min(axis=0)) / 2
    scale = np.sqrt(outline_area(outline))
    return tuple((contour - center) / scale for contour in outline)


UNIT_OUTLINES: tuple[Outline, ...] = tuple(_unit(make()) for make in _OUTLINES.values())


def place_outline(rng: np.random.Generator, outline: Outline, fraction: float) -> Outline:
    """Stretch and rotate an outline at random and move it to a random position.

    Args:
        rng: Random number generator.
        outline: Outline with area 1.
        fraction: Area to scale to, as a fraction of the unit square; reduced where the outline
            would not fit into the square.

    Returns:
        The transformed outline, inside the unit square.
    """
    stretch = np.exp(rng.uniform(-0.16, 0.16))
    slant, turn = rng.uniform(0, 2 * np.pi, 2)
    matrix = _rotation(slant) @ np.diag([stretch, 1 / stretch]) @ _rotation(turn)
    turned = [contour @ matrix * np.sqrt(fraction) for contour in outline]
    low, high = turned[0].min(axis=0), turned[0].max(axis=0)
    shrink = min(1.0, 0.96 / float((high - low).max()))
    corner = rng.uniform(0.02, 0.98 - (high - low) * shrink)
    return tuple((contour - low) * shrink + corner for contour in turned)


def _rotation(angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
