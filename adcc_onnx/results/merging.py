"""Several stores as one: parts of a run that were made apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcc_onnx.errors import StoreError
from adcc_onnx.results.store import MAY_CHANGE, ImageRow, ScoreRow, Store, refuse_differences

# What parts of one run may differ in: which images they took up, and under which methods.
_OF_A_PART = {*MAY_CHANGE, "images", "methods"}


def merge(parts: Sequence[Path], into: Path) -> None:
    """Write a store with the runs of several: their images and methods together.

    Runs of one model must have been made alike, but for the images and methods. Images are known
    by their names; one that stands in several parts must have the same scores in them. Images keep
    their places where these are free, and follow after the last one otherwise.

    Args:
        parts: of runs, in the order that counts.
        into: a file that does not exist yet.

    Raises:
        StoreError: a part cannot be read, two contradict each other, or the file exists.
    """
    opened = [Store.open(path) for path in parts]
    merged = Store.create(into)
    try:
        runs = [(path, store, store.configs()) for path, store in zip(parts, opened, strict=True)]
        for model in dict.fromkeys(name for _, _, configs in runs for name in configs):
            held = [_Part(path, store, *c[model]) for path, store, c in runs if model in c]
            _merge_model(held, merged)
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
    """One store's run of a model."""

    path: Path
    store: Store
    number: int
    config: dict[str, Any]
    complete: bool


def _merge_model(parts: Sequence[_Part], merged: Store) -> None:
    first = parts[0]
    for part in parts[1:]:
        refuse_differences(str(part.path), first.config, part.config, _OF_A_PART)
    config = {
        **first.config,
        "methods": _joined([part.config["methods"] for part in parts]),
        "images": " + ".join(_joined([[part.config["images"]] for part in parts])),
    }
    run = merged.begin(config)
    places: dict[str, int] = {}
    taken: set[int] = set()
    for part in parts:
        for image, scores in part.store.rows(part.number):
            if image.name in places:
                _add_scores(merged, run, replace(image, position=places[image.name]), scores, part)
                continue
            free = image.position if image.position not in taken else max(taken) + 1
            places[image.name] = free
            taken.add(free)
            moved = [replace(score, position=free) for score in scores]
            merged.write(run, [replace(image, position=free)], moved)
    if all(part.complete for part in parts):
        merged.finish(run)


def _add_scores(
    merged: Store, run: int, image: ImageRow, scores: Sequence[ScoreRow], part: _Part
) -> None:
    """Add the methods that an image lacks; what it has must be the same."""
    known, found = merged.row(run, image.position)
    same = known == image
    held = {score.method: score for score in found}
    for score in scores:
        other = held.get(score.method)
        same &= other is None or _outcome(other) == _outcome(score)
    if not same:
        raise StoreError(
            f"{part.path} contradicts an earlier part about the image '{image.name}' of "
            f"{part.config['model']}"
        )
    new = [replace(s, position=image.position) for s in scores if s.method not in held]
    merged.write(run, (), new)


def _outcome(score: ScoreRow) -> tuple[object, ...]:
    return score.degenerate, score.failure, score.values


def _joined(lists: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))
