"""Try models in a separate process: `python malformed_worker.py` reads paths from its input.

Each model goes through `inspect`, `expose` and `explain`. The scores of an accepted model are
compared with those of onnxruntime on the original file.
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

MEMORY_LIMIT = 4 * 2**30  # bytes
MAX_PIXELS = 10**6  # larger images must have been refused


def main() -> None:
    """Print the outcomes of every model as a line of JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        steps = {"inspect": _inspect, "expose": _expose, "explain": _explain}
        outcomes = {name: _outcome(step, path) for name, step in steps.items()}
        print(json.dumps({"steps": outcomes, "peak": _peak_memory()}), flush=True)


def _peak_memory() -> int:
    """Return the peak memory in MiB; `getrusage` would include the peak of the parent process."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _outcome(step: Callable[[Path], str], path: Path) -> str:
    """Run one step: "ok", "refused" with the reason, or "BROKEN" for any other exception."""
    try:
        return step(path)
    except AdccError as error:
        text = str(error)
        one_line = text and "\n" not in text and len(text) < 2000
        return f"refused: {text}" if one_line else f"BROKEN: {text[:500]!r}"
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
    return _compare(before, after)


def _explain(path: Path) -> str:
    model = adcc.load(path, device="cpu", batch_size=1)
    if np.prod(model.size, dtype=float) > MAX_PIXELS:
        return "BROKEN: an image of this size should have been refused"
    images = _images([1, model.classifier.channels, *model.size])
    maps = adcc.explain(model, images).maps
    valid = maps.shape == (1, *model.size) and maps.min() >= 0 and maps.max() <= 1
    return "ok" if valid else f"BROKEN: maps of {maps.shape}, {maps.min()} to {maps.max()}"


def _images(shape: list[Any]) -> np.ndarray:
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    return np.random.default_rng(0).standard_normal(sizes).astype(np.float32)


def _session(model: Any) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _compare(before: list[np.ndarray], after: list[np.ndarray]) -> str:
    for expected, actual in zip(before, after, strict=True):
        if not np.allclose(expected, actual, rtol=1e-4, atol=1e-5, equal_nan=True):
            return f"BROKEN: the scores differ by {np.abs(expected - actual).max()}"
    return "ok"


if __name__ == "__main__":
    main()
