"""The images to look at: best, worst, typical, disputed, wrong and failed ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ranking import MethodValues, Ranking, align_images
from adcc_onnx.results.rows import ImageRow, MethodColumns, StoredRun

# Reasons why an image is shown. Of the first kinds, there are as many images as are chosen.
_CHOSEN_KINDS = ("best", "worst", "median", "disputed")
KINDS = (*_CHOSEN_KINDS, "wrong prediction", "degenerate", "failed")

# A run has this many images for each of a chosen kind, or most would be best and worst at once.
_IMAGES_PER_CHOSEN = 8


def notable_images(
    run: StoredRun,
    rows: Sequence[ImageRow],
    methods: Sequence[MethodValues],
    ranking: Ranking | None,
    most: int,
) -> dict[int, list[str]]:
    """Choose the images to show, each with the reasons why.

    Best, worst and median are meant by the best method's own value of the ranking score. Disputed
    are the images with the largest range of this value over the methods that are no controls.

    Args:
        run: The run.
        rows: Its images.
        methods: Values of the methods.
        ranking: The ranking; None if no method has a score.
        most: Largest number of images.

    Returns:
        The reasons by position, the images in source order; every image of a run that has no more
        than `most`, some of them without a reason.
    """
    share = most // (len(KINDS) + 1)
    chosen = max(1, min(share, len(rows) // _IMAGES_PER_CHOSEN))
    found: dict[int, list[str]] = {}
    everything = len(rows) <= most
    for kind in KINDS:
        limit = chosen if kind in _CHOSEN_KINDS else len(rows) if everything else share
        for position in islice(_candidates(kind, run, rows, methods, ranking), limit):
            found.setdefault(position, []).append(kind)
    for row in rows:
        if len(found) >= most:
            break
        found.setdefault(row.position, [])
    return dict(sorted(found.items()))


def _candidates(
    kind: str,
    run: StoredRun,
    rows: Sequence[ImageRow],
    methods: Sequence[MethodValues],
    ranking: Ranking | None,
) -> Iterator[int]:
    """Yield the positions of the images of a kind, the most notable first."""
    if kind in ("best", "worst", "median"):
        yield from () if ranking is None else _by_value(kind, methods, ranking)
    elif kind == "disputed":
        yield from () if ranking is None else _disputed(methods, ranking)
    elif kind == "wrong prediction":
        yield from (r.position for r in rows if r.label is not None and r.predicted != r.label)
    elif kind == "degenerate":
        constant = {int(p) for m in _ranked(run) for p in m.positions[m.degenerate]}
        yield from sorted(constant)
    else:
        names = {failure.image for failure in run.failures}
        yield from (row.position for row in rows if row.name in names)


def _ranked(run: StoredRun) -> list[MethodColumns]:
    return [columns for name, columns in run.methods.items() if name not in run.controls]


def _by_value(kind: str, methods: Sequence[MethodValues], ranking: Ranking) -> list[int]:
    """Order images by the value of the best method."""
    (best,) = [method for method in methods if method.name == ranking.best]
    values = ranking.score.sign * _own_values([best], ranking)[0]
    order = np.argsort(-values, kind="stable")
    order = order[~np.isnan(values[order])]
    if kind == "worst":
        order = order[::-1]
    elif kind == "median":
        middle = (len(order) - 1) / 2.0
        order = order[np.argsort(np.abs(np.arange(len(order)) - middle), kind="stable")]
    found: list[int] = best.images[order].tolist()
    return found


def _disputed(methods: Sequence[MethodValues], ranking: Ranking) -> list[int]:
    """Order images by the range of their values over the methods."""
    compared = [method for method in methods if not method.is_control]
    if len(compared) < 2:
        return []
    values = _own_values(compared, ranking)
    span = values.max(axis=0) - values.min(axis=0)
    images = np.unique(np.concatenate([method.images for method in compared]))
    order = np.argsort(-span, kind="stable")
    found: list[int] = images[order[~np.isnan(span[order])]].tolist()
    return found


def _own_values(methods: Sequence[MethodValues], ranking: Ranking) -> Float64Array:
    """Return the per-image value of the ranking score's metric, [M, n]."""
    values: Float64Array = align_images(methods, ranking.score.columns[:1])[:, 0]
    return values
