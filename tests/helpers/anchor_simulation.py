"""How often the intervals of corrected scores hold the score in float32, on values of real models.

`python -m helpers.anchor_simulation FOLDER DATASETS` prints the tables of docs/concepts/anchors.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from adcc_onnx.kernels.arrays import Float64Array
from adcc_onnx.statistics.prediction_powered import (
    corrected_means,
    corrected_spread,
    with_anchors,
)
from adcc_onnx.statistics.resampling import means
from helpers.simulations import adcc_of_means
from helpers.stopping_simulation import read_values

# Shift, standard deviation, and share of images with the values of another image.
PRECISIONS = {"poor": (0.02, 0.02, 0.02), "fair": (0.0025, 0.005, 0.005)}
ANCHORS = (30, 50, 100, 200)
CONFIDENCE = 0.95
IMAGES = 400  # of a dataset


def cheapened(exact: Float64Array, rng: np.random.Generator, precision: str) -> Float64Array:
    """Draw values of a cheap precision: shifted, noisy, and of another image on some images."""
    shift, deviation, share = PRECISIONS[precision]
    cheap = exact - shift + rng.normal(0, deviation, exact.shape)
    replaced = rng.random(exact.shape[1]) < share
    return np.clip(np.where(replaced, exact[:, rng.permutation(exact.shape[1])], cheap), 0, 1)


def corrected_adcc(all_means: Float64Array) -> Float64Array:
    """Compute the corrected ADCC of R datasets, [1, R]."""
    return adcc_of_means(np.clip(corrected_means(all_means), 0, 1))


def coverage(
    population: Float64Array, precision: str, anchors: int, datasets: int, seed: int
) -> float:
    """Measure how often the interval of a dataset holds ADCC of the population in float32.

    Args:
        population: Drop, coherency and complexity on n images, [3, n].
        precision: Name of the cheap precision.
        anchors: Number of images of the dataset that also have exact values.
        datasets: Number of datasets of `IMAGES` images, which are drawn with replacement.
        seed: Seed of all random numbers.
    """
    rng, held = np.random.default_rng(seed), 0
    truth = adcc_of_means(population.mean(axis=1)[:, None])[0, 0]
    chosen = np.arange(IMAGES) < anchors
    for _ in range(datasets):
        exact = population[:, rng.integers(population.shape[1], size=IMAGES)]
        known = np.where(chosen, exact, np.nan)
        values = with_anchors(cheapened(exact, rng, precision), known)
        error = corrected_adcc(means(values))[0, 0] - truth
        half = corrected_spread(values, corrected_adcc, chosen).half_widths(CONFIDENCE)[0]
        held += bool(abs(error) <= half)
    return held / datasets


def main() -> None:
    """Print the table."""
    heads = " | ".join(f"{count} anchors" for count in ANCHORS)
    print(f"| model | method | cheap precision | {heads} |")
    print("| --- | --- | --- " + "| --- " * len(ANCHORS) + "|")
    for path in sorted(Path(sys.argv[1]).glob("*.csv")):
        for method, values in zip(*read_values(path), strict=True):
            for precision in PRECISIONS:
                found = [
                    coverage(values, precision, count, int(sys.argv[2]), count) for count in ANCHORS
                ]
                cells = " | ".join(f"{100 * share:.1f} %" for share in found)
                print(f"| {path.stem} | {method} | {precision} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
