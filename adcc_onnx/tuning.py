"""How many images a run, threads a run and runs side by side are fastest: measured, and remembered.

None of the three changes a result, only the time it takes.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.expose import TARGET
from adcc_onnx.graph.probe import IMAGE
from adcc_onnx.model import Model, Pass
from adcc_onnx.runtime.session import Arrays

_BATCHES = {"cpu": (1, 4, 8, 16), "cuda": (8, 16, 32, 64, 128)}
_LEAST_TIME = 0.25  # seconds a candidate is run for, at least
_LEAST_GAIN = 1.03  # a larger batch must be worth its memory


@dataclass(frozen=True)
class Pace:
    """How a model is run.

    Attributes:
        batch: images a run.
        threads: of one run; 0 for one a core.
        lanes: runs side by side.
        speed: images a second through one pass.
    """

    batch: int
    threads: int
    lanes: int
    speed: float = 0.0

    def __str__(self) -> str:
        """One line for a person."""
        lanes = f", {self.lanes} runs side by side" if self.lanes > 1 else ""
        return f"{self.batch} images a run{lanes} ({self.speed:.0f} images/s a pass)"


def tuned(model: Model, kind: Pass, say: Callable[[str], None] = lambda text: None) -> Model:
    """The same model at its fastest pace for one kind of pass, found once and then remembered.

    Args:
        model: from `load`.
        kind: what most of the time will go to.
        say: told the pace in one line.
    """
    key = _key(model, kind)
    known = _remembered()
    pace = known.get(key)
    if pace is None:
        pace = search(model, kind)
        _remember({**known, key: pace})
    say(f"{model.name}: {pace}")
    return at_pace(model, pace)


def at_pace(model: Model, pace: Pace) -> Model:
    """The same model run at another pace."""
    return replace(model, batch=pace.batch, threads=pace.threads, lanes=pace.lanes, _sessions={})


def search(model: Model, kind: Pass) -> Pace:
    """The fastest pace: first the threads and lanes, at the model's batch, then the batch."""
    pairs = [replace(pace, batch=model.batch) for pace in _pairs(model)]
    best = _fastest(model, kind, pairs)
    if not model.any_batch:
        return best
    batches = _BATCHES.get(model.device.kind, _BATCHES["cuda"])
    return _fastest(model, kind, [replace(best, batch=batch) for batch in batches])


def _pairs(model: Model) -> list[Pace]:
    """One run on all cores, or a run a core; on a card, one or two runs at a time."""
    if model.device.kind != "cpu":
        return [Pace(0, 0, 1), Pace(0, 0, 2)]
    cores = _cores()
    return [Pace(0, 0, 1), Pace(0, 1, cores)] if cores > 1 else [Pace(0, 0, 1)]


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fastest(model: Model, kind: Pass, paces: Sequence[Pace]) -> Pace:
    best: Pace | None = None
    for pace in paces:
        try:
            measured = replace(pace, speed=_speed(at_pace(model, pace), kind))
        except ModelError:  # of memory, most likely: larger ones need no try
            break
        if best is None or measured.speed > best.speed * _LEAST_GAIN:
            best = measured
    if best is None:
        raise ModelError("the model does not run at any batch size")
    return best


def _speed(model: Model, kind: Pass) -> float:
    """Images a second, all lanes together."""
    session, feeds = model.session(kind), feeds_of(model, kind)
    session.run(feeds)
    start = time.perf_counter()
    session.run(feeds)
    runs = max(1, round(_LEAST_TIME / (time.perf_counter() - start) / 2))

    def lane() -> None:
        for _ in range(runs):
            session.run(feeds)

    threads = [threading.Thread(target=lane) for _ in range(model.lanes)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return runs * model.lanes * model.batch / (time.perf_counter() - start)


def feeds_of(model: Model, kind: Pass) -> Arrays:
    """Random images of one run of a pass."""
    shape = (model.batch, model.classifier.channels, *model.size)
    feeds: Arrays = {IMAGE: np.random.default_rng(0).standard_normal(shape, np.float32)}
    if kind in (Pass.GRADIENTS, Pass.IMAGE_GRADIENTS):
        feeds[TARGET] = np.zeros(model.batch, np.int64)
    return feeds


def _key(model: Model, kind: Pass) -> str:
    layers = "+".join(layer.name for layer in model.layers)
    size = "x".join(map(str, model.size))
    parts = (model.sha256, layers, size, kind.name, model.device.name, os.cpu_count())
    return " ".join(map(str, (*parts, onnxruntime.__version__)))


def _cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "adcc-onnx" / "pace.json"


def _remembered() -> dict[str, Pace]:
    """Nothing where the file is missing or not as we write it."""
    try:
        known = json.loads(_cache().read_text(encoding="utf-8"))
        return {key: Pace(**pace) for key, pace in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(known: Mapping[str, Pace]) -> None:
    """Where nothing can be written, nothing is remembered."""
    path = _cache()
    text = json.dumps({key: asdict(pace) for key, pace in known.items()}, indent=1)
    written = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(text, encoding="utf-8")
        written.replace(path)
    except OSError:
        return
