"""Samples are reproducible, independent of the order, and proportional if stratified."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pytest

from adcc_onnx.errors import OptionError, SourceError
from adcc_onnx.images.sources.image_source import Label, Record, Source
from adcc_onnx.images.sources.subsampling import subsample


def source(names: list[str], labels: list[Label | None] | None = None) -> Source:
    labels = labels or [None] * len(names)

    def read(positions: Iterable[int]) -> Iterator[Record]:
        return (Record(names[i], labels[i], partial(np.array, i)) for i in positions)

    return Source(names, labels, read)


NAMES = [f"{i:04d}.png" for i in range(1000)]


def test_without_a_seed_the_first_images_are_taken() -> None:
    found = subsample(source(NAMES), 3)
    assert list(found.names) == NAMES[:3] and [int(r.load()) for r in found] == [0, 1, 2]
    assert len(subsample(source(NAMES), None)) == len(subsample(source(NAMES), 5000, 1)) == 1000


def test_a_sample_depends_on_hashes_only() -> None:
    hashes = {name: hashlib.sha256(f"3:{name}".encode()).hexdigest() for name in NAMES}
    wanted = sorted(sorted(NAMES, key=lambda name: hashes[name])[:50])
    found = subsample(source(NAMES), 50, 3)
    assert list(found.names) == wanted
    assert [NAMES[int(r.load())] for r in found] == wanted
    assert [r.name for r in found.at([1, 40])] == [wanted[1], wanted[40]]
    assert set(wanted) == set(subsample(source(NAMES[::-1]), 50, 3).names)
    assert set(wanted) < set(subsample(source(NAMES), 51, 3).names)
    assert set(wanted) != set(subsample(source(NAMES), 50, 4).names)


def test_samples_are_uniform() -> None:
    """Over 400 seeds every image is taken about as often: chi-square within five deviations."""
    taken = Counter(
        n for seed in range(400) for n in subsample(source(NAMES[:100]), 20, seed).names
    )
    chi = sum((taken[name] - 80) ** 2 / (80 * 0.8) for name in NAMES[:100])
    assert abs(chi - 99) < 5 * np.sqrt(2 * 99)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_stratified_sample_is_proportional(seed: int | None) -> None:
    labels: list[Label | None] = [
        ("a", "b", "b", "c", "c", "c", "c", None)[i % 8] for i in range(1000)
    ]
    found = subsample(source(NAMES, labels), 80, seed, stratified=True)
    assert Counter(found.labels) == {"a": 10, "b": 20, "c": 40, None: 10}
    assert list(found.names) == sorted(found.names)


def test_a_stratified_sample_follows_webster_sainte_lague() -> None:
    """Against the method of highest averages: the next place goes to the largest n / (2 k + 1)."""
    sizes = {0: 530, 1: 240, 2: 160, 3: 50, 4: 20}
    labels: list[Label | None] = [label for label, size in sizes.items() for _ in range(size)]
    for limit in (1, 3, 7, 20, 33, 100):
        places = dict.fromkeys(sizes, 0)
        for _ in range(limit):
            best = max(sizes, key=lambda label: sizes[label] / (2 * places[label] + 1))
            places[best] += 1
        found = Counter(subsample(source(NAMES, labels), limit, 5, stratified=True).labels)
        assert found == {label: k for label, k in places.items() if k}


def test_a_sample_smaller_than_the_labels_picks_labels_at_random() -> None:
    labels: list[Label | None] = [i // 10 for i in range(1000)]
    taken = [set(subsample(source(NAMES, labels), 10, s, stratified=True).labels) for s in (0, 1)]
    assert len(taken[0]) == len(taken[1]) == 10 and taken[0] != taken[1]


def test_mistakes() -> None:
    with pytest.raises(SourceError, match="needs labels"):
        subsample(source(NAMES), 10, 0, stratified=True)
    with pytest.raises(OptionError, match="at least 1"):
        subsample(source(NAMES), 0)
