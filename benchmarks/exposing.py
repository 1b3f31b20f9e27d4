"""Overhead of exposing a layer: a run of the exposed model against one of the original model.

The lower limit is the original forward pass: at a layer just before global pooling, the gradient is
a product of two small matrices. Both runs are interleaved.

    python benchmarks/exposing.py [MODEL.onnx...]

Without models, it measures torchvision's ResNet-50 and MobileNetV2 with random weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from adcc_onnx.graph.programs.expose import expose

PAIRS, WARM_UP, BATCH = 60, 5, 4


def session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Open a session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def pairs(model: onnx.ModelProto, threads: int, count: int) -> Iterator[tuple[float, float]]:
    """Yield (seconds of an original pass, seconds of an exposed pass), interleaved."""
    original, exposed = session(model, threads), session(expose(model), threads)
    image = original.get_inputs()[0]
    shape = [size if isinstance(size, int) else BATCH for size in image.shape]
    feeds = {image.name: np.random.default_rng(0).standard_normal(shape, np.float32)}
    targeted = feeds | {"target": np.full(shape[0], -1)}
    for number in range(WARM_UP + count):
        taken = []
        # The order alternates, so that warm caches favor neither.
        order = ((original, feeds), (exposed, targeted))
        for chosen, inputs in order if number % 2 else order[::-1]:
            start = time.perf_counter()
            chosen.run(None, inputs)
            taken.append(time.perf_counter() - start)
        if number >= WARM_UP:
            yield (taken[0], taken[1]) if number % 2 else (taken[1], taken[0])


def measure(name: str, model: onnx.ModelProto, threads: int, count: int) -> str:
    """Measure one model; returns a row of the table."""
    start = time.process_time()
    expose(model)
    writing = time.process_time() - start
    found = list(pairs(model, threads, count))
    ratio = statistics.median(after / before for before, after in found)
    before = 1000 * statistics.median(before for before, _ in found)
    nodes = len(model.graph.node)
    return f"| {name} | {nodes} | {writing:.2f} | {before:.1f} | {ratio:.3f} |"


def exported(name: str, folder: Path) -> onnx.ModelProto:
    """Export a torchvision model with random weights."""
    from adcc_onnx.exporting import export

    return onnx.load(export(f"torchvision:{name}", folder / f"{name}.onnx", "none"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    print(f"batch of {BATCH}, {options.threads} threads, {options.pairs} interleaved pairs\n")
    print("| model | nodes | seconds to differentiate | original pass, ms | exposed / original |")
    print("| --- | --- | --- | --- | --- |")
    for path in options.models:
        print(measure(path.stem, onnx.load(path), options.threads, options.pairs), flush=True)
    if not options.models:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name in ("resnet50", "mobilenet_v2"):
                model = exported(name, Path(folder))
                print(measure(name, model, options.threads, options.pairs), flush=True)


if __name__ == "__main__":
    main()
