"""What `benchmark` prints for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from adcc_onnx.report.text_table import safe
from adcc_onnx.studies.throughput import Benchmark


def to_text(found: Benchmark) -> str:
    """A line a figure."""
    passes = ", ".join(f"{count:g} {kind}" for kind, count in found.passes.items())
    parts = ("decode", "run", "kernels", "store")
    shares = ", ".join(f"{part} {1000 * getattr(found, part):.2f} ms" for part in parts)
    lines = [
        f"{safe(found.model)} on {found.device}: {', '.join(found.methods)}; {found.images} images "
        "a round",
        f"pace             {found.batch} images a run, {found.concurrent_runs} runs side by side",
        f"passes an image  {passes}",
        f"raw passes       {found.raw_passes_per_second:.1f} a second (plain forward)",
        f"limit            {found.limit:.2f} images a second",
        f"reached          {found.images_per_second:.2f} images a second, "
        f"{found.ratio:.3f} of the limit",
        f"an image takes   {shares} (each by itself; they overlap)",
        f"peak memory      {found.peak_memory / 2**20:.0f} MiB",
        *_deviation_lines(found),
    ]
    return "\n".join(lines) + "\n"


def _deviation_lines(found: Benchmark) -> Iterator[str]:
    for method, of_method in found.deviation.items():
        for metric, (mean, most) in of_method.items():
            yield (
                f"{found.precision} against float  {method}, {metric}: {mean:.1e} an image, "
                f"{most:.1e} at the most"
            )


def to_json(found: Benchmark) -> str:
    """The same for programs."""
    return json.dumps(asdict(found), indent=2) + "\n"
