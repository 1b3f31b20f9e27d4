"""Compare the time of an exposed model with that of the plain model, in interleaved runs.

The limit is the plain forward pass: at a layer just before global pooling, the gradient is a
product of two small matrices. Run as `python benchmarks/exposing.py [MODEL.onnx...]`. The default
models are torchvision's ResNet-50 and MobileNetV2 with random weights.
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
    """Return a CPU session with a fixed number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def pairs(model: onnx.ModelProto, threads: int, count: int) -> Iterator[tuple[float, float]]:
    """Yield (seconds of a plain pass, seconds of an exposed pass)."""
    plain, exposed = session(model, threads), session(expose(model), threads)
    image = plain.get_inputs()[0]
    shape = [size if isinstance(size, int) else BATCH for size in image.shape]
    feeds = {image.name: np.random.default_rng(0).standard_normal(shape, np.float32)}
    targeted = feeds | {"target": np.full(shape[0], -1)}
    for number in range(WARM_UP + count):
        taken = []
        # The order alternates, so that neither model always benefits from warm caches.
        order = ((plain, feeds), (exposed, targeted))
        for run, given in order if number % 2 else order[::-1]:
            start = time.perf_counter()
            run.run(None, given)
            taken.append(time.perf_counter() - start)
        if number >= WARM_UP:
            yield (taken[0], taken[1]) if number % 2 else (taken[1], taken[0])


def measured(name: str, model: onnx.ModelProto, threads: int, count: int) -> str:
    """Measure one model and return a row of the table."""
    start = time.process_time()
    expose(model)
    writing = time.process_time() - start
    found = list(pairs(model, threads, count))
    ratio = statistics.median(after / before for before, after in found)
    before = 1000 * statistics.median(before for before, _ in found)
    nodes = len(model.graph.node)
    return f"| {name} | {nodes} | {writing:.2f} | {before:.1f} | {ratio:.3f} |"


def exported(name: str, folder: Path) -> onnx.ModelProto:
    """Export a torchvision network with random weights."""
    from adcc_onnx.exporting import export

    return onnx.load(export(f"torchvision:{name}", folder / f"{name}.onnx", "none"))


def main() -> None:
    """Measure the models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    print(f"batch of {BATCH}, {options.threads} threads, {options.pairs} interleaved pairs\n")
    print("| model | nodes | differentiation, s | plain pass, ms | exposed / plain |")
    print("| --- | --- | --- | --- | --- |")
    for path in options.models:
        print(measured(path.stem, onnx.load(path), options.threads, options.pairs), flush=True)
    if not options.models:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name in ("resnet50", "mobilenet_v2"):
                model = exported(name, Path(folder))
                print(measured(name, model, options.threads, options.pairs), flush=True)


if __name__ == "__main__":
    main()
