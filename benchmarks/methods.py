"""Time of each method relative to the raw model passes that its definition needs.

The limit of a method is the time that onnxruntime alone takes for these passes, at the batch size
that the library uses:

* A forward pass is a run of the original model.
* A backward pass, where the definition needs a gradient, is a run of the exposed model (forward and
  backward in one): back to the layer, or back to the image for pixel methods and Opti-CAM.
* A suffix pass is a run of the part of the original model after the layer.

Methods that mask a single image get one image, the others a full batch. `limit / time` is 1 if
masking, weighting, normalizing and upsampling take no time. Raw passes are interleaved with those
of the library, so that other load on the machine slows both; the table shows the median of several
runs. `--busy` measures the CPU seconds of one thread instead, which other load affects little.

    python benchmarks/methods.py [MODEL.onnx...]

Without models, it measures torchvision's MobileNetV2 and ResNet-50 with random weights.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from exposing import exported

import adcc_onnx as adcc

SECONDS, MAX_REPETITIONS = 15.0, 15  # per method
RAW_RUNS = 40  # approximate number of raw runs interleaved with one run of a method
FORWARD, BACKWARD, FULL, SUFFIX = "forward", "backward", "full backward", "suffix"
ORT_OPTIONS = onnxruntime.SessionOptions
ORT_RUN = onnxruntime.InferenceSession.run_with_iobinding  # as the library runs its sessions
Run = tuple[str, int]  # kind of pass, batch size


@dataclass(frozen=True)
class Facts:
    """Numbers that determine how many passes a method needs.

    Attributes:
        batch: Batch size.
        live: Number of distinct channel masks that are not constant.
        nonzero: Number of channels that are not zero everywhere.
        locations: Number of spatial locations of the layer.
    """

    batch: int
    live: int
    nonzero: int
    locations: int


@dataclass(frozen=True)
class Case:
    """A method and the passes that its definition needs.

    Attributes:
        text: Specification of the method.
        passes: Function to the (kind, number) of passes per image; the first is on the image
            itself.
        single_image: Whether the method gets one image instead of a batch.
        warm_up: The method with few passes, run once before. Default: the method itself.
    """

    text: str
    passes: Callable[[Facts], list[tuple[str, float]]]
    single_image: bool = False
    warm_up: str = ""

    def runs(self, facts: Facts) -> dict[Run, float]:
        """Count the runs of each kind and batch size."""
        first, *others = self.passes(facts)
        if not self.single_image:
            return {(kind, facts.batch): count for kind, count in (first, *others)}
        batches = {(kind, facts.batch): count / facts.batch for kind, count in others}
        return {(first[0], 1): first[1], **batches}


CASES = [
    *(
        Case(name, lambda f: [(FORWARD, 1)])
        for name in ("fakecam", "random", "center", "eigencam", "kpcacam")
    ),
    *(
        Case(name, lambda f: [(BACKWARD, 1)])
        for name in (
            "gradcam",
            "gradcam++",
            "xgradcam",
            "layercam",
            "hirescam",
            "eigengradcam",
            "cam",
            "gradcamelementwise",
            "segeigencam",
        )
    ),
    Case("finercam", lambda f: [(FORWARD, 1), (BACKWARD, 1)]),
    Case("shapleycam", lambda f: [(FORWARD, 1), (BACKWARD, 1)]),
    Case("smoothgradcam++(n=4)", lambda f: [(BACKWARD, 5)]),
    Case("scorecam", lambda f: [(FORWARD, 1), (FORWARD, f.live)], True, "scorecam(passes=8)"),
    Case("scorecam(passes=128)", lambda f: [(FORWARD, 1), (FORWARD, 128)], True),
    Case("sscam(n=1)", lambda f: [(FORWARD, 1), (FORWARD, f.live)], True, "sscam(n=1, passes=8)"),
    Case("iscam(n=1)", lambda f: [(FORWARD, 1), (FORWARD, f.live)], True, "iscam(n=1, passes=8)"),
    Case("groupcam", lambda f: [(BACKWARD, 1), (FORWARD, 33)], True),
    Case("rise(masks=256)", lambda f: [(FORWARD, 1), (FORWARD, 256)], True, "rise(masks=8)"),
    Case("ablationcam", lambda f: [(FORWARD, 1), (SUFFIX, 1 + f.nonzero)], True),
    Case("reciprocam", lambda f: [(FORWARD, 1), (SUFFIX, f.locations)], True),
    Case("opticam(steps=10)", lambda f: [(FORWARD, 1), (FULL, 10)]),
    Case("saliency", lambda f: [(FULL, 1)]),
    Case("inputxgradient", lambda f: [(FULL, 1)]),
    Case("fullgrad", lambda f: [(FORWARD, 1), (FULL, 1)]),
    Case("smoothgrad(n=4)", lambda f: [(FULL, 4)]),
    Case("integratedgradients(steps=8)", lambda f: [(FULL, 8)]),
    Case("rollout", lambda f: [(FORWARD, 1)]),
    Case("chefer", lambda f: [(FULL, 1)]),
    Case("attentioncam", lambda f: [(FULL, 1)]),
    Case("attcat", lambda f: [(FULL, 1)]),
    Case("legrad", lambda f: [(FORWARD, 1), (FULL, 1)]),
    Case("tokentm", lambda f: [(FULL, 1)]),
]


class OneThread(ORT_OPTIONS):
    """Session options that always use one thread."""

    intra_op_num_threads = property(lambda self: 1, lambda self, count: None)

    def __init__(self) -> None:
        super().__init__()
        ORT_OPTIONS.intra_op_num_threads.__set__(self, 1)


class Clock:
    """Measures wall time, or the CPU seconds of one thread on a busy machine.

    Args:
        busy: Whether to measure CPU seconds.
    """

    def __init__(self, busy: bool) -> None:
        self.now = time.process_time if busy else time.perf_counter
        if busy:
            onnxruntime.SessionOptions = OneThread


class Raw:
    """Raw passes of a model with onnxruntime alone.

    Args:
        path: ONNX file of the model.
        clock: Clock to measure with.

    Attributes:
        clock: Clock to measure with.
        model: The model as loaded by the library.
        images: A full batch of random tensors.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.model = adcc.load(path, preprocessing="torch", device="cpu")
        original, exposed = onnx.load(path), adcc.expose(path)
        names = [output.name for output in exposed.graph.output]
        layer = next(name for name in names if name.endswith(".activation")).rsplit(".", 1)[0]
        shaped = onnx.shape_inference.infer_shapes(original)
        outputs = [original.graph.output[0].name]
        protos = {FORWARD: original, BACKWARD: exposed, FULL: adcc.expose(path, ["input"])}
        if self.model.layers[0].kind == "feature_map":  # the image reaches the scores only by it
            protos[SUFFIX] = onnx.utils.Extractor(shaped).extract_model([layer], outputs)
        self._sessions = {
            kind: onnxruntime.InferenceSession(
                proto.SerializeToString(),
                onnxruntime.SessionOptions(),
                providers=["CPUExecutionProvider"],
            )
            for kind, proto in protos.items()
        }
        image = self._sessions[FORWARD].get_inputs()[0]
        shape = (self.model.batch, *image.shape[1:])
        self.images = np.random.default_rng(0).standard_normal(shape, np.float32)
        targeted = {image.name: self.images, "target": np.full(len(self.images), -1)}
        outputs_by_name = dict(
            zip(names, self._sessions[BACKWARD].run(None, targeted), strict=True)
        )
        self._activations = outputs_by_name[f"{layer}.activation"]
        self._feeds = {
            FORWARD: {image.name: self.images},
            BACKWARD: targeted,
            FULL: targeted,
            SUFFIX: {layer: self._activations},
        }

    def facts(self) -> Facts:
        """Count masks, channels and locations on the first image."""
        first = self._activations[0].reshape(len(self._activations[0]), -1)
        low, high = first.min(axis=1, keepdims=True), first.max(axis=1, keepdims=True)
        varying = (low != high)[:, 0]
        masks = ((first - low)[varying]) / ((high - low)[varying])
        live = len(np.unique(masks, axis=0))
        nonzero = int(first.any(axis=1).sum())
        return Facts(self.model.batch, live, nonzero, first.shape[1])

    def seconds(self, run: Run) -> float:
        """Measure one raw run."""
        kind, count = run
        feeds = {name: array[:count] for name, array in self._feeds[kind].items()}
        start = self.clock.now()
        self._sessions[kind].run(None, feeds)
        return self.clock.now() - start


def measure(raw: Raw, case: Case, facts: Facts) -> tuple[float, float]:
    """Measure the limit and the time of one call of a method, in seconds."""
    images = raw.images[:1] if case.single_image else raw.images
    runs = case.runs(facts)
    frequent = max(runs, key=lambda run: runs[run])
    every = max(1, int(runs[frequent] / RAW_RUNS))
    with interleaved(raw, frequent, every) as taken:
        start = raw.clock.now()
        adcc.explain(raw.model, images, case.text)
        total = raw.clock.now() - start - sum(taken[1:])
    times = {run: [raw.seconds(run) for _ in range(3)] for run in runs if run != frequent}
    times[frequent] = taken
    return sum(count * statistics.mean(times[run]) for run, count in runs.items()), total


@contextmanager
def interleaved(raw: Raw, run: Run, every: int) -> Iterator[list[float]]:
    """Collect the seconds of raw runs: one before, and one after every n-th run of the library."""
    taken, turns = [raw.seconds(run)], itertools.count(1)

    def followed(session: onnxruntime.InferenceSession, *inputs: Any, **options: Any) -> Any:
        results = ORT_RUN(session, *inputs, **options)
        if next(turns) % every == 0:
            taken.append(raw.seconds(run))
        return results

    onnxruntime.InferenceSession.run_with_iobinding = followed
    try:
        yield taken
    finally:
        onnxruntime.InferenceSession.run_with_iobinding = ORT_RUN


def row(raw: Raw, case: Case, facts: Facts, seconds: float) -> str:
    """Measure one method; returns a row of the table."""
    adcc.explain(
        raw.model, raw.images[:1] if case.single_image else raw.images, case.warm_up or case.text
    )
    found: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(found) < MAX_REPETITIONS and (not found or time.perf_counter() - start < seconds):
        found.append(measure(raw, case, facts))
    images = 1 if case.single_image else facts.batch
    limit, total = (1000 * statistics.median(times) / images for times in zip(*found, strict=True))
    ratio = statistics.median(limit / total for limit, total in found)
    passes = " + ".join(f"{count:g} {kind}" for kind, count in case.passes(facts))
    return f"| {case.text} | {passes} | {limit:.1f} | {total:.1f} | {ratio:.2f} | {len(found)} |"


def table(name: str, path: Path, clock: Clock, seconds: float, only: list[str]) -> None:
    """Print the table of one model."""
    raw = Raw(path, clock)
    facts = raw.facts()
    print(f"\n{name}: {facts}\n")
    print("| method | passes per image | limit, ms | time, ms | limit / time | runs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        if only and case.text.split("(")[0] not in only:
            continue
        try:
            print(row(raw, case, facts, seconds), flush=True)
        except adcc.AdccError as error:
            print(f"{case.text}: {error}", file=sys.stderr)


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="Time limit per method.")
    parser.add_argument("--only", action="append", default=[], help="Name of a method; repeatable.")
    parser.add_argument("--busy", action="store_true", help="Measure CPU seconds of one thread.")
    options = parser.parse_args()
    clock = Clock(options.busy)
    for path in options.models:
        table(path.stem, path, clock, options.seconds, options.only)
    if not options.models:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("mobilenet_v2", "resnet50"):
                onnx.save(exported(name, Path(folder)), Path(folder) / f"{name}.onnx")
                table(name, Path(folder) / f"{name}.onnx", clock, options.seconds, options.only)


if __name__ == "__main__":
    main()
