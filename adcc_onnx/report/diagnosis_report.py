"""What `adcc-onnx doctor` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from adcc_onnx.report.text_table import lines
from adcc_onnx.runtime.diagnosis import Health, Runtime


def to_json(health: Health) -> str:
    """Everything, with `healthy` beside it."""
    return json.dumps({"healthy": not health.problems, **asdict(health)}, indent=2) + "\n"


def to_text(health: Health) -> str:
    """Two columns, then the problems with what mends each; ends in a newline."""
    rows = [*health.versions.items()]
    if health.onnxruntime is not None:
        rows += _runtime(health.onnxruntime)
    rows.append(("kernels", "do not compile" if health.kernels is None else health.kernels))
    width = max(len(name) for name, _ in rows)
    texts = [f"{name.ljust(width)}  {text}" for name, text in rows]
    return lines([*texts, "", *_problems(health)])


def _runtime(runtime: Runtime) -> Iterator[tuple[str, str]]:
    built = "" if runtime.cuda is None else f", built for CUDA {runtime.cuda}"
    yield "onnxruntime", runtime.version + built
    yield "providers", ", ".join(p.removesuffix("ExecutionProvider") for p in runtime.providers)
    yield "NVIDIA driver", "none" if runtime.driver is None else f"for CUDA {runtime.driver}"
    for number, gpu in enumerate(runtime.gpus):
        yield f"GPU {number}", gpu
    for name, found in runtime.libraries.items():
        yield name, "found" if found else "not found"
    yield "--device auto", runtime.device


def _problems(health: Health) -> Iterator[str]:
    if not health.problems:
        yield "healthy"
    for problem in health.problems:
        yield f"problem: {problem.what}"
        yield f"    fix: {problem.fix}"
