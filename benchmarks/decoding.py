"""Measure the speed of reduced JPEG decoding, and how much it changes the pixels.

The time is that from encoded bytes to the cropped image, with full decoding and with `decode =
"reduced"` in turns. The second table shows how the deviation of pixels depends on the margin
between the decoded size and the size after resizing. Run as `python benchmarks/decoding.py PHOTOS
[--sizes 224 112]`. It uses the JPEGs of a folder in their original size, and camera-sized versions
of some of them, enlarged and with added noise.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.images.decoding.decode import Picture, decode_reduced
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources.encoded import encoded
from adcc_onnx.images.sources.image_source import Record

WIDTH, HEIGHT, NOISE = 4000, 3000, 5  # 12 megapixels; of 255
CODINGS = [(quality, sampling) for quality in (75, 90, 97) for sampling in (2, 0)]
ROUNDS = 5
MARGINS, SMALLEST, MOST = (2, 3, 4, 5, 6), 16, 4


def large(paths: Iterable[Path]) -> Iterator[bytes]:
    """Yield camera-sized JPEGs of several qualities, with and without chroma subsampling."""
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noise = np.random.default_rng(number).standard_normal((HEIGHT, WIDTH, 1), np.float32)
        pixels = np.clip(np.asarray(photo) + NOISE * noise, 0, 255).astype(np.uint8)
        quality, sampling = CODINGS[number % len(CODINGS)]
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=sampling)
        yield stream.getvalue()


def seconds(steps: Preprocessing, record: Record) -> float:
    """Measure CPU seconds of one thread, because the machine may be doing other work."""
    start = time.thread_time()
    steps.see(record)
    return time.thread_time() - start


def measured(name: str, pictures: Iterable[bytes], size: int) -> str:
    """Compare full and reduced decoding of images and return a row of the table."""
    full = Preprocessing.preset("torch", (size, size))
    reduced = replace(full, decode="reduced")
    pairs, moved, parts = [], [], Counter[int]()
    for data in pictures:
        parts[decode_reduced(data, "", reduced.spare)[1]] += 1
        record = encoded("", None, partial(bytes, data))
        moved.append(distances(full.see(record), reduced.see(record)))
        for turn in range(ROUNDS):
            # The order alternates, so that neither always benefits from warm caches.
            order = (full, reduced) if turn % 2 else (reduced, full)
            taken = {steps.decode: seconds(steps, record) for steps in order}
            pairs.append((taken["full"], taken["reduced"]))
    before, after = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for before, after in pairs)
    largest, mean = max(int(m.max()) for m in moved), max(float(m.mean()) for m in moved)
    decoded = ", ".join(f"{count} at 1/{times}" for times, count in sorted(parts.items()))
    return (
        f"| {name} | {size} | {decoded} | {before:.1f} | {after:.1f} | {ratio:.2f} "
        f"| {largest} | {mean:.2f} |"
    )


def distances(first: Picture, second: Picture) -> NDArray[np.int64]:
    """Return the absolute differences of two images."""
    return np.abs(first.astype(np.int64) - second)


def by_margin(data: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (margin, differences) for every scale at which a JPEG can be decoded."""
    whole, _ = decode_reduced(data, "", lambda size: 1)
    for most in (2, 4, 8):
        picture, times = decode_reduced(data, "", lambda size, most=most: most)
        for margin in MARGINS if times == most else ():
            resize = min(whole.shape[:2]) // (times * margin)
            if resize >= SMALLEST:
                steps = Preprocessing((resize * 7 // 8,) * 2, resize)
                yield margin, distances(steps.crop_image(whole), steps.crop_image(picture))


def margins(name: str, pictures: Iterable[bytes]) -> str:
    """Measure the deviations for each margin and return a row of the table."""
    largest, mean, over, pixels = (dict.fromkeys(MARGINS, 0.0) for _ in range(4))
    for data in pictures:
        for margin, moved in by_margin(data):
            largest[margin] = max(largest[margin], moved.max())
            mean[margin] = max(mean[margin], moved.mean())
            over[margin] += (moved > MOST).sum()
            pixels[margin] += moved.size
    cells = (f"{largest[m]:.0f} / {mean[m]:.2f} / {1e6 * over[m] / pixels[m]:.0f}" for m in MARGINS)
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Measure the photos of a folder and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="Folder of JPEGs.")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[224, 112], help="Input sizes of the model."
    )
    parser.add_argument("--large", type=int, default=20, help="Number of camera-sized images.")
    options = parser.parse_args()
    paths = [p for p in sorted(options.photos.iterdir()) if p.suffix.lower() in (".jpg", ".jpeg")]
    chosen = paths[:: max(1, len(paths) // options.large)][: options.large]
    print("| images | input | decoded | full, ms | reduced, ms | reduced / full ", end="")
    print("| maximum deviation, of 255 | largest mean deviation, of 255 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in options.sizes:
        print(measured(f"{WIDTH} x {HEIGHT}", large(chosen), size), flush=True)
    for size in options.sizes:
        print(measured("original size", (p.read_bytes() for p in paths), size), flush=True)
    print(f"\nmaximum deviation / largest mean deviation, of 255 / pixels per million above {MOST}")
    print(f"\n| margin | {' | '.join(map(str, MARGINS))} |")
    print("| --- |" + " --- |" * len(MARGINS))
    print(margins(f"{WIDTH} x {HEIGHT}", large(chosen)), flush=True)
    print(margins("original size", (p.read_bytes() for p in paths)))


if __name__ == "__main__":
    main()
