"""Overhead of exposing a layer: a run of the exposed model against one of the original model.

The lower limit is the original forward pass: at a layer just before global pooling, the gradient is
a product of two small matrices. Evaluations on the CPU also replace operators whose kernels are
slow; the last column shows what this gains. All runs are interleaved.

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
import onnx_ir as ir
import onnxruntime

from adcc_onnx.graph.passes.cpu_form import to_cpu_form
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose

ROUNDS, WARM_UP, BATCH = 60, 5, 4


def session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Open a session on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def cpu_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph as evaluations open it on the CPU."""
    rewritten = prepare(ir.from_proto(model))
    to_cpu_form(rewritten)
    return ir.to_proto(rewritten)


def inputs_of(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Return random images, and the predicted class as the target of exposed models."""
    image, *target = session.get_inputs()
    shape = [size if isinstance(size, int) else BATCH for size in image.shape]
    images = np.random.default_rng(0).standard_normal(shape, np.float32)
    return {image.name: images, **{one.name: np.full(shape[0], -1) for one in target}}


def rounds(models: list[onnx.ModelProto], threads: int, count: int) -> Iterator[list[float]]:
    """Yield the seconds of a pass of each model, interleaved."""
    sessions = [session(model, threads) for model in models]
    inputs = [inputs_of(one) for one in sessions]
    for number in range(WARM_UP + count):
        taken = [0.0] * len(models)
        # The order alternates, so that warm caches favor none.
        for index in range(len(models))[:: 1 if number % 2 else -1]:
            start = time.perf_counter()
            sessions[index].run(None, inputs[index])
            taken[index] = time.perf_counter() - start
        if number >= WARM_UP:
            yield taken


def measure(name: str, model: onnx.ModelProto, threads: int, count: int) -> str:
    """Measure one model; returns a row of the table."""
    start = time.process_time()
    exposed = expose(model)
    writing = time.process_time() - start
    found = list(rounds([model, exposed, cpu_form(exposed)], threads, count))
    plain = 1000 * statistics.median(original for original, *_ in found)
    ratios = [statistics.median(taken[which] / taken[0] for taken in found) for which in (1, 2)]
    nodes = len(model.graph.node)
    cells = [name, str(nodes), f"{writing:.2f}", f"{plain:.1f}", *(f"{one:.3f}" for one in ratios)]
    return f"| {' | '.join(cells)} |"


def exported(name: str, folder: Path) -> onnx.ModelProto:
    """Export a torchvision model with random weights."""
    from adcc_onnx.exporting import export

    return onnx.load(export(f"torchvision:{name}", folder / f"{name}.onnx", "none"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(f"batch of {BATCH}, {options.threads} threads, {options.rounds} interleaved rounds\n")
    columns = ["model", "nodes", "seconds to differentiate", "original pass, ms"]
    columns += ["exposed / original", "exposed, in the form for the CPU / original"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for path in options.models:
        print(measure(path.stem, onnx.load(path), options.threads, options.rounds), flush=True)
    if not options.models:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            for name in ("resnet50", "mobilenet_v2"):
                model = exported(name, Path(folder))
                print(measure(name, model, options.threads, options.rounds), flush=True)


if __name__ == "__main__":
    main()
