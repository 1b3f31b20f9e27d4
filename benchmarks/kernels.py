"""Compare the Numba kernels with NumPy and SciPy, and with the memory bandwidth.

Each kernel and its plain version process the same arrays in turns, after their results were
compared. The result is the median ratio. The arrays are larger than the caches. The bandwidth
utilization is the minimum memory traffic of a kernel (each input read and each output written
once), divided by what the same threads can read in its time, measured in the same run. The script
also measures the compile time of all kernels and the time of `adcc-onnx --help`, in separate
processes.

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

from adcc_onnx.kernels.gradient_maps import GradientFormula, assemble, weighted_sum
from adcc_onnx.kernels.min_max_normalize import min_max
from adcc_onnx.kernels.spatial_means import row_means
from adcc_onnx.kernels.upsample import agreement, explanation_maps

Array = np.ndarray
CHANNELS, MAP, SIZE = 2048, 7, 224  # ResNet-50's last layer
COMPILE = """
import time, numpy as np
from adcc_onnx.kernels.similarity import mean_abs
from adcc_onnx.kernels.gradient_maps import *
from adcc_onnx.kernels.min_max_normalize import min_max
from adcc_onnx.kernels.upsample import *
a = np.ones((2, 4, 3, 3), np.float32); m = a[:, 0].copy(); wide = a.astype(np.float64)
start = time.perf_counter()
assemble(a, a, list(Assembly)); weighted_sum(a, a[:, :, 0, 0]); gradient_means(a); mean_abs(m)
averaged_gradcam_pp_weights(a, (wide, wide, wide)); min_max(m); upsample(m, (6, 6))
explanation_maps(np.ones((2, 3, 6, 6)), m); agreement(m, m, (6, 6))
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Case:
    """A kernel, its plain version, and its minimum memory traffic in bytes."""

    name: str
    ours: Callable[[], Any]
    plain: Callable[[], Any]
    size: int


def plain_assembly(a: Array, g: Array) -> list[Array]:
    """Compute the five maps with NumPy."""
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
    """Upsample with SciPy and half-pixel centers."""
    zoom = SIZE / maps.shape[1]
    return np.stack([ndimage.zoom(m, zoom, order=1, mode="nearest", grid_mode=True) for m in maps])


def plain_agreement(first: Array, second: Array) -> tuple[Array, Array]:
    """Compute Pearson's r and the mean absolute value of upsampled maps with NumPy."""
    pairs = [plain_large(maps).reshape(len(maps), -1) for maps in (first, second)]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs, strict=True)]
    return np.array(r), np.abs(pairs[0]).mean(axis=1)


def plain_min_max(maps: Array) -> Array:
    """Normalize maps with NumPy."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low)


def cases(images: int) -> list[Case]:
    """Return all cases for a number of images."""
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
            lambda: list(assemble(a, g, list(GradientFormula)).values()),
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
            lambda: agreement(m, second, (SIZE, SIZE)),
            lambda: plain_agreement(m, second),
            2 * m.nbytes,
        ),
        Case(
            "Pearson and L1 of maps of 224 x 224",
            lambda: agreement(large, large, (SIZE, SIZE)),
            lambda: plain_agreement(large, large),
            2 * large.nbytes,
        ),
        Case(
            "min-max of maps",
            lambda: min_max(m)[0],
            lambda: plain_min_max(m),
            2 * m.nbytes,
        ),
    ]


def seconds(run: Callable[[], Any]) -> float:
    """Measure one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measured(case: Case, rounds: int, rows: Array, images: int) -> str:
    """Measure one case and return a row of the table."""
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
    """Measure the compile time of all kernels without a cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        words = [sys.executable, "-c", COMPILE]
        return float(subprocess.run(words, env=environment, check=True, stdout=-1).stdout)


def help_seconds() -> float:
    """Measure `adcc-onnx --help`."""
    words = [sys.executable, "-m", "adcc_onnx", "--help"]
    run = lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    run()
    return statistics.median(seconds(run) for _ in range(5))


def main() -> None:
    """Measure all kernels and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows = np.ones((256, 2**18), np.float32)
    bandwidth = rows.nbytes / min(seconds(lambda: row_means(rows, False)) for _ in range(10))
    print(
        f"{options.images} images, {options.rounds} rounds, {os.cpu_count()} cores; memory is read"
    )
    print(f"at {bandwidth / 1e9:.1f} GB/s\n")
    print("| kernel | ms per image | speedup over NumPy or SciPy | bandwidth utilization |")
    print("| --- | --- | --- | --- |")
    for case in cases(options.images):
        print(measured(case, options.rounds, rows, options.images), flush=True)
    print(f"\ncompilation of all kernels: {compile_seconds():.1f} s (target: 8 s)")
    print(f"`adcc-onnx --help`: {help_seconds():.2f} s (target: 0.3 s)")


if __name__ == "__main__":
    main()
