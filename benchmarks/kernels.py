"""Numba kernels compared with NumPy and SciPy, and with the memory bandwidth.

Each kernel and its NumPy or SciPy equivalent process the same arrays, interleaved; the table shows
the median ratio. Results are compared first. The arrays are larger than the caches. A kernel must
read its inputs and write its outputs at least once: its share of the bandwidth is its speed divided
by the speed at which the same threads read memory, measured in the same run. Also measured, in
separate processes: the compile time of all kernels on first use and the time of
`adcc-onnx --help`.

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
    """A kernel and its NumPy or SciPy equivalent.

    Attributes:
        name: Description of the kernel.
        ours: Function that runs the kernel.
        reference: Function that runs the equivalent.
        size: Number of bytes that the kernel must read and write.
    """

    name: str
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    size: int


def numpy_gradient_maps(a: Array, g: Array) -> list[Array]:
    """Compute the five gradient maps with NumPy."""
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


def scipy_upsample(maps: Array) -> Array:
    """Upsample with SciPy, half-pixel centers."""
    zoom = SIZE / maps.shape[1]
    return np.stack([ndimage.zoom(m, zoom, order=1, mode="nearest", grid_mode=True) for m in maps])


def scipy_agreement(first: Array, second: Array) -> tuple[Array, Array]:
    """Compute Pearson correlations and mean absolute values of upsampled maps."""
    pairs = [scipy_upsample(maps).reshape(len(maps), -1) for maps in (first, second)]
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs, strict=True)]
    return np.array(r), np.abs(pairs[0]).mean(axis=1)


def numpy_min_max(maps: Array) -> Array:
    """Normalize maps to [0, 1]."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / (high - low)


def cases(images: int) -> list[Case]:
    """Prepare the kernels with their arrays."""
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
            lambda: numpy_gradient_maps(a, g),
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
            lambda: x * scipy_upsample(m)[:, None],
            2 * x.nbytes,
        ),
        Case(
            "Pearson and L1 of upsampled maps",
            lambda: upsampled_similarity(m, second, (SIZE, SIZE)),
            lambda: scipy_agreement(m, second),
            2 * m.nbytes,
        ),
        Case(
            "Pearson and L1 of maps of 224 x 224",
            lambda: upsampled_similarity(large, large, (SIZE, SIZE)),
            lambda: scipy_agreement(large, large),
            2 * large.nbytes,
        ),
        Case(
            "min-max of maps",
            lambda: min_max_normalize(m)[0],
            lambda: numpy_min_max(m),
            2 * m.nbytes,
        ),
    ]


def seconds(run: Callable[[], Any]) -> float:
    """Measure the wall time of a function."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(case: Case, rounds: int, rows: Array, images: int) -> str:
    """Measure one kernel; returns a row of the table."""
    for ours, reference in zip(case.ours(), case.reference(), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-3, atol=1e-4)
    taken = [
        (seconds(case.ours), seconds(case.reference), seconds(lambda: row_means(rows, False)))
        for _ in range(rounds)
    ]
    own = statistics.median(ours for ours, _, _ in taken)
    ratio = statistics.median(reference / ours for ours, reference, _ in taken)
    share = statistics.median(case.size / rows.nbytes * read / ours for ours, _, read in taken)
    return f"| {case.name} | {1000 * own / images:.3f} | {ratio:.1f} | {share:.2f} |"


def compile_seconds() -> float:
    """Measure the compile time of all kernels without a cache."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        words = [sys.executable, "-c", COMPILE]
        return float(subprocess.run(words, env=environment, check=True, stdout=-1).stdout)


def help_seconds() -> float:
    """Measure the time of `adcc-onnx --help`."""
    words = [sys.executable, "-m", "adcc_onnx", "--help"]
    run = lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: E731
    run()
    return statistics.median(seconds(run) for _ in range(5))


def main() -> None:
    """Print the table and the two start-up times."""
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
    print("| kernel | ms per image | speedup over NumPy or SciPy | share of the bandwidth |")
    print("| --- | --- | --- | --- |")
    for case in cases(options.images):
        print(measure(case, options.rounds, rows, options.images), flush=True)
    print(f"\nfirst use, all kernels compiled: {compile_seconds():.1f} s (bar: 8 s)")
    print(f"`adcc-onnx --help`: {help_seconds():.2f} s (bar: 0.3 s)")


if __name__ == "__main__":
    main()
