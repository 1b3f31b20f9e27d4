"""Merging of stores: parts of a run that were evaluated separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcc_onnx.errors import StoreError
from adcc_onnx.results.resume_checks import MAY_CHANGE, require_same_config
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

# Parts of one run may also differ in the images that they evaluated, and in the methods.
_MAY_DIFFER = {*MAY_CHANGE, "controls", "images", "methods"}


def merge_stores(parts: Sequence[Path], into: Path) -> None:
    """Write a store with the images and methods of several stores together.

    Runs of one model must have equal settings, except for the images and methods. Images are
    identified by name; an image that occurs in several parts must have equal scores in them.
    Images keep their positions where these are free, and follow after the last one otherwise.

    Args:
        parts: Stores to merge; earlier ones decide on the order of images and methods.
        into: Name of the merged file, which must not exist yet.

    Raises:
        StoreError: A part cannot be read, two parts contradict each other, or the file exists.
    """
    opened = [Store.open(path) for path in parts]
    merged = Store.create(into)
    try:
        runs = [(path, store, store.configs()) for path, store in zip(parts, opened, strict=True)]
        for model in dict.fromkeys(name for _, _, configs in runs for name in configs):
            found = [_Part(path, store, *c[model]) for path, store, c in runs if model in c]
            _merge_model(found, merged)
    except BaseException:
        merged.close()
        into.unlink()
        raise
    finally:
        for store in opened:
            store.close()
    merged.close()


@dataclass(frozen=True)
class _Part:
    """The run of a model in one store."""

    path: Path
    store: Store
    number: int
    config: dict[str, Any]
    complete: bool


def _merge_model(parts: Sequence[_Part], merged: Store) -> None:
    first = parts[0]
    for part in parts[1:]:
        require_same_config(str(part.path), first.config, part.config, _MAY_DIFFER)
    if len(parts) > 1:
        _require_joinable(parts)
    config = {
        **first.config,
        "methods": _union([part.config["methods"] for part in parts]),
        "controls": _union([part.config.get("controls", []) for part in parts]),
        "images": " + ".join(_union([[part.config["images"]] for part in parts])),
    }
    doubts = _union([part.config.get("warnings", []) for part in parts])
    run = merged.begin({**config, "warnings": doubts} if doubts else config)
    positions: dict[str, int] = {}
    taken: set[int] = set()
    for part in parts:
        for image, scores in part.store.rows(part.number):
            if image.name in positions:
                image_at = replace(image, position=positions[image.name])
                _add_scores(merged, run, image_at, scores, part)
                continue
            free = image.position if image.position not in taken else max(taken) + 1
            positions[image.name] = free
            taken.add(free)
            moved = [replace(score, position=free) for score in scores]
            merged.write(run, [replace(image, position=free)], moved)
    if all(part.complete for part in parts):
        merged.finish(run)


def _require_joinable(parts: Sequence[_Part]) -> None:
    """Check that a rule or a correction that belongs to one run is not broken.

    Raises:
        StoreError: A run may stop early, or has anchors and other images.
    """
    path, config = parts[0].path, parts[0].config
    if "stopping" in config:
        raise StoreError(
            f"{path}: runs with --until cannot be joined, because their verdicts hold for the "
            "methods and the number of images of one run: evaluate all methods in one run"
        )
    images = [set(part.store.image_names(part.number).values()) for part in parts]
    if "anchors" in config and any(other != images[0] for other in images):
        raise StoreError(
            f"{path}: runs with anchors can be joined if they have the same images, because the "
            "anchors are a random sample of these: evaluate all images in one run"
        )


def _add_scores(
    merged: Store, run: int, image: ImageRow, scores: Sequence[ScoreRow], part: _Part
) -> None:
    """Add the methods that an image lacks; those that it has must have equal values."""
    known, found = merged.row(run, image.position)
    equal = known == image
    existing = {score.method: score for score in found}
    for score in scores:
        other = existing.get(score.method)
        equal &= other is None or _outcome(other) == _outcome(score)
    if not equal:
        raise StoreError(
            f"{part.path} contradicts an earlier part about the image '{image.name}' of "
            f"{part.config['model']}"
        )
    new = [replace(s, position=image.position) for s in scores if s.method not in existing]
    merged.write(run, (), new)


def _outcome(score: ScoreRow) -> tuple[object, ...]:
    return score.degenerate, score.failure, score.values


def _union(lists: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))
