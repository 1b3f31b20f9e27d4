"""Time and memory that the HTML report of a large run takes.

The run holds made-up values of 5,000 images under eight methods and two controls, with thumbnails,
maps of 14 x 14 and a deletion curve of 225 points each. The bars are 20 s and 1 GB.

    python benchmarks/reports.py [--images 5000]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adcc_onnx.images.tensor_pictures import thumbnail
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

METHODS = (
    "gradcam",
    "gradcam++",
    "xgradcam",
    "layercam",
    "hirescam",
    "eigencam",
    "scorecam",
    "rise",
)
CONTROLS = ("random", "center")
METRICS = ("average_drop", "average_increase", "coherency", "complexity", "adcc", "deletion")
_BATCH = 100  # images per transaction


def main() -> None:
    """Write the run, report it, and print the time, the peak memory and the size of the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder, "run.sqlite"), Path(folder, "run.html")
        write_run(run, images)
        start = time.perf_counter()
        command = [sys.executable, "-m", "adcc_onnx", "report", run, "--format", "html", "-o", page]
        subprocess.run([str(word) for word in command], check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
        print(
            f"{images} images: {seconds:.1f} s, {peak:.0f} MiB, {page.stat().st_size / 1e6:.2f} MB"
        )


def write_run(path: Path, images: int) -> None:
    """Write a run with random values."""
    config = {
        "model": "made up", "protocol": "poppi2021", "layer": "layer4", "target": "predicted",
        "images": "made up", "methods": [*METHODS, *CONTROLS], "controls": list(CONTROLS),
        "metrics": list(METRICS), "seed": 0, "fill": "zero",
    }  # fmt: skip
    with Store.create(path) as store:
        run = store.begin(config)
        for start in range(0, images, _BATCH):
            positions = range(start, min(start + _BATCH, images))
            pictures = [image_row(position) for position in positions]
            store.write(run, pictures, [s for p in positions for s in score_rows(p)])
        store.finish(run)


def image_row(position: int) -> ImageRow:
    """Return one image with a smooth random thumbnail."""
    rng = np.random.default_rng(position)
    coarse = rng.random((3, 14, 14), np.float32).repeat(16, axis=1).repeat(16, axis=2)
    target, label = rng.integers(1000, size=2).tolist()
    p = float(rng.random())
    return ImageRow(
        position, f"{position}.jpg", label, target, target, p, None, thumbnail(coarse, None)
    )


def score_rows(position: int) -> Iterator[ScoreRow]:
    """Yield the values of all methods on one image."""
    rng = np.random.default_rng([position, 1])
    for method in (*METHODS, *CONTROLS):
        values = dict(zip(METRICS, rng.random(len(METRICS)).tolist(), strict=True))
        curve = {"deletion": np.sort(rng.random(225))[::-1]}
        heatmap = rng.random((14, 14)).astype(np.float16)
        yield ScoreRow(position, method, False, None, values, 0.1, curve, 0.5, heatmap)


if __name__ == "__main__":
    main()
