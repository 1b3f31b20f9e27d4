"""Wall time of a full evaluation, of early stopping, and of a cheaper precision with anchors.

python benchmarks/certain.py MODEL --photos FOLDER [--preprocess torch] [--images 1000]

All cases run in one process, one after the other, with the same batch size, and include loading the
model. If there are fewer photos than images, further images are random crops of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.results.evaluation_result import EvaluationResult

_SMALLEST_CROP = 0.8  # of either side


def write_images(photos: Path, folder: Path, count: int) -> None:
    """Write a number of images: the photos themselves, and then random crops of them."""
    found = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    rng = np.random.default_rng(0)
    for number in range(count):
        with Image.open(found[number % len(found)]) as photo:
            image = photo.convert("RGB")
        if number >= len(found):
            width, height = image.size
            share = rng.uniform(_SMALLEST_CROP, 1.0)
            left, top = (int(rng.uniform(0, (1 - share) * side)) for side in image.size)
            image = image.crop((left, top, left + int(share * width), top + int(share * height)))
        image.save(folder / f"{number:05d}.jpg", quality=95)


def cases(cheap: str, device: str, anchors: int) -> dict[str, dict[str, Any]]:
    """Return the options of each case by its name."""
    exact = {"precision": "fp32"}
    cheaper: dict[str, Any] = {"precision": cheap, "device": device}
    anchored = {**cheaper, "anchor": anchors}
    return {
        "float32": exact,
        "float32, until certain": {**exact, "until": "certain"},
        f"{cheap}, {anchors} anchors": anchored,
        f"{cheap}, until certain": {**cheaper, "until": "certain"},
        f"{cheap}, {anchors} anchors, until certain": {**anchored, "until": "certain"},
    }


def row(name: str, seconds: float, whole: float, found: EvaluationResult) -> str:
    """Return one row of the table."""
    ranking = found.ranking
    assert ranking is not None
    best = found.methods[ranking.best]
    low, high = best.intervals["adcc"]
    images = found.images + (found.anchors.images if found.anchors else 0)
    return (
        f"| {name} | {images} | {seconds:.1f} | {whole / seconds:.1f} | {ranking.best} | "
        f"{100 * best.scores['adcc']:.2f} [{100 * low:.2f}, {100 * high:.2f}] |"
    )


def main() -> None:
    """Print the table of one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="Folder of JPEGs.")
    parser.add_argument("--preprocess", default="torch")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--target", default="predicted", help="The explained class.")
    parser.add_argument("--method", nargs="+", default=["gradcam", "gradcam++"])
    parser.add_argument("--cheap", default="fp16", help="The cheaper precision.")
    parser.add_argument("--cheap-device", default="auto", help="Device of the cheaper precision.")
    parser.add_argument("--anchors", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args()
    print("| case | images | wall time, s | factor | best method | ADCC |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        write_images(options.photos, Path(folder), options.images)
        shared: dict[str, Any] = {
            "preprocessing": options.preprocess,
            "target": options.target,
            "batch_size": options.batch_size,
            "concurrent_runs": 2,
            "threads": 1,
            "controls": False,
            "thumbnails": False,
        }
        # The first run compiles the kernels.
        adcc.evaluate(options.model, folder, options.method, limit=20, **shared)
        whole = 0.0
        for name, case in cases(options.cheap, options.cheap_device, options.anchors).items():
            start = time.perf_counter()
            found = adcc.evaluate(options.model, folder, options.method, **case, **shared)
            seconds = time.perf_counter() - start
            whole = whole or seconds
            print(row(name, seconds, whole, found), flush=True)


if __name__ == "__main__":
    main()
