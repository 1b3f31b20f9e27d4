"""Subsampling of a source: the first images, a random sample, or a stratified sample."""

from __future__ import annotations

import hashlib
from collections import Counter

from adcc_onnx.errors import OptionError, SourceError
from adcc_onnx.images.sources.image_source import Source, select_images


def subsample(
    source: Source, limit: int | None, seed: int | None = None, stratified: bool = False
) -> Source:
    """Take at most `limit` images of a source, in its order.

    A random sample consists of the images with the smallest SHA-256 of seed and name. So it is the
    same on every machine, independent of the order of the images, and larger samples contain
    smaller ones. A stratified sample is divided among the labels in proportion to their numbers of
    images (Webster/Sainte-Laguë method); images without a label form a stratum of their own.

    Args:
        source: The images.
        limit: Largest number of images. Default: all.
        seed: Seed of the random sample. Default: take the first images.
        stratified: Whether to stratify the sample by label.

    Returns:
        A source of the selected images.

    Raises:
        OptionError: The limit is below 1.
        SourceError: A stratified sample was requested, but no image has a label.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of images must be at least 1, not {limit}")
    if stratified and all(label is None for label in source.labels):
        raise SourceError("a stratified sample needs labels, but no image has one")
    if limit is None or limit >= len(source):
        return source
    if seed is None and not stratified:
        return select_images(source, range(limit))
    order = list(range(len(source))) if seed is None else shuffled_positions(source, seed)
    chosen = _stratified_order(source, order) if stratified else order
    return select_images(source, sorted(chosen[:limit]))


def shuffle_key(name: str, seed: int) -> bytes:
    """Return what images are sorted by, so that their order is random and the same everywhere.

    Args:
        name: The image's name.
        seed: The seed of the order.

    Returns:
        The SHA-256 of seed and name, which depends on no other image.
    """
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def shuffled_positions(source: Source, seed: int) -> list[int]:
    """Return the positions of all images in the random order of `shuffle_key`.

    Args:
        source: The images.
        seed: The seed of the order.
    """
    return sorted(range(len(source)), key=lambda i: shuffle_key(source.names[i], seed))


def _stratified_order(source: Source, order: list[int]) -> list[int]:
    """Reorder positions so that every prefix of the list is a stratified sample.

    The k-th of the n images of a label (k from 0) has the priority (k + 1/2) / n.
    """
    sizes = Counter(source.labels)
    counts: Counter[int | str | None] = Counter()
    priorities = []
    for rank, i in enumerate(order):
        label = source.labels[i]
        priorities.append(((counts[label] + 0.5) / sizes[label], rank, i))
        counts[label] += 1
    return [i for _, _, i in sorted(priorities)]
