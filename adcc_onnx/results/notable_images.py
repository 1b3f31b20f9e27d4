"""The images to look at: best, worst, typical, disputed, wrong and failed ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.results.ranking import MethodValues, Ranking, align_images
from adcc_onnx.results.rows import ImageRow, MethodColumns, StoredRun

# Reasons why an image is shown, in the order in which a limited number of images is filled.
KINDS = ("best", "worst", "median", "disputed", "wrong prediction", "degenerate", "failed", "other")


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
        The reasons by position, the images in source order. If the run has more images than
        `most`, every reason gets the same number of images as far as there are any.
    """
    candidates = {kind: list(_candidates(kind, run, rows, methods, ranking)) for kind in KINDS}
    share = max(1, most // len(KINDS))
    found: dict[int, list[str]] = {}
    for kind in KINDS:
        for position in candidates[kind][:share] if kind != "other" else ():
            if position in found or len(found) < most:
                found.setdefault(position, []).append(kind)
    for position in candidates["other"]:
        if len(found) >= most:
            break
        found.setdefault(position, [])
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
    elif kind == "failed":
        names = {failure.image for failure in run.failures}
        yield from (row.position for row in rows if row.name in names)
    else:
        yield from (row.position for row in rows)


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
