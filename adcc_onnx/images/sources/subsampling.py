"""Which of a source's images are taken: the first ones, a random sample, or a stratified one."""

from __future__ import annotations

import hashlib
from collections import Counter

from adcc_onnx.errors import OptionError, SourceError
from adcc_onnx.images.sources.image_source import Source, select_images


def subsample(
    source: Source, limit: int | None, seed: int | None = None, stratified: bool = False
) -> Source:
    """At most `limit` images of a source, in its order.

    A random sample takes the images whose SHA-256 of seed and name are the least: the same on
    every machine, whatever the order in which they lie, and a larger sample holds the smaller.
    A stratified one shares the places among the labels in proportion to their images (by the
    method of Webster and Sainte-Laguë), images without a label being one more stratum.

    Args:
        source: of any kind.
        limit: how many; all where None.
        seed: of a random sample; the first images where None.
        stratified: by label.

    Raises:
        OptionError: the limit is not at least 1.
        SourceError: stratified, but no image has a label.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of images must be at least 1, not {limit}")
    if stratified and all(label is None for label in source.labels):
        raise SourceError("a stratified sample needs labels, and no image has one")
    if limit is None or limit >= len(source):
        return source
    if seed is None and not stratified:
        return select_images(source, range(limit))
    order = _shuffled(source, seed)
    chosen = _in_turn(source, order) if stratified else order
    return select_images(source, sorted(chosen[:limit]))


def _shuffled(source: Source, seed: int | None) -> list[int]:
    positions = range(len(source))
    if seed is None:
        return list(positions)
    return sorted(positions, key=lambda i: _lot(f"{seed}:{source.names[i]}"))


def _lot(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _in_turn(source: Source, order: list[int]) -> list[int]:
    """Ordered so that any head of the list is stratified: the k-th of a label's n images stands at
    (k + 1/2) / n."""
    sizes = Counter(source.labels)
    met: Counter[int | str | None] = Counter()
    places = []
    for turn, i in enumerate(order):
        label = source.labels[i]
        places.append(((met[label] + 0.5) / sizes[label], turn, i))
        met[label] += 1
    return [i for _, _, i in sorted(places)]
