"""`adcc-onnx benchmark`: how near an evaluation comes to the raw onnxruntime passes it needs.

The limit is the time that onnxruntime alone takes for the same passes, back to back on ready
tensors, at the same batch, threads and runs side by side; a pass behind masks or replaced pixels is
held against the plain forward pass. Rounds of both are interleaved, and medians taken.
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
from adcc_onnx.results.store import Progress, Store
from adcc_onnx.runtime.autotuning import back_to_back, feeds_of

# Method -> metric -> (mean, greatest) absolute difference of an image's value.
Deviations = dict[str, dict[str, tuple[float, float]]]

# Passes with a raw pass of their own. Of the others the plain forward pass is the raw one (what
# masks and replaced pixels add is ours to make cheap), but for those that run part of a model.
_RAW = (Pass.FORWARD, Pass.GRADIENTS, Pass.IMAGE_GRADIENTS)
_UNLIKE = (Pass.SUFFIX, Pass.SHARE_GRADIENTS)


@dataclass(frozen=True)
class Benchmark:
    """What was measured; seconds are an image's.

    Attributes:
        model, device: what ran where.
        methods, metrics: what was asked.
        images: evaluated in each round.
        batch, threads, lanes: the pace.
        passes: runs of the model an image, by kind.
        raw_passes_per_second: of the plain forward pass.
        images_per_second: of the evaluation.
        limit: images a second if there were only the passes.
        ratio: of the evaluation's speed to the limit, the median of the rounds.
        decode, run, kernels, store: where the time of one image goes, each measured alone: reading
            and preprocessing, inside onnxruntime, everything around it, SQLite. They overlap.
        peak_memory: of the process, bytes.
        precision: that the model computes in.
        deviation: where that is not float32, method -> metric -> (mean, greatest) absolute
            difference of an image's value from that in float32.
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


def benchmark(
    model: Model,
    source: Source,
    plan: Plan,
    rounds: int = 5,
    progress: Callable[[int], None] = lambda rounds: None,
    reference: Model | None = None,
) -> Benchmark:
    """Measure an evaluation against its limit.

    Args:
        model, source, plan: as for an evaluation; every round evaluates the whole source.
        rounds: at least 1; the median counts.
        progress: called with 1 after each round.
        reference: the same model in float32, where `model` is of another precision.

    Raises:
        OptionError: no image could be read.
    """
    _evaluated(model, source, plan)  # compiles kernels and opens sessions
    parts = _measured_parts(model, source, plan)
    raw_speeds, speeds, limits = [], [], []
    for _ in range(max(1, rounds)):
        forward = _raw_seconds(model, Pass.FORWARD)
        raw = {kind: _raw_seconds(model, kind) for kind in parts.passes.keys() & set(_RAW)}
        seconds = {kind: raw.get(kind, forward) for kind in parts.passes} | parts.unlike
        limits.append(1 / sum(count * seconds[kind] for kind, count in parts.passes.items()))
        raw_speeds.append(1 / forward)
        start = time.perf_counter()
        _evaluated(model, source, plan)
        speeds.append(len(source) / (time.perf_counter() - start))
        progress(1)
    return Benchmark(
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
    """How far each image's values are from those of a reference; see `Benchmark.deviation`."""
    found, expected = (_values(one, source, plan) for one in (model, reference))
    apart: dict[str, dict[str, list[float]]] = {}
    for (image, method, metric), value in expected.items():
        other = found.get((image, method, metric))
        if other is not None:
            apart.setdefault(method, {}).setdefault(metric, []).append(abs(other - value))
    return {
        method: {name: (statistics.fmean(each), max(each)) for name, each in of_method.items()}
        for method, of_method in apart.items()
    }


def _values(model: Model, source: Source, plan: Plan) -> dict[tuple[int, str, str], float]:
    """Every value of an evaluation, by the image's position, the method and the metric."""
    with prefetch(source, model, Progress(set(), {}), plan.truth) as stream:
        return {
            (row.position, row.method, metric): value
            for group in batches(stream, model.batch)
            for _, rows in evaluate_batch(model, plan, group)
            for row in rows
            for metric, value in row.values.items()
        }


def random_images(model: Model, count: int | None = None) -> Source:
    """Ready tensors of random numbers, 32 of them unless told otherwise."""
    shape = (count or 32, model.classifier.channels, *model.size)
    return open_arrays(np.random.default_rng(0).standard_normal(shape, np.float32))


def _evaluated(model: Model, source: Source, plan: Plan) -> None:
    with Store.create(None) as store:
        evaluate_into(store, model, source, plan, "benchmark")


def _raw_seconds(model: Model, kind: Pass) -> float:
    """Seconds an image of one kind of pass, back to back in every lane."""
    session, feeds = model.session(kind), feeds_of(model, kind)
    session.run(feeds)
    runs = max(2, round(16 / model.batch))
    taken = back_to_back(session, feeds, runs, model.concurrent_runs)
    return taken / (runs * model.batch * model.concurrent_runs)


@dataclass(frozen=True)
class _Parts:
    """An image's share of one evaluation, step after step: passes by kind, and seconds.

    `unlike` has the seconds of passes that run another graph than a raw pass, as they were.
    """

    passes: dict[Pass, float]
    unlike: dict[Pass, float]
    run: float
    kernels: float
    store: float


def _measured_parts(model: Model, source: Source, plan: Plan) -> _Parts:
    with prefetch(source, model, Progress(set(), {}), plan.truth) as stream:
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
        {k: seconds / samples for k, (samples, seconds) in spent.items() if k in _UNLIKE},
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
