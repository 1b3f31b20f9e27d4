"""Time saved and pixel error caused by decoding JPEGs at a reduced size.

Measures the time from bytes to cropped images with `decode = "full"` and `decode = "reduced"`,
interleaved, and the pixel differences between both. A second table shows the pixel differences for
several margins between the decoded and the resized image. Both use the JPEGs of a folder unchanged
and camera-sized versions of some of them, enlarged and with added noise.

    python benchmarks/decoding.py PHOTOS [--sizes 224 112]
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

from adcc_onnx.images.decoding.decode import decode_downscaled
from adcc_onnx.images.pixel_arrays import RGBImage
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources.encoded_images import encoded_record
from adcc_onnx.images.sources.image_source import Record

WIDTH, HEIGHT, NOISE = 4000, 3000, 5  # 12 megapixels; standard deviation of the noise, of 255
CODINGS = [(quality, sampling) for quality in (75, 90, 97) for sampling in (2, 0)]
ROUNDS = 5
MARGINS, MIN_RESIZE, TOLERANCE = (2, 3, 4, 5, 6), 16, 4


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
    """Measure the CPU seconds of this thread, which other load on the machine affects little."""
    start = time.thread_time()
    steps.load_cropped(record)
    return time.thread_time() - start


def measure(name: str, images: Iterable[bytes], size: int) -> str:
    """Measure times and pixel differences; returns a row of the table."""
    full = Preprocessing.preset("torch", (size, size))
    reduced = replace(full, decode="reduced")
    pairs, differences, factors = [], [], Counter[int]()
    for data in images:
        factors[decode_downscaled(data, "", reduced.max_downscale)[1]] += 1
        record = encoded_record("", None, partial(bytes, data))
        differences.append(distances(full.load_cropped(record), reduced.load_cropped(record)))
        for turn in range(ROUNDS):
            # The order alternates, so that warm caches favor neither.
            order = (full, reduced) if turn % 2 else (reduced, full)
            taken = {steps.decode: seconds(steps, record) for steps in order}
            pairs.append((taken["full"], taken["reduced"]))
    before, after = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for before, after in pairs)
    largest = max(int(difference.max()) for difference in differences)
    mean = max(float(difference.mean()) for difference in differences)
    decoded = ", ".join(f"{count} at 1/{factor}" for factor, count in sorted(factors.items()))
    return (
        f"| {name} | {size} | {decoded} | {before:.1f} | {after:.1f} | {ratio:.2f} "
        f"| {largest} | {mean:.2f} |"
    )


def distances(first: RGBImage, second: RGBImage) -> NDArray[np.int64]:
    """Compute the absolute differences of two images."""
    return np.abs(first.astype(np.int64) - second)


def by_margin(data: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (margin, differences) for every reduced size at which a JPEG can be decoded."""
    full, _ = decode_downscaled(data, "", lambda size: 1)
    for limit in (2, 4, 8):
        image, factor = decode_downscaled(data, "", lambda size, limit=limit: limit)
        for margin in MARGINS if factor == limit else ():
            resize = min(full.shape[:2]) // (factor * margin)
            if resize >= MIN_RESIZE:
                steps = Preprocessing((resize * 7 // 8,) * 2, resize)
                yield margin, distances(steps.crop_image(full), steps.crop_image(image))


def measure_margins(name: str, images: Iterable[bytes]) -> str:
    """Measure pixel differences by margin; returns a row of the table."""
    largest, mean, over, pixels = (dict.fromkeys(MARGINS, 0.0) for _ in range(4))
    for data in images:
        for margin, difference in by_margin(data):
            largest[margin] = max(largest[margin], difference.max())
            mean[margin] = max(mean[margin], difference.mean())
            over[margin] += (difference > TOLERANCE).sum()
            pixels[margin] += difference.size
    cells = (f"{largest[m]:.0f} / {mean[m]:.2f} / {1e6 * over[m] / pixels[m]:.0f}" for m in MARGINS)
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="Folder of JPEGs.")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[224, 112], help="Input sizes in pixels."
    )
    parser.add_argument("--large", type=int, default=20, help="Number of enlarged JPEGs.")
    options = parser.parse_args()
    paths = [p for p in sorted(options.photos.iterdir()) if p.suffix.lower() in (".jpg", ".jpeg")]
    chosen = paths[:: max(1, len(paths) // options.large)][: options.large]
    print("| images | input | decoded | full, ms | reduced, ms | reduced / full ", end="")
    print("| largest deviation, of 255 | greatest mean, of 255 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in options.sizes:
        print(measure(f"{WIDTH} x {HEIGHT}", large(chosen), size), flush=True)
    for size in options.sizes:
        print(measure("unchanged", (p.read_bytes() for p in paths), size), flush=True)
    print(
        f"\nlargest deviation / greatest mean, of 255 / pixels per million above {TOLERANCE},"
        " by margin"
    )
    print(f"\n| images | {' | '.join(map(str, MARGINS))} |")
    print("| --- |" + " --- |" * len(MARGINS))
    print(measure_margins(f"{WIDTH} x {HEIGHT}", large(chosen)), flush=True)
    print(measure_margins("unchanged", (p.read_bytes() for p in paths)))


if __name__ == "__main__":
    main()
