"""The throughput of an evaluation, compared with the raw onnxruntime passes that it needs.

The limit is the throughput of onnxruntime alone on the same passes, back to back on preprocessed
tensors, with the same batch size, threads and concurrent runs. A pass on masked images or replaced
pixels counts as a plain forward pass. Rounds of the evaluation and of the raw passes alternate, and
the medians are reported.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.pipeline import evaluate_batch, evaluate_into
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.explanation.samples import batches, prefetch, tensor_of
from adcc_onnx.images.sources.open_images import Source, open_arrays
from adcc_onnx.model import Model, Pass
from adcc_onnx.results.rows import RunProgress
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.autotuning import back_to_back, feeds_of

# Method -> metric -> (mean, maximum) absolute difference of an image's value.
Deviations = dict[str, dict[str, tuple[float, float]]]

# These passes are timed themselves as raw passes. The forward pass stands for the others (masks and
# replaced pixels are overhead of the evaluation), except for those that run a part of the model.
_TIMED = (Pass.FORWARD, Pass.GRADIENTS, Pass.IMAGE_GRADIENTS)
_PARTIAL = (Pass.SUFFIX, Pass.SHARE_GRADIENTS)


@dataclass(frozen=True)
class BenchmarkResult:
    """The measurements of one benchmark; all times are seconds per image.

    Attributes:
        model: Name of the model.
        device: Name of the device.
        methods: Evaluated methods.
        metrics: Evaluated metrics.
        images: Number of images per round.
        batch: Batch size.
        threads: Number of intra-op threads per run; 0 uses one per core.
        concurrent_runs: Number of parallel runs.
        passes: Number of model runs per image, by kind of pass.
        raw_passes_per_second: Throughput of the plain forward pass.
        images_per_second: Throughput of the evaluation.
        limit: Throughput in images per second if there were nothing but the passes.
        ratio: Throughput of the evaluation divided by the limit, median over the rounds.
        decode: Time for reading and preprocessing, measured separately.
        run: Time inside onnxruntime, measured separately.
        kernels: Time of everything around onnxruntime, measured separately.
        store: Time of SQLite, measured separately. The four times overlap in an evaluation.
        peak_memory: Peak memory of the process in bytes.
        precision: Precision in which the model computes, such as "float16".
        deviation: Deviation from float32 for another precision: method -> metric -> (mean,
            maximum) absolute difference of an image's value.
    """

    model: str
    device: str
    methods: list[str]
    metrics: list[str]
    images: int
    batch: int
    threads: int
    concurrent_runs: int
    passes: dict[str, float]
    raw_passes_per_second: float
    images_per_second: float
    limit: float
    ratio: float
    decode: float
    run: float
    kernels: float
    store: float
    peak_memory: int
    precision: str
    deviation: Deviations


def measure_throughput(
    model: Model,
    source: Source,
    plan: Plan,
    rounds: int = 5,
    progress: Callable[[int], None] = lambda rounds: None,
    reference: Model | None = None,
) -> BenchmarkResult:
    """Measure the throughput of an evaluation and its limit.

    Args:
        model: Model to evaluate.
        source: Images; every round evaluates all of them.
        plan: Methods and metrics.
        rounds: Number of rounds, at least 1; the median is reported.
        progress: Function that is called with 1 after each round.
        reference: The same model in float32, if `model` has another precision.

    Returns:
        The measurements.

    Raises:
        OptionError: No image could be read.
    """
    _evaluated(model, source, plan)  # compiles kernels and opens sessions
    parts = _measured_parts(model, source, plan)
    raw_speeds, speeds, limits = [], [], []
    for _ in range(max(1, rounds)):
        forward = _raw_seconds(model, Pass.FORWARD)
        raw = {kind: _raw_seconds(model, kind) for kind in parts.passes.keys() & set(_TIMED)}
        seconds = {kind: raw.get(kind, forward) for kind in parts.passes} | parts.partial
        limits.append(1 / sum(count * seconds[kind] for kind, count in parts.passes.items()))
        raw_speeds.append(1 / forward)
        start = time.perf_counter()
        _evaluated(model, source, plan)
        speeds.append(len(source) / (time.perf_counter() - start))
        progress(1)
    return BenchmarkResult(
        model=model.name,
        device=model.device.name,
        methods=list(plan.methods),
        metrics=list(plan.metrics),
        images=len(source),
        batch=model.batch,
        threads=model.threads,
        concurrent_runs=model.concurrent_runs,
        passes={kind.name.lower(): count for kind, count in parts.passes.items()},
        raw_passes_per_second=statistics.median(raw_speeds),
        images_per_second=statistics.median(speeds),
        limit=statistics.median(limits),
        ratio=statistics.median(s / limit for s, limit in zip(speeds, limits, strict=True)),
        decode=_decode_seconds(model, source),
        run=parts.run,
        kernels=parts.kernels,
        store=parts.store,
        peak_memory=_peak_memory(),
        precision=model.precision,
        deviation={} if reference is None else deviations(model, reference, source, plan),
    )


def deviations(model: Model, reference: Model, source: Source, plan: Plan) -> Deviations:
    """Compare every image's values with a reference model; see `BenchmarkResult.deviation`."""
    found, expected = (_values(one, source, plan) for one in (model, reference))
    differences: dict[str, dict[str, list[float]]] = {}
    for (image, method, metric), value in expected.items():
        other = found.get((image, method, metric))
        if other is not None:
            differences.setdefault(method, {}).setdefault(metric, []).append(abs(other - value))
    return {
        method: {name: (statistics.fmean(each), max(each)) for name, each in of_method.items()}
        for method, of_method in differences.items()
    }


def _values(model: Model, source: Source, plan: Plan) -> dict[tuple[int, str, str], float]:
    """Return every value of an evaluation by image position, method and metric."""
    with prefetch(source, model, RunProgress(set(), {}), plan.truth) as stream:
        return {
            (row.position, row.method, metric): value
            for group in batches(stream, model.batch)
            for _, rows in evaluate_batch(model, plan, group)
            for row in rows
            for metric, value in row.values.items()
        }


def random_images(model: Model, count: int | None = None) -> Source:
    """Return preprocessed images of random numbers, 32 by default."""
    shape = (count or 32, model.classifier.channels, *model.size)
    return open_arrays(np.random.default_rng(0).standard_normal(shape, np.float32))


def _evaluated(model: Model, source: Source, plan: Plan) -> None:
    with Store.create(None) as store:
        evaluate_into(store, model, source, plan, "benchmark")


def _raw_seconds(model: Model, kind: Pass) -> float:
    """Time one kind of pass, back to back in all concurrent runs: seconds per image."""
    session, feeds = model.session(kind), feeds_of(model, kind)
    session.run(feeds)
    runs = max(2, round(16 / model.batch))
    taken = back_to_back(session, feeds, runs, model.concurrent_runs)
    return taken / (runs * model.batch * model.concurrent_runs)


@dataclass(frozen=True)
class _Parts:
    """An image's share of one sequential evaluation: passes by kind, and seconds.

    `partial` holds the seconds of passes that run only a part of the model.
    """

    passes: dict[Pass, float]
    partial: dict[Pass, float]
    run: float
    kernels: float
    store: float


def _measured_parts(model: Model, source: Source, plan: Plan) -> _Parts:
    with prefetch(source, model, RunProgress(set(), {}), plan.truth) as stream:
        groups = list(batches(stream, model.batch))
    images = sum(sample.tensor is not None for group in groups for sample in group)
    if not images:
        raise OptionError("no image could be read")
    before = model.spent()
    start = time.perf_counter()
    rows = [made for group in groups for made in evaluate_batch(model, plan, group)]
    whole = time.perf_counter() - start
    spent = {
        kind: (samples - before[kind][0], seconds - before[kind][1])
        for kind, (samples, seconds) in model.spent().items()
        if samples > before[kind][0]
    }
    running = sum(seconds for _, seconds in spent.values())
    with Store.create(None) as store:
        run = store.begin(plan.config(model, "benchmark"))
        start = time.perf_counter()
        for made in rows:
            store.write(run, *made)
        writing = time.perf_counter() - start
    return _Parts(
        {kind: samples / images for kind, (samples, _) in spent.items()},
        {k: seconds / samples for k, (samples, seconds) in spent.items() if k in _PARTIAL},
        running / images,
        (whole - running) / images,
        writing / images,
    )


def _decode_seconds(model: Model, source: Source) -> float:
    start = time.perf_counter()
    for record in source:
        tensor_of(record, source.preprocessed, model)
    return (time.perf_counter() - start) / len(source)


def _peak_memory() -> int:
    import resource  # POSIX

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
