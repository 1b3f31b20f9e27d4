"""Measure cheaper precisions against float32: the time of a pass, and how far the scores differ.

The passes of all precisions are run in turns, so that other work on the machine slows them alike;
only the ratios count. Run it once per package of onnxruntime, because OpenVINO has its own.

    python benchmarks/precisions.py mobilenet_v2.onnx --images photos/ --preprocess torch
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import adcc_onnx as adcc
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.calibrated_model import calibrated
from adcc_onnx.images.sources.given_images import as_source
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.model import Model
from adcc_onnx.runtime.autotuning import back_to_back, random_feeds
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.precisions import machine_precisions
from adcc_onnx.studies.throughput import deviations, random_images

METHODS = ("gradcam", "gradcam++", "layercam", "eigencam")
METRICS = ("adcc", "deletion(steps=28)", "insertion(steps=28)")
PASSES = (Pass.FORWARD, Pass.GRADIENTS)


def main() -> None:
    """Measure, and print one table of times and one of differences."""
    options = _parser().parse_args()
    source = subsample(as_source(str(options.images)), options.limit)
    models = dict(_models(options, source))
    if options.rounds:
        print(f"{'precision':16} {'pass':10} time relative to float32 on {options.exact}")
        for (name, what), ratio in _ratios(models, options.rounds, options.evaluated).items():
            print(f"{name:16} {what:10} {ratio:.3f}", flush=True)
    exact, *cheaper = models.items()
    for name, model in cheaper if options.accuracy else ():
        print(f"\n{name} against {exact[0]} on {len(source)} images", flush=True)
        found = [_correlation(exact[1], model, source, method) for method in METHODS]
        for method, values in zip(METHODS, found, strict=True):
            mean, least = float(values.mean()), float(values.min())
            print(f"  {method:12} correlation of maps: mean {mean:.4f}, least {least:.4f}")
        plan = make_plan(METHODS, METRICS)
        differences = deviations(model, exact[1], source, plan)
        for method, of_method in differences.items():
            for metric, (mean, largest) in of_method.items():
                print(f"  {method:12} {metric:20} mean {mean:.4f}, largest {largest:.4f}")
        results = [adcc.evaluate(one, source, METHODS, METRICS) for one in (exact[1], model)]
        for method in results[0].methods:
            one, other = (result.methods[method].scores for result in results)
            shifts = {key: round(100 * (other[key] - one[key]), 3) for key in one}
            print(f"  {method:12} points: {shifts}")


def _models(options: argparse.Namespace, source: Source) -> Iterator[tuple[str, Model]]:
    """Load the model in float32 and in the precisions of this machine, calibrated."""
    settings = {"preprocessing": options.preprocess, "batch_size": options.batch}
    places = [(options.exact, "fp32")]
    for one in machine_precisions():
        places += [(one.device, one.name)] if one.available else []
    if ("openvino", "bf16") in places:
        places += [("openvino", "fp32"), ("openvino", "int8")]
    for device, precision in dict.fromkeys(places):
        model = adcc.load(options.model, device=device, precision=precision, **settings)
        yield f"{device} {precision}", calibrated(model, source)


def _ratios(models: dict[str, Model], rounds: int, evaluated: int) -> dict[tuple[str, str], float]:
    """Return the time relative to the first model, the median of paired rounds.

    Args:
        models: The models.
        rounds: The number of rounds after the first one, which does not count.
        evaluated: The number of random images whose evaluation is measured, too.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    source = random_images(next(iter(models.values())), evaluated) if evaluated else None
    for _ in range(rounds + 1):
        for name, model in models.items():
            for kind in PASSES:
                session, feeds = model.pool.session(kind), random_feeds(model.pool, kind)
                taken = back_to_back(session, feeds, 1, 1)
                seconds.setdefault((name, kind.name.lower()), []).append(taken)
            if source is not None:
                start = time.perf_counter()
                adcc.evaluate(model, source, METHODS, thumbnails=False)
                seconds.setdefault((name, "evaluate"), []).append(time.perf_counter() - start)
    first = next(iter(models))
    return {
        (name, what): statistics.median(
            one / exact for one, exact in zip(own[1:], seconds[first, what][1:], strict=True)
        )
        for (name, what), own in seconds.items()
    }


def _correlation(exact: Model, other: Model, source: Source, method: str) -> NDArray[np.float64]:
    """Return the correlation of the maps of each image."""
    maps = [adcc.explain(one, source, method).maps for one in (exact, other)]
    pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]] = list(zip(*maps, strict=True))
    return np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("--images", default="drawings:32")
    parser.add_argument("--preprocess")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--evaluated", type=int, default=0, help="images of a timed evaluation")
    parser.add_argument("--exact", default="cpu", help="device of the model in float32")
    parser.add_argument("--accuracy", action="store_true", help="also compare maps and scores")
    return parser


if __name__ == "__main__":
    main()
