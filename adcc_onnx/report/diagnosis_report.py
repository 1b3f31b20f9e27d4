"""The report of `adcc-onnx doctor`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import zip_longest

from adcc_onnx.report.text_table import printable_lines
from adcc_onnx.runtime.diagnosis import Diagnosis, RuntimeDiagnosis


def diagnosis_to_json(diagnosis: Diagnosis) -> str:
    """Write everything as JSON, with the additional key `healthy`."""
    return json.dumps({"healthy": not diagnosis.problems, **asdict(diagnosis)}, indent=2) + "\n"


def diagnosis_to_text(diagnosis: Diagnosis) -> str:
    """Write two columns, then each problem with its fix; ends in a newline."""
    rows = [*diagnosis.versions.items()]
    rows.append(("instruction sets", instruction_sets_text(diagnosis.instruction_sets)))
    if diagnosis.onnxruntime is not None:
        rows += _runtime(diagnosis.onnxruntime)
    rows.append(("kernels", "do not compile" if diagnosis.kernels is None else diagnosis.kernels))
    width = max(len(name) for name, _ in rows)
    texts = [f"{name.ljust(width)}  {text}" for name, text in rows]
    return printable_lines([*texts, "", *_problems(diagnosis)])


def instruction_sets_text(names: list[str] | None) -> str:
    """Write the instruction sets of a CPU in one line.

    Args:
        names: Their names; None if they are not known.

    Example:
        >>> instruction_sets_text(["AVX2", "VNNI"])
        'AVX2, VNNI'
    """
    return "unknown" if names is None else ", ".join(names) or "none of those known"


def _runtime(runtime: RuntimeDiagnosis) -> Iterator[tuple[str, str]]:
    built = "" if runtime.cuda is None else f", built for CUDA {runtime.cuda}"
    yield "module onnxruntime", runtime.version + built
    yield "providers", ", ".join(p.removesuffix("ExecutionProvider") for p in runtime.providers)
    # This module imports onnxruntime, which may be missing altogether.
    from adcc_onnx.runtime.cuda_diagnosis import CudaDiagnosis

    details = runtime.details or CudaDiagnosis()
    if details.kernels:
        yield "CUDA kernels", f"for {', '.join(details.kernels)}"
    version = "" if details.driver is None else f"{details.driver}, "
    yield (
        "NVIDIA driver",
        "none" if runtime.driver is None else f"{version}for CUDA {runtime.driver}",
    )
    capabilities = [f", compute capability {one}" for one in details.capabilities]
    for number, (gpu, capability) in enumerate(
        zip_longest(runtime.gpus, capabilities, fillvalue="")
    ):
        yield f"GPU {number}", gpu + capability
    for name, found in runtime.libraries.items():
        yield name, details.libraries.get(name, "found") if found else "not found"
    yield "--device auto", runtime.device
    for one in runtime.precisions:
        available = f"with --device {one.device}" if one.why_not is None else f"no: {one.why_not}"
        yield f"--precision {one.name}", available


def _problems(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.problems:
        yield "healthy"
    for problem in diagnosis.problems:
        yield f"problem: {problem.what}"
        yield f"    fix: {problem.fix}"
