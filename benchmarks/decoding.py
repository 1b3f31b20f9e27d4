"""What decoding JPEGs at a part of their size saves, and how far their pixels move.

From bytes to what the model sees (decoded, resized, cropped), wholly and by `decode = "reduced"`,
in turns. Run as `python benchmarks/decoding.py PHOTOS [--sizes 224 112]`: on the JPEGs of a folder
as they are, and on camera-sized ones that are made from some of them, enlarged and with noise added.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from adcc_onnx.images.decoding import decode_reduced
from adcc_onnx.images.encoded import encoded
from adcc_onnx.images.preprocessing import Preprocessing

WIDTH, HEIGHT, NOISE = 4000, 3000, 5  # 12 megapixels; of 255
CODINGS = [(quality, sampling) for quality in (75, 90, 97) for sampling in (2, 0)]
ROUNDS = 5


def large(paths: Iterable[Path]) -> Iterator[bytes]:
    """JPEGs as a camera writes them: of several qualities, with colours halved and in full."""
    for number, path in enumerate(paths):
        photo = Image.open(path).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noise = np.random.default_rng(number).standard_normal((HEIGHT, WIDTH, 1), np.float32)
        pixels = np.clip(np.asarray(photo) + NOISE * noise, 0, 255).astype(np.uint8)
        quality, sampling = CODINGS[number % len(CODINGS)]
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=sampling)
        yield stream.getvalue()


def seconds(steps: Preprocessing, data: bytes) -> float:
    """Of one thread, since the machine may do other work."""
    start = time.thread_time()
    steps.see(encoded("", None, lambda: data))
    return time.thread_time() - start


def measured(name: str, pictures: Iterable[bytes], size: int) -> str:
    full = Preprocessing.preset("torch", (size, size))
    reduced = replace(full, decode="reduced")
    pairs, moved, parts = [], [], Counter[int]()
    for data in pictures:
        parts[decode_reduced(data, "", reduced.spare)[1]] += 1
        seen = [steps.see(encoded("", None, lambda: data)) for steps in (full, reduced)]
        moved.append(np.abs(seen[0].astype(int) - seen[1]))
        for turn in range(ROUNDS):
            # Which goes first alternates, so that neither always finds the caches warm.
            order = (full, reduced) if turn % 2 else (reduced, full)
            taken = {steps.decode: seconds(steps, data) for steps in order}
            pairs.append((taken["full"], taken["reduced"]))
    before, after = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for before, after in pairs)
    largest, mean = max(int(m.max()) for m in moved), max(float(m.mean()) for m in moved)
    decoded = ", ".join(f"{count} at 1/{times}" for times, count in sorted(parts.items()))
    return (
        f"| {name} | {size} | {decoded} | {before:.1f} | {after:.1f} | {ratio:.2f} "
        f"| {largest} | {mean:.2f} |"
    )


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


if __name__ == "__main__":
    main()
