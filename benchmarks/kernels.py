"""The Numba kernels against NumPy and SciPy, and against the memory's own speed.

Each kernel works on the same arrays as the plain form of it, in turns, and the median of the ratios
counts; results are compared first. The arrays are larger than the caches. A kernel has to read its
inputs and write its outputs once: how near it comes to the pace at which the same threads only read
memory, measured in the same run, is its share of the bandwidth. Beside it, the seconds that all
kernels take to compile on first use, and that `adcc-onnx --help` takes, in processes of their own.

    python benchmarks/kernels.py [--images 64] [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from adcc_onnx.kernels.gradient_maps import GradientFormula, gradient_maps, weighted_sum
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.kernels.spatial_means import row_means
from adcc_onnx.kernels.upsample import explanation_maps, upsampled_similarity

Array = np.ndarray
CHANNELS, MAP, SIZE = 2048, 7, 224  # ResNet-50's last layer
COMPILE = """
import time, numpy as np
from adcc_onnx.kernels.similarity import mean_abs
from adcc_onnx.kernels.gradient_maps import *
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.kernels.upsample import *
a = np.ones((2, 4, 3, 3), np.float32); m = a[:, 0].copy(); wide = a.astype(np.float64)
start = time.perf_counter()
gradient_maps(a, a, list(GradientFormula)); weighted_sum(a, a[:, :, 0, 0])
gradcam_weights(a); mean_abs(m)
smoothgradcam_pp_weights(a, (wide, wide, wide)); min_max_normalize(m); upsample(m, (6, 6))
explanation_maps(np.ones((2, 3, 6, 6)), m); upsampled_similarity(m, m, (6, 6))
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Case:
    """A kernel, the plain form of it, and the bytes that it cannot but move."""

    name: str
    ours: Callable[[], Any]
    plain: Callable[[], Any]
    size: int


def plain_assembly(a: Array, g: Array) -> list[Array]:
    """The five maps as NumPy would have them."""
    mass = a.sum(axis=(2, 3), keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        along = np.where(mass == 0, 0, (a * g).sum(axis=(2, 3), keepdims=True) / mass)
        square = g * g
        below = 2 * square + mass * square * g
        alpha = np.where(below == 0, 0, square / below)
    positive = np.maximum(g, 0)
    weights = [
        g.mean(axis=(2, 3), keepdims=True),
        (alpha * positive).sum(axis=(2, 3), keepdims=True),
        along,
        positive,
        g,
    ]
    return [np.maximum((w * a).sum(axis=1), 0) for w in weights]


def plain_large(maps: Array) -> Array:
    """Upsampled by SciPy, half-pixel centers."""
    zoom = SIZE / maps.shape[1]
    return np.stack([ndimage.zoom(m, zoom, order=1, mode="nearest", grid_mode=True) for m in maps])


def plain_agreement(first: Array, second: Array) -> tuple[Array, Array]:
    pairs = [plain_large(maps).reshape(len(maps), -1) for maps in (first, second)]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs, strict=True)]
    return np.array(r), np.abs(pairs[0]).mean(axis=1)


def plain_min_max(maps: Array) -> Array:
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low)


def cases(images: int) -> list[Case]:
    rng = np.random.default_rng(0)
    shape = (images, CHANNELS, MAP, MAP)
    a = np.maximum(rng.standard_normal(shape, np.float32), 0)
    g = rng.standard_normal(shape, np.float32) * np.float32(1e-2)
    x = rng.standard_normal((images, 3, SIZE, SIZE), np.float32)
    m, second = (rng.random((images, MAP, MAP), np.float32) for _ in range(2))
    large = rng.random((images, SIZE, SIZE), np.float32)
    weights = rng.standard_normal((images, CHANNELS)).astype(np.float32)
    return [
        Case(
            "five gradient maps of A and g",
            lambda: list(gradient_maps(a, g, list(GradientFormula)).values()),
            lambda: plain_assembly(a, g),
            2 * a.nbytes,
        ),
        Case(
            "weighted sum of A",
            lambda: weighted_sum(a, weights),
            lambda: np.maximum(np.einsum("nkij,nk->nij", a, weights), 0),
            a.nbytes,
        ),
        Case(
            "x times the upsampled map",
            lambda: explanation_maps(x, m),
            lambda: x * plain_large(m)[:, None],
            2 * x.nbytes,
        ),
        Case(
            "Pearson and L1 of upsampled maps",
            lambda: upsampled_similarity(m, second, (SIZE, SIZE)),
            lambda: plain_agreement(m, second),
            2 * m.nbytes,
        ),
        Case(
            "Pearson and L1 of maps of 224 x 224",
            lambda: upsampled_similarity(large, large, (SIZE, SIZE)),
            lambda: plain_agreement(large, large),
            2 * large.nbytes,
        ),
        Case(
            "min-max of maps",
            lambda: min_max_normalize(m)[0],
            lambda: plain_min_max(m),
            2 * m.nbytes,
        ),
    ]


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measured(case: Case, rounds: int, rows: Array, images: int) -> str:
    for ours, plain in zip(case.ours(), case.plain(), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=1e-4)
    taken = [
        (seconds(case.ours), seconds(case.plain), seconds(lambda: row_means(rows, False)))
        for _ in range(rounds)
    ]
    own = statistics.median(ours for ours, _, _ in taken)
    ratio = statistics.median(plain / ours for ours, plain, _ in taken)
    share = statistics.median(case.size / rows.nbytes * read / ours for ours, _, read in taken)
    return f"| {case.name} | {1000 * own / images:.3f} | {ratio:.1f} | {share:.2f} |"


def compile_seconds() -> float:
    """Of all kernels, nothing cached."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        words = [sys.executable, "-c", COMPILE]
        return float(subprocess.run(words, env=environment, check=True, stdout=-1).stdout)


def help_seconds() -> float:
    words = [sys.executable, "-m", "adcc_onnx", "--help"]
    run = lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    run()
    return statistics.median(seconds(run) for _ in range(5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows = np.ones((256, 2**18), np.float32)
    pace = rows.nbytes / min(seconds(lambda: row_means(rows, False)) for _ in range(10))
    print(
        f"{options.images} images, {options.rounds} rounds, {os.cpu_count()} cores; memory is read"
    )
    print(f"at {pace / 1e9:.1f} GB/s\n")
    print("| kernel | ms an image | times as fast as NumPy or SciPy | share of the bandwidth |")
    print("| --- | --- | --- | --- |")
    for case in cases(options.images):
        print(measured(case, options.rounds, rows, options.images), flush=True)
    print(f"\nfirst use, all kernels compiled: {compile_seconds():.1f} s (bar: 8 s)")
    print(f"`adcc-onnx --help`: {help_seconds():.2f} s (bar: 0.3 s)")


if __name__ == "__main__":
    main()
