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
from adcc_onnx.graph.programs.tensor_names import IMAGE, TARGET
from adcc_onnx.model import Model, Pass
from adcc_onnx.runtime.session import Arrays, Session, SplitSession

_BATCHES = {"cpu": (1, 4, 8, 16), "cuda": (8, 16, 32, 64, 128)}
_LEAST_TIME = 0.25  # seconds that a turn takes, at least
_TURNS = 2
_LONG = 1.0  # seconds of a run, against which its start and noise count for nothing
_LEAST_GAIN = 1.03  # what is less is noise, and a larger batch must be worth its memory


@dataclass(frozen=True)
class RunSettings:
    """How a model is run.

    Attributes:
        batch: images a run.
        threads: of one run; 0 for one a core.
        lanes: runs side by side.
        speed: images a second through one pass.
    """

    batch: int
    threads: int
    concurrent_runs: int
    speed: float = 0.0

    def __str__(self) -> str:
        """One line for a person."""
        concurrent_runs = (
            f", {self.concurrent_runs} runs side by side" if self.concurrent_runs > 1 else ""
        )
        return f"{self.batch} images a run{concurrent_runs} ({self.speed:.0f} images/s a pass)"


def autotuned(model: Model, kind: Pass, say: Callable[[str], None] = lambda text: None) -> Model:
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
    return with_run_settings(model, pace)


def with_run_settings(model: Model, pace: RunSettings) -> Model:
    """The same model run at another pace."""
    return replace(
        model,
        batch=pace.batch,
        threads=pace.threads,
        concurrent_runs=pace.concurrent_runs,
        _sessions={},
    )


def search(model: Model, kind: Pass) -> RunSettings:
    """The fastest pace: first the threads and lanes, at the model's batch, then the batch."""
    pairs = [replace(pace, batch=model.batch) for pace in _pairs(model)]
    best = _fastest(model, kind, pairs)
    if not model.any_batch:
        return best
    batches = sorted({model.batch, *_BATCHES.get(model.device.kind, _BATCHES["cuda"])})
    quick = (
        best.speed * _LONG / best.concurrent_runs
    )  # images of a run that gains nothing by being longer
    tried = [batch for batch in batches if batch <= max(quick, model.batch)]
    return _fastest(model, kind, [replace(best, batch=batch) for batch in tried])


def _pairs(model: Model) -> list[RunSettings]:
    """Runs side by side, and the threads of each; the preferred first.

    The device does not wait for maps and metrics where another run is under way: a single run at a
    time must be faster by more than noise to be worth that. On a CPU, runs share the cores.
    """
    if model.device.kind != "cpu":
        return [RunSettings(0, 0, 2), RunSettings(0, 0, 1)]
    cores = _cores()
    if cores == 1:
        return [RunSettings(0, 0, 1)]
    return list(
        dict.fromkeys(
            [RunSettings(0, cores // 2, 2), RunSettings(0, 0, 1), RunSettings(0, 1, cores)]
        )
    )


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fastest(model: Model, kind: Pass, paces: Sequence[RunSettings]) -> RunSettings:
    """The first, unless a later one is faster by more than noise.

    Raises:
        ModelError: the model runs at none of them.
    """
    best: RunSettings | None = None
    trouble: ModelError | None = None
    for pace in paces:
        try:
            measured = replace(pace, speed=_speed(with_run_settings(model, pace), kind))
        except ModelError as error:  # of memory, most likely
            trouble = error
            continue
        if best is None or measured.speed > best.speed * _LEAST_GAIN:
            best = measured
    if best is None:
        raise ModelError(f"the model runs at no batch size: {trouble}") from trouble
    return best


def _speed(model: Model, kind: Pass) -> float:
    """Images a second, all lanes together, in the quickest of a few turns."""
    session, feeds = model.session(kind), feeds_of(model, kind)
    session.run(feeds)
    turns = [back_to_back(session, feeds, 1, model.concurrent_runs)]
    if turns[0] <= _LONG:
        runs = max(1, round(_LEAST_TIME / turns[0]))
        turns += [
            back_to_back(session, feeds, runs, model.concurrent_runs) / runs for _ in range(_TURNS)
        ]
    return model.concurrent_runs * model.batch / min(turns)


def back_to_back(
    session: Session | SplitSession, feeds: Arrays, runs: int, concurrent_runs: int
) -> float:
    """Seconds that each of some threads takes for its runs of a session, one after another."""

    def lane() -> None:
        for _ in range(runs):
            session.run(feeds)

    threads = [threading.Thread(target=lane) for _ in range(concurrent_runs)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


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
    parts = (model.sha256, layers, size, kind.name, model.device.name, _cores())
    return " ".join(map(str, (*parts, onnxruntime.__version__)))


def _cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "adcc-onnx" / "pace.json"


def _remembered() -> dict[str, RunSettings]:
    """Nothing where the file is missing or not as we write it."""
    try:
        known = json.loads(_cache().read_text(encoding="utf-8"))
        return {key: RunSettings(**pace) for key, pace in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(known: Mapping[str, RunSettings]) -> None:
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
