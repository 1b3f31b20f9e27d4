"""Autotuning: measures which run settings are the fastest, and caches them on disk.

The settings (batch size, threads, concurrent runs) change the speed of a model, but no result.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from adcc_onnx.atomic_files import write_atomically
from adcc_onnx.errors import ModelError, OptionError
from adcc_onnx.graph.programs.tensor_names import IMAGE, TARGET
from adcc_onnx.runtime.cache_folder import cache_folder
from adcc_onnx.runtime.onnxruntime_import import onnxruntime
from adcc_onnx.runtime.passes import TARGETED, Pass
from adcc_onnx.runtime.run_settings import RunSettings
from adcc_onnx.runtime.session import Arrays, Session
from adcc_onnx.runtime.session_pool import SessionPool

# The preferred size first.
_BATCHES = {"cpu": (4, 8, 16, 1), "cuda": (8, 16, 32, 64, 128)}
_MIN_SECONDS = 0.25  # of one repetition
_REPEATS = 2
_LONG_RUN_SECONDS = 1.0  # a longer run gains nothing: its overhead and noise are negligible
_PAIRS = 3  # runs of two precisions in turns
_MIN_SPEEDUP = 1.03  # less is noise, and a larger batch must be worth its memory
# Of a single run on a CPU over concurrent ones: it waits for maps and metrics, and its threads,
# which wait actively, take cores from the decoding of images.
_MIN_SPEEDUP_OF_A_SINGLE_RUN = 1.25
# Of single images over batches: every batch takes more time than its passes.
_MIN_SPEEDUP_OF_SINGLE_IMAGES = 1.1


@dataclass(frozen=True)
class AutotuneResult:
    """The fastest settings that were found.

    Attributes:
        settings: The settings.
        speed: Their speed in images per second through one pass.
    """

    settings: RunSettings
    speed: float

    def __str__(self) -> str:
        return f"autotuned: {self.settings} ({self.speed:.0f} images/s per pass)"


def autotune(pool: SessionPool, kind: Pass, model_id: str) -> AutotuneResult:
    """Find the fastest settings for one kind of pass, or read them from the cache on disk.

    Args:
        pool: The sessions of the model at its present settings.
        kind: The kind of pass that takes most of the time.
        model_id: A text that identifies the model file, such as its SHA-256.

    Raises:
        ModelError: The model does not run at any batch size.
    """
    key = _cache_key(pool, kind, model_id)
    cache = _read_cache()
    found = cache.get(key)
    if found is None:
        found = search(pool, kind)
        _write_cache({**cache, key: found})
    return found


def relative_time(pool: SessionPool, kind: Pass) -> float | None:
    """Measure how long a pass takes in the cheaper precision of a model, relative to float32.

    Args:
        pool: The sessions of the model.
        kind: The kind of pass.

    Returns:
        The ratio of the fastest of some runs, in turns; None if the pass has one precision.
    """
    exact, own = pool.session(kind, exact=True), pool.session(kind)
    if exact is own:
        return None
    feeds = random_feeds(pool, kind)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_PAIRS):
        for session, taken in zip((own, exact), seconds, strict=True):
            taken.append(back_to_back(session, feeds, 1, pool.settings.concurrent_runs))
    fastest, of_exact = (min(taken) for taken in seconds)
    return fastest / of_exact


def search(pool: SessionPool, kind: Pass) -> AutotuneResult:
    """Measure settings: first threads and concurrent runs at the pool's batch, then batch sizes.

    Args:
        pool: The sessions of the model at its present settings.
        kind: The kind of pass.

    Raises:
        ModelError: The model does not run at any batch size.
    """
    batch = pool.settings.batch
    best = _fastest(pool, kind, _parallel_settings(batch, pool.device.kind))
    if not pool.any_batch:
        return best
    sizes = dict.fromkeys((*_BATCHES.get(pool.device.kind, _BATCHES["cuda"]), batch))
    longest = best.speed * _LONG_RUN_SECONDS / best.settings.concurrent_runs
    candidates = [size for size in sizes if size <= max(longest, batch)]
    return _fastest(pool, kind, [replace(best.settings, batch=size) for size in candidates])


def back_to_back(session: Session, feeds: Arrays, runs: int, concurrent_runs: int) -> float:
    """Run a session several times in each of several threads.

    Args:
        session: The session.
        feeds: The inputs of every run.
        runs: The number of runs per thread, one after the other.
        concurrent_runs: The number of threads.

    Returns:
        The elapsed time in seconds.
    """

    def repeat() -> None:
        for _ in range(runs):
            session.run(feeds)

    threads = [threading.Thread(target=repeat) for _ in range(concurrent_runs)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def random_feeds(pool: SessionPool, kind: Pass) -> Arrays:
    """Return random images for one run of a pass on whole images.

    Args:
        pool: The sessions of the model.
        kind: The kind of pass.
    """
    batch, classifier = pool.settings.batch, pool.classifier
    shape = (batch, classifier.channels, *classifier.fixed_size)
    feeds: Arrays = {IMAGE: np.random.default_rng(0).standard_normal(shape, np.float32)}
    if kind in TARGETED:
        feeds[TARGET] = np.zeros(batch, np.int64)
    return feeds


def _parallel_settings(batch: int, device: str) -> list[RunSettings]:
    """Return combinations of threads and concurrent runs, the preferred one first.

    With two concurrent runs the device does not wait for maps and metrics, so a single run must
    be faster. On a CPU the concurrent runs share the cores.
    """
    if device != "cpu":
        return [RunSettings(batch, 0, 2), RunSettings(batch, 0, 1)]
    cores = _cores()
    if cores == 1:
        return [RunSettings(batch, 0, 1)]
    pairs = ((cores // 2, 2), (0, 1), (1, cores))
    return [RunSettings(batch, *pair) for pair in dict.fromkeys(pairs)]


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fastest(pool: SessionPool, kind: Pass, candidates: Sequence[RunSettings]) -> AutotuneResult:
    """Return the first candidate, unless a later one is faster by enough."""
    best: AutotuneResult | None = None
    failure: ModelError | None = None
    for settings in candidates:
        try:
            speed = _speed(pool.with_settings(settings), kind)
        except ModelError as error:  # most likely out of memory
            failure = error
            continue
        if best is None or speed > best.speed * _needed_speedup(settings, best, pool.device.kind):
            best = AutotuneResult(settings, speed)
    if best is None:
        raise ModelError(f"the model does not run at any batch size: {failure}") from failure
    return best


def _needed_speedup(settings: RunSettings, best: AutotuneResult, device: str) -> float:
    """Return how much faster than the best ones other settings must be to replace them."""
    if device == "cpu" and settings.concurrent_runs == 1 < best.settings.concurrent_runs:
        return _MIN_SPEEDUP_OF_A_SINGLE_RUN
    if settings.batch == 1 < best.settings.batch:
        return _MIN_SPEEDUP_OF_SINGLE_IMAGES
    return _MIN_SPEEDUP


def _speed(pool: SessionPool, kind: Pass) -> float:
    """Return the images per second of all concurrent runs, in the fastest of some repetitions."""
    session, feeds, settings = pool.session(kind), random_feeds(pool, kind), pool.settings
    session.run(feeds)
    times = [back_to_back(session, feeds, 1, settings.concurrent_runs)]
    if times[0] <= _LONG_RUN_SECONDS:
        runs = max(1, round(_MIN_SECONDS / times[0]))
        times += [
            back_to_back(session, feeds, runs, settings.concurrent_runs) / runs
            for _ in range(_REPEATS)
        ]
    return settings.concurrent_runs * settings.batch / min(times)


def _cache_key(pool: SessionPool, kind: Pass, model_id: str) -> str:
    layers = "+".join(layer.name for layer in pool.layers)
    size = "x".join(map(str, pool.classifier.fixed_size))
    precision = "" if pool.cheaper is None else f" {pool.cheaper.precision}"
    device = f"{pool.device.name}{precision}"
    parts = (model_id, layers, size, kind.name, device, _cores())
    return " ".join(map(str, (*parts, onnxruntime.__version__)))


def _cache_file() -> Path:
    return cache_folder() / "autotune.json"


def _read_cache() -> dict[str, AutotuneResult]:
    """Read the cache; a missing or damaged file is an empty one."""
    try:
        known = json.loads(_cache_file().read_text(encoding="utf-8"))
        return {
            key: AutotuneResult(RunSettings(**entry["settings"]), float(entry["speed"]))
            for key, entry in known.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OptionError):
        return {}


def _write_cache(results: Mapping[str, AutotuneResult]) -> None:
    """Write the cache, where the folder is writable."""
    path = _cache_file()
    text = json.dumps({key: asdict(result) for key, result in results.items()}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8"))
    except OSError:
        return
