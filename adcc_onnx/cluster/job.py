"""An evaluation as plain data: the driver of a cluster and all workers build the same from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.evaluation.plan import Plan, make_plan
from adcc_onnx.explanation.ready_maps import pair
from adcc_onnx.images.annotations.ground_truth import with_ground_truth
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.model import Model


@dataclass(frozen=True)
class Job:
    """What to evaluate, on what, and how; everything in it can be pickled.

    Attributes:
        load: reads the model; takes `device` and `threads` as `adcc_onnx.load` does.
        open: opens the source.
        plan: makes the plan.
        folder: where relative paths start.
    """

    load: Callable[..., Model]
    open: Callable[[], Source]
    plan: Callable[[], Plan]
    folder: Path


def open_images(
    spec: str,
    limit: int | None,
    seed: int | None,
    stratified: bool,
    labels: Path | None,
    truth: Path | None,
) -> Source:
    """The images of a place, with where their objects are if that is given.

    Raises:
        SourceError, OptionError: see `open_source` and `with_truth`.
    """
    source = open_source(spec, limit, seed, stratified, labels)
    return source if truth is None else with_ground_truth(source, truth)


def plan_with_maps(maps: Sequence[Path], second_maps: Sequence[Path], **options: Any) -> Plan:
    """A plan from the options of `make_plan`, the ready maps given by their folders.

    Raises:
        OptionError, SourceError: see `make_plan` and `pair`.
    """
    return make_plan(**options, maps=pair(maps, second_maps))


def identity(model: Model, source: Source) -> dict[str, Any]:
    """What must be the same on all machines of a cluster."""
    seen = hashlib.sha256()
    for pair_of in zip(source.names, source.labels, strict=True):
        seen.update(repr(pair_of).encode())
    return {
        "adcc-onnx": __version__,
        **model.describe(),
        "images": len(source),
        "names and labels": seen.hexdigest(),
    }
