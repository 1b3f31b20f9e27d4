"""What decoding JPEGs at a part of their size saves, and how far their pixels move.

From bytes to what the model sees (decoded, resized, cropped), wholly and by `decode = "reduced"`,
in turns; then how far pixels move by the margin that is left over what a picture is resized to.
Run as `python benchmarks/decoding.py PHOTOS [--sizes 224 112]`: on the JPEGs of a folder as they
are, and on camera-sized ones that are made from some of them, enlarged and with noise added.
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

WIDTH, HEIGHT, NOISE = 4000, 3000, 5  # 12 megapixels; of 255
CODINGS = [(quality, sampling) for quality in (75, 90, 97) for sampling in (2, 0)]
ROUNDS = 5
MARGINS, SMALLEST, MOST = (2, 3, 4, 5, 6), 16, 4


def large(paths: Iterable[Path]) -> Iterator[bytes]:
    """JPEGs as a camera writes them: of several qualities, with colors halved and in full."""
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noise = np.random.default_rng(number).standard_normal((HEIGHT, WIDTH, 1), np.float32)
        pixels = np.clip(np.asarray(photo) + NOISE * noise, 0, 255).astype(np.uint8)
        quality, sampling = CODINGS[number % len(CODINGS)]
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=sampling)
        yield stream.getvalue()


def seconds(steps: Preprocessing, record: Record) -> float:
    """Of one thread, since the machine may do other work."""
    start = time.thread_time()
    steps.load_cropped(record)
    return time.thread_time() - start


def measured(name: str, pictures: Iterable[bytes], size: int) -> str:
    full = Preprocessing.preset("torch", (size, size))
    reduced = replace(full, decode="reduced")
    pairs, moved, parts = [], [], Counter[int]()
    for data in pictures:
        parts[decode_downscaled(data, "", reduced.max_downscale)[1]] += 1
        record = encoded_record("", None, partial(bytes, data))
        moved.append(distances(full.load_cropped(record), reduced.load_cropped(record)))
        for turn in range(ROUNDS):
            # Which goes first alternates, so that neither always finds the caches warm.
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


def distances(first: RGBImage, second: RGBImage) -> NDArray[np.int64]:
    return np.abs(first.astype(np.int64) - second)


def by_margin(data: bytes) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(margin, distances), at every part of its size that a JPEG can be decoded at."""
    whole, _ = decode_downscaled(data, "", lambda size: 1)
    for most in (2, 4, 8):
        picture, times = decode_downscaled(data, "", lambda size, most=most: most)
        for margin in MARGINS if times == most else ():
            resize = min(whole.shape[:2]) // (times * margin)
            if resize >= SMALLEST:
                steps = Preprocessing((resize * 7 // 8,) * 2, resize)
                yield margin, distances(steps.crop_image(whole), steps.crop_image(picture))


def margins(name: str, pictures: Iterable[bytes]) -> str:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of JPEGs")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 112], help="of the input")
    parser.add_argument("--large", type=int, default=20, help="how many are made")
    options = parser.parse_args()
    paths = [p for p in sorted(options.photos.iterdir()) if p.suffix.lower() in (".jpg", ".jpeg")]
    chosen = paths[:: max(1, len(paths) // options.large)][: options.large]
    print("| pictures | input | decoded | full, ms | reduced, ms | reduced / full ", end="")
    print("| largest deviation, of 255 | greatest mean, of 255 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in options.sizes:
        print(measured(f"{WIDTH} x {HEIGHT}", large(chosen), size), flush=True)
    for size in options.sizes:
        print(measured("as they are", (p.read_bytes() for p in paths), size), flush=True)
    print(
        f"\nlargest deviation / greatest mean, of 255 / pixels of a million above {MOST}, by margin"
    )
    print(f"\n| pictures | {' | '.join(map(str, MARGINS))} |")
    print("| --- |" + " --- |" * len(MARGINS))
    print(margins(f"{WIDTH} x {HEIGHT}", large(chosen)), flush=True)
    print(margins("as they are", (p.read_bytes() for p in paths)))


if __name__ == "__main__":
    main()
