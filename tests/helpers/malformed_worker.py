"""Tries models in a process of its own: `python malformed_worker.py` reads paths from its input.

Each goes through `inspect`, `expose`
and `explain`; what an accepted model gives is held against onnxruntime's own run of the file.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import adcc_onnx as adcc
from adcc_onnx.errors import AdccError
from adcc_onnx.graph.programs.inspection import inspect
from adcc_onnx.report.inspection_report import inspection_to_text

MEMORY = 4 * 2**30
LARGEST = 10**6  # pixels of an image that a case is tried on


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        steps = {"inspect": _inspect, "expose": _expose, "explain": _explain}
        found = {name: _outcome(step, path) for name, step in steps.items()}
        peak = _peak_memory()
        print(json.dumps({"steps": found, "peak": peak}), flush=True)


def _peak_memory() -> int:
    """In MiB; what `getrusage` tells would be that of the parent, where it was greater."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _outcome(step: Callable[[Path], str], path: Path) -> str:
    """What came out: ok, refused with a reason, or BROKEN where it was another error than ours."""
    try:
        return step(path)
    except AdccError as error:
        text = str(error)
        whole = text and "\n" not in text and len(text) < 2000
        return f"refused: {text}" if whole else f"BROKEN: {text[:500]!r}"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(last))
        return f"BROKEN: {type(error).__name__}: {str(error)[:300]} ({where})"


def _inspect(path: Path) -> str:
    text = inspection_to_text(inspect(path))
    printable = all(c.isprintable() or c == "\n" for c in text)
    return "ok" if printable else "BROKEN: unprintable characters"


def _expose(path: Path) -> str:
    exposed = adcc.expose(path)
    try:
        own = _session(str(path))
        images = _images(own.get_inputs()[0].shape)
        feeds = {own.get_inputs()[0].name: images}
        before = own.run(None, feeds)
    except Exception:
        return "ok: onnxruntime cannot run the model itself"
    names = [value.name for value in own.get_outputs()]
    target = np.zeros(len(images), np.int64)
    after = _session(exposed.SerializeToString()).run(names, {**feeds, "target": target})
    return _compared(before, after)


def _explain(path: Path) -> str:
    model = adcc.load(path, device="cpu", batch_size=1)
    if np.prod(model.size, dtype=float) > LARGEST:
        return "BROKEN: an image of this size should have been refused"
    images = _images([1, model.classifier.channels, *model.size])
    maps = adcc.explain(model, images).maps
    sound = maps.shape == (1, *model.size) and maps.min() >= 0 and maps.max() <= 1
    return "ok" if sound else f"BROKEN: maps of {maps.shape}, {maps.min()} to {maps.max()}"


def _images(shape: list[Any]) -> np.ndarray:
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


def _session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _compared(before: list[np.ndarray], after: list[np.ndarray]) -> str:
    for own, ours in zip(before, after, strict=True):
        if not np.allclose(own, ours, rtol=1e-4, atol=1e-5, equal_nan=True):
            return f"BROKEN: the scores differ by {np.abs(own - ours).max()}"
    return "ok"


if __name__ == "__main__":
    main()
