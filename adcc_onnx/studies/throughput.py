"""`adcc-onnx benchmark`: the throughput of an evaluation, compared with onnxruntime alone.

The limit is the throughput of onnxruntime alone for the same passes, back to back on ready
tensors, with the same run settings. A pass with masks or replaced pixels is compared with a plain
forward pass. The rounds of both are interleaved, and the medians count.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from adcc_onnx.errors import ImageError, first_reasons
from adcc_onnx.evaluation.pipeline import evaluate_batch, evaluate_into
from adcc_onnx.evaluation.plan import Plan
from adcc_onnx.evaluation.run_tracker import RunTracker
from adcc_onnx.explanation.samples import batches, prefetch, tensor_of
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.open_images import open_arrays
from adcc_onnx.model import Model
from adcc_onnx.results.rows import RunProgress
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.autotuning import back_to_back, random_feeds
from adcc_onnx.runtime.instruction_sets import instruction_sets
from adcc_onnx.runtime.passes import TARGETED, Pass
from adcc_onnx.runtime.peak_memory import peak_memory

# Mean and maximum absolute difference of an image's value, by method and metric.
Deviations = dict[str, dict[str, tuple[float, float]]]

# The passes that are measured with onnxruntime alone. The other passes are compared with a plain
# forward pass, except those that run a part of the model only.
_RAW = (Pass.FORWARD, Pass.ATTENTIONS, *TARGETED)
_PARTIAL = (Pass.SUFFIX, Pass.SHARE_GRADIENTS, Pass.MIXED_GRADIENTS)


@dataclass(frozen=True)
class BenchmarkResult:
    """The result of a benchmark; seconds are per image.

    Attributes:
        model: The name of the model.
        device: The name of the device.
        instruction_sets: The CPU's vector instruction sets; None if they are not known.
        methods: The names of the methods.
        metrics: The names of the metrics.
        images: The number of images in each round.
        batch: The number of images per run.
        threads: The number of intra-op threads per run; 0 for one per core.
        concurrent_runs: The number of concurrent runs.
        passes: The number of runs of the model per image, by kind of pass.
        raw_passes_per_second: The speed of plain forward passes.
        images_per_second: The speed of the evaluation.
        limit: The speed in images per second of the passes alone.
        ratio: The ratio of the evaluation's speed to the limit, the median of the rounds.
        decode: Seconds to read and preprocess an image; measured alone, as the next three are.
            The four overlap in an evaluation.
        run: Seconds inside onnxruntime.
        kernels: Seconds for everything around the runs.
        store: Seconds to write the rows.
        peak_memory: The peak memory of the process in bytes.
        precision: The precision of the model.
        deviation: The difference from float32 if the model has another precision: the mean and
            maximum absolute difference of an image's value, by method and metric.
    """

    model: str
    device: str
    instruction_sets: list[str] | None
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
    tracker: RunTracker | None = None,
    reference: Model | None = None,
) -> BenchmarkResult:
    """Measure the speed of an evaluation and compare it with its limit.

    Args:
        model: The model.
        source: The images; every round evaluates all of them.
        plan: The plan of the evaluation.
        rounds: The number of rounds, at least 1; the median counts.
        tracker: Receives the progress in images: all images in each round and twice before.
        reference: The same model in float32, if `model` has another precision.

    Raises:
        ImageError: No image could be scored.
    """
    tracker = tracker or RunTracker(model.name, 0)
    _evaluated(model, source, plan, tracker)  # compiles kernels and opens sessions
    parts = _measured_parts(model, source, plan, tracker)
    raw_speeds, speeds, limits = [], [], []
    for _ in range(max(1, rounds)):
        forward = _raw_seconds(model, Pass.FORWARD)
        raw = {kind: _raw_seconds(model, kind) for kind in parts.passes.keys() & set(_RAW)}
        seconds = {kind: raw.get(kind, forward) for kind in parts.passes} | parts.partial
        limits.append(1 / sum(count * seconds[kind] for kind, count in parts.passes.items()))
        raw_speeds.append(1 / forward)
        start = time.perf_counter()
        _evaluated(model, source, plan, tracker)
        speeds.append(len(source) / (time.perf_counter() - start))
    return BenchmarkResult(
        model=model.name,
        device=model.device.name,
        instruction_sets=instruction_sets(),
        methods=list(plan.methods),
        metrics=list(plan.metrics),
        images=len(source),
        batch=model.batch,
        threads=model.settings.threads,
        concurrent_runs=model.settings.concurrent_runs,
        passes={kind.name.lower(): count for kind, count in parts.passes.items()},
        raw_passes_per_second=statistics.median(raw_speeds),
        images_per_second=statistics.median(speeds),
        limit=statistics.median(limits),
        ratio=statistics.median(s / limit for s, limit in zip(speeds, limits, strict=True)),
        decode=_decode_seconds(model, source),
        run=parts.run,
        kernels=parts.kernels,
        store=parts.store,
        peak_memory=peak_memory(),
        precision=model.precision,
        deviation={} if reference is None else deviations(model, reference, source, plan),
    )


def deviations(model: Model, reference: Model, source: Source, plan: Plan) -> Deviations:
    """Compare each image's values with those of a reference model.

    Args:
        model: The model.
        reference: The model to compare with.
        source: The images.
        plan: The plan of the evaluation.

    Returns:
        The mean and the maximum absolute difference, by method and metric.
    """
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
    """Return every value of an evaluation by the image's position, the method and the metric."""
    with prefetch(source, model, RunProgress(set(), {}), plan.truth) as stream:
        return {
            (row.position, row.method, metric): value
            for group in batches(stream, model.batch)
            for _, rows in evaluate_batch(model, plan, group)
            for row in rows
            for metric, value in row.values.items()
        }


def random_images(model: Model, count: int | None = None) -> Source:
    """Return ready tensors of random numbers.

    Args:
        model: The model that they are for.
        count: The number of tensors; 32 if None.
    """
    shape = (count or 32, model.classifier.channels, *model.size)
    return open_arrays(np.random.default_rng(0).standard_normal(shape, np.float32))


def _evaluated(model: Model, source: Source, plan: Plan, tracker: RunTracker) -> None:
    with Store.create(None) as store:
        evaluate_into(store, model, source, plan, "benchmark", tracker)


def _raw_seconds(model: Model, kind: Pass) -> float:
    """Return the seconds per image of one kind of pass with onnxruntime alone."""
    session, feeds = model.pool.session(kind), random_feeds(model.pool, kind)
    session.run(feeds)
    runs, concurrent = max(2, round(16 / model.batch)), model.settings.concurrent_runs
    elapsed = back_to_back(session, feeds, runs, concurrent)
    return elapsed / (runs * model.batch * concurrent)


@dataclass(frozen=True)
class _Parts:
    """The passes by kind and the seconds per image of one evaluation, measured step by step.

    `partial` holds the seconds of passes that run a part of the model.
    """

    passes: dict[Pass, float]
    partial: dict[Pass, float]
    run: float
    kernels: float
    store: float


def _measured_parts(model: Model, source: Source, plan: Plan, tracker: RunTracker) -> _Parts:
    with prefetch(source, model, RunProgress(set(), {}), plan.truth) as stream:
        groups = list(batches(stream, model.batch))
    images = sum(sample.tensor is not None for group in groups for sample in group)
    before = model.pool.usage()
    start = time.perf_counter()
    with tracker.part(images):
        rows = [made for group in groups for made in evaluate_batch(model, plan, group)]
    whole = time.perf_counter() - start
    if not any(row.values for _, scores in rows for row in scores):
        failures = [row.failure for both in rows for one in both for row in one]
        raise ImageError(f"no image was scored: {first_reasons(failures)}")
    spent = {
        kind: (samples - before[kind][0], seconds - before[kind][1])
        for kind, (samples, seconds) in model.pool.usage().items()
        if samples > before[kind][0]
    }
    tracker.advance(images)
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
