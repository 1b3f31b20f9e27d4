"""Compare the time of each method with the raw passes that its definition needs.

The limit of a method is the time of these passes under plain onnxruntime, without any other work,
at the batch size of the library:

* a forward pass runs the user's own model;
* a backward pass, if the definition needs a gradient, runs the exposed model (forward and backward
  together): down to the layer, or down to the image for pixel methods and Opti-CAM;
* a suffix pass runs the part of the user's own model after the layer.

Methods that mask an image get one image; the others get a full batch. `limit / time` is 1 if
masking, weighting, normalization and upsampling cost nothing. Raw passes and passes of the library
alternate within one run, so that other work of the machine slows both equally. The result is the
median of several runs. `--busy` measures CPU seconds of one thread instead, which are almost
independent of other work. Run as `python benchmarks/methods.py [MODEL.onnx...]`. The default
models are torchvision's MobileNetV2 and ResNet-50 with random weights.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
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

SECONDS, MOST = 15.0, 15  # time limit and maximum number of repetitions of a method
PAIRS = 40  # approximate maximum number of raw runs during one call of a method
FORWARD, BACKWARD, FULL, SUFFIX = "forward", "backward", "full backward", "suffix"
PLAIN_OPTIONS = onnxruntime.SessionOptions
PLAIN_RUN = onnxruntime.InferenceSession.run_with_iobinding  # as the library runs its sessions
Run = tuple[str, int]  # the kind of pass and its batch size


@dataclass(frozen=True)
class Facts:
    """Numbers that determine how many passes a method needs.

    Attributes:
        batch: Batch size.
        live: Number of distinct masks of channels that are not constant.
        nonzero: Number of channels that are not zero everywhere.
        locations: Number of locations of the layer, h w.
    """

    batch: int
    live: int
    nonzero: int
    locations: int


@dataclass(frozen=True)
class Case:
    """A method, and the passes that its definition needs.

    Attributes:
        text: Method with its options.
        passes: Returns (kind, number of passes) per image; passes on the image itself come first.
        single_image: Whether the method gets one image instead of a batch.
        warm: Method with few passes that is run once before the measurement; `text` if empty.
    """

    text: str
    passes: Callable[[Facts], list[tuple[str, float]]]
    single_image: bool = False
    warm: str = ""

    def runs(self, facts: Facts) -> dict[Run, float]:
        """Return the number of runs of each kind and batch size."""
        first, *others = self.passes(facts)
        if not self.single_image:
            return {(kind, facts.batch): count for kind, count in (first, *others)}
        whole = {(kind, facts.batch): count / facts.batch for kind, count in others}
        return {(first[0], 1): first[1], **whole}


CASES = [
    *(
        Case(name, lambda f: [(FORWARD, 1)])
        for name in ("fakecam", "random", "center", "eigencam", "kpcacam")
    ),
    *(
        Case(name, lambda f: [(BACKWARD, 1)])
        for name in ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigengradcam")
    ),
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
    Case("smoothgrad(n=4)", lambda f: [(FULL, 4)]),
    Case("integratedgradients(steps=8)", lambda f: [(FULL, 8)]),
]


class OneThread(PLAIN_OPTIONS):
    """Session options that always use one thread."""

    intra_op_num_threads = property(lambda self: 1, lambda self, count: None)

    def __init__(self) -> None:
        super().__init__()
        PLAIN_OPTIONS.intra_op_num_threads.__set__(self, 1)


class Clock:
    """Measures wall seconds, or CPU seconds of one thread on a busy machine."""

    def __init__(self, busy: bool) -> None:
        self.now = time.process_time if busy else time.perf_counter
        if busy:
            onnxruntime.SessionOptions = OneThread


class Raw:
    """A model's raw passes under plain onnxruntime.

    Attributes:
        clock: Clock of the measurements.
        model: The same model, loaded by the library.
        images: Full batch of random tensors.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.model = adcc.load(path, preprocessing="torch", device="cpu")
        plain, exposed = onnx.load(path), adcc.expose(path)
        names = [output.name for output in exposed.graph.output]
        layer = next(name for name in names if name.endswith(".activation")).rsplit(".", 1)[0]
        shaped = onnx.shape_inference.infer_shapes(plain)
        suffix = onnx.utils.Extractor(shaped).extract_model([layer], [plain.graph.output[0].name])
        protos = {
            FORWARD: plain,
            BACKWARD: exposed,
            FULL: adcc.expose(path, ["input"]),
            SUFFIX: suffix,
        }
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
        outputs = dict(zip(names, self._sessions[BACKWARD].run(None, targeted), strict=True))
        self._activations = outputs[f"{layer}.activation"]
        self._feeds = {
            FORWARD: {image.name: self.images},
            BACKWARD: targeted,
            FULL: targeted,
            SUFFIX: {layer: self._activations},
        }

    def facts(self) -> Facts:
        """Return the numbers for the first image."""
        first = self._activations[0].reshape(len(self._activations[0]), -1)
        low, high = first.min(axis=1, keepdims=True), first.max(axis=1, keepdims=True)
        moving = (low != high)[:, 0]
        masks = ((first - low)[moving]) / ((high - low)[moving])
        live = len(np.unique(masks, axis=0))
        nonzero = int(first.any(axis=1).sum())
        return Facts(self.model.batch, live, nonzero, first.shape[1])

    def seconds(self, run: Run) -> float:
        """Measure one run."""
        kind, count = run
        feeds = {name: array[:count] for name, array in self._feeds[kind].items()}
        start = self.clock.now()
        self._sessions[kind].run(None, feeds)
        return self.clock.now() - start


def measure(raw: Raw, case: Case, facts: Facts) -> tuple[float, float]:
    """Return (limit, time) of one call of the method, in seconds."""
    images = raw.images[:1] if case.single_image else raw.images
    runs = case.runs(facts)
    most = max(runs, key=lambda run: runs[run])
    every = max(1, int(runs[most] / PAIRS))
    with interleaved(raw, most, every) as taken:
        start = raw.clock.now()
        adcc.explain(raw.model, images, case.text)
        whole = raw.clock.now() - start - sum(taken[1:])
    each = {run: [raw.seconds(run) for _ in range(3)] for run in runs if run != most} | {
        most: taken
    }
    return sum(count * statistics.mean(each[run]) for run, count in runs.items()), whole


@contextmanager
def interleaved(raw: Raw, run: Run, every: int) -> Iterator[list[float]]:
    """Seconds of raw runs: one before, and one after each `every`-th run that the library makes."""
    taken, turns = [raw.seconds(run)], itertools.count(1)

    def followed(session: onnxruntime.InferenceSession, *given: Any, **options: Any) -> Any:
        results = PLAIN_RUN(session, *given, **options)
        if next(turns) % every == 0:
            taken.append(raw.seconds(run))
        return results

    onnxruntime.InferenceSession.run_with_iobinding = followed
    try:
        yield taken
    finally:
        onnxruntime.InferenceSession.run_with_iobinding = PLAIN_RUN


def row(raw: Raw, case: Case, facts: Facts, seconds: float) -> str:
    """Measure one method and return a row of the table."""
    adcc.explain(
        raw.model, raw.images[:1] if case.single_image else raw.images, case.warm or case.text
    )
    found: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(found) < MOST and (not found or time.perf_counter() - start < seconds):
        found.append(measure(raw, case, facts))
    images = 1 if case.single_image else facts.batch
    limit, whole = (1000 * statistics.median(times) / images for times in zip(*found, strict=True))
    ratio = statistics.median(limit / whole for limit, whole in found)
    passes = " + ".join(f"{count:g} {kind}" for kind, count in case.passes(facts))
    return f"| {case.text} | {passes} | {limit:.1f} | {whole:.1f} | {ratio:.2f} | {len(found)} |"


def table(name: str, path: Path, clock: Clock, seconds: float, only: list[str]) -> None:
    """Measure all methods on one model and print the table."""
    raw = Raw(path, clock)
    facts = raw.facts()
    print(f"\n{name}: {facts}\n")
    print("| method | passes per image | limit, ms | time, ms | limit / time | runs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        if not only or case.text.split("(")[0] in only:
            print(row(raw, case, facts, seconds), flush=True)


def main() -> None:
    """Measure the models and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="Time limit for each method."
    )
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
