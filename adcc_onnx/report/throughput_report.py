"""The report of `adcc-onnx benchmark` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from adcc_onnx.report.diagnosis_report import instruction_sets_text
from adcc_onnx.report.text_table import safe
from adcc_onnx.studies.throughput import BenchmarkResult


def throughput_to_text(found: BenchmarkResult) -> str:
    """Write one line per measurement."""
    passes = ", ".join(f"{count:g} {kind}" for kind, count in found.passes.items())
    parts = ("decode", "run", "kernels", "store")
    shares = ", ".join(f"{part} {1000 * getattr(found, part):.2f} ms" for part in parts)
    lines = [
        f"{safe(found.model)} on {found.device}: {', '.join(found.methods)}; {found.images} images "
        "per round",
        f"instruction sets  {instruction_sets_text(found.instruction_sets)}",
        f"run settings      batch size {found.batch}, {found.concurrent_runs} concurrent runs",
        f"passes per image  {passes}",
        f"raw passes        {found.raw_passes_per_second:.1f} per second (plain forward)",
        f"limit             {found.limit:.2f} images per second",
        f"reached           {found.images_per_second:.2f} images per second, "
        f"{found.ratio:.3f} of the limit",
        f"time per image    {shares} (measured separately; they overlap)",
        f"peak memory       {found.peak_memory / 2**20:.0f} MiB",
        *_deviation_lines(found),
    ]
    return "\n".join(lines) + "\n"


def _deviation_lines(found: BenchmarkResult) -> Iterator[str]:
    for method, of_method in found.deviation.items():
        for metric, (mean, maximum) in of_method.items():
            yield (
                f"{found.precision} minus float32  {method}, {metric}: mean absolute difference "
                f"per image {mean:.1e}, maximum {maximum:.1e}"
            )


def throughput_to_json(found: BenchmarkResult) -> str:
    """Write all measurements as JSON."""
    return json.dumps(asdict(found), indent=2) + "\n"
