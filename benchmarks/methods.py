"""What each method takes, against the passes of the raw model that its definition needs.

The limit of a method is the time that plain onnxruntime takes for those passes, with nothing done
before, between or after them, at the batch size that the library uses:

* a forward pass is a run of the user's own model;
* a backward pass, where the definition needs a gradient, is a run of the exposed model (forward and
  backward in one): down to the layer, or down to the image for pixel methods and Opti-CAM;
* a tail pass is a run of the user's own model cut off at the layer.

Methods that mask one image are given one image, the others a full batch. `limit / time` is 1 where
masking, weighting, normalizing and upsampling cost nothing. Raw passes and the library's own take
turns within one run, so that whatever else the machine does slows both; the median of several runs
counts. `--busy` counts CPU seconds of one thread instead, which other work disturbs little. Run as
`python benchmarks/methods.py [MODEL.onnx...]`; without models, torchvision's MobileNetV2 and
ResNet-50 with random weights.
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

SECONDS, MOST = 15.0, 15  # a method is repeated for so long, and so often at the most
PAIRS = 40  # a raw run is made after every run of the library's, or about so often in a method
FORWARD, BACKWARD, FULL, SUFFIX = "forward", "backward", "full backward", "tail"
PLAIN_OPTIONS = onnxruntime.SessionOptions
PLAIN_RUN = onnxruntime.InferenceSession.run_with_iobinding  # as the library runs its sessions
Run = tuple[str, int]  # a kind of pass, and for how many samples at once


@dataclass(frozen=True)
class Facts:
    """What passes are counted by.

    Attributes:
        batch: images a run.
        live: channels whose masks are run, equal ones once.
        nonzero: channels that are not zero everywhere.
        places: of the layer.
    """

    batch: int
    live: int
    nonzero: int
    places: int


@dataclass(frozen=True)
class Case:
    """A method, and the passes that its definition needs.

    Attributes:
        text: as asked for.
        passes: (kind, how many) for one image; the first of them on the image itself.
        alone: whether one image is given, not a batch of them.
        warm: the same method with few passes, run once before.
    """

    text: str
    passes: Callable[[Facts], list[tuple[str, float]]]
    alone: bool = False
    warm: str = ""

    def runs(self, facts: Facts) -> dict[Run, float]:
        """How many runs of each kind and size."""
        first, *others = self.passes(facts)
        if not self.single_cut:
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
    Case("reciprocam", lambda f: [(FORWARD, 1), (SUFFIX, f.places)], True),
    Case("opticam(steps=10)", lambda f: [(FORWARD, 1), (FULL, 10)]),
    Case("saliency", lambda f: [(FULL, 1)]),
    Case("inputxgradient", lambda f: [(FULL, 1)]),
    Case("smoothgrad(n=4)", lambda f: [(FULL, 4)]),
    Case("integratedgradients(steps=8)", lambda f: [(FULL, 8)]),
]


class OneThread(PLAIN_OPTIONS):
    """Session options of one thread, whatever is asked for."""

    intra_op_num_threads = property(lambda self: 1, lambda self, count: None)

    def __init__(self) -> None:
        super().__init__()
        PLAIN_OPTIONS.intra_op_num_threads.__set__(self, 1)


class Clock:
    """What is counted: seconds, or on a busy machine the CPU seconds of one thread."""

    def __init__(self, busy: bool) -> None:
        self.now = time.process_time if busy else time.perf_counter
        if busy:
            onnxruntime.SessionOptions = OneThread


class Raw:
    """A model's raw passes under plain onnxruntime.

    Attributes:
        clock: what is counted.
        model: the same one, as the library has it.
        images: a full batch of random tensors.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.model = adcc.load(path, preprocessing="torch", device="cpu")
        plain, exposed = onnx.load(path), adcc.expose(path)
        names = [output.name for output in exposed.graph.output]
        layer = next(name for name in names if name.endswith(".activation")).rsplit(".", 1)[0]
        shaped = onnx.shape_inference.infer_shapes(plain)
        tail = onnx.utils.Extractor(shaped).extract_model([layer], [plain.graph.output[0].name])
        protos = {
            FORWARD: plain,
            BACKWARD: exposed,
            FULL: adcc.expose(path, ["input"]),
            SUFFIX: tail,
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
        seen = dict(zip(names, self._sessions[BACKWARD].run(None, targeted), strict=True))
        self._activations = seen[f"{layer}.activation"]
        self._feeds = {
            FORWARD: {image.name: self.images},
            BACKWARD: targeted,
            FULL: targeted,
            SUFFIX: {layer: self._activations},
        }

    def facts(self) -> Facts:
        first = self._activations[0].reshape(len(self._activations[0]), -1)
        low, high = first.min(axis=1, keepdims=True), first.max(axis=1, keepdims=True)
        moving = (low != high)[:, 0]
        masks = ((first - low)[moving]) / ((high - low)[moving])
        live = len(np.unique(masks, axis=0))
        nonzero = int(first.any(axis=1).sum())
        return Facts(self.model.batch, live, nonzero, first.shape[1])

    def seconds(self, run: Run) -> float:
        """How long one run takes."""
        kind, count = run
        feeds = {name: array[:count] for name, array in self._feeds[kind].items()}
        start = self.clock.now()
        self._sessions[kind].run(None, feeds)
        return self.clock.now() - start


def measure(raw: Raw, case: Case, facts: Facts) -> tuple[float, float]:
    """(limit, time) of one call of the method, in seconds."""
    images = raw.images[:1] if case.single_cut else raw.images
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
    """A line of the table."""
    adcc.explain(
        raw.model, raw.images[:1] if case.single_cut else raw.images, case.warm or case.text
    )
    found: list[tuple[float, float]] = []
    start = time.perf_counter()
    while len(found) < MOST and (not found or time.perf_counter() - start < seconds):
        found.append(measure(raw, case, facts))
    images = 1 if case.single_cut else facts.batch
    limit, whole = (1000 * statistics.median(times) / images for times in zip(*found, strict=True))
    ratio = statistics.median(limit / whole for limit, whole in found)
    passes = " + ".join(f"{count:g} {kind}" for kind, count in case.passes(facts))
    return f"| {case.text} | {passes} | {limit:.1f} | {whole:.1f} | {ratio:.2f} | {len(found)} |"


def table(name: str, path: Path, clock: Clock, seconds: float, only: list[str]) -> None:
    raw = Raw(path, clock)
    facts = raw.facts()
    print(f"\n{name}: {facts}\n")
    print("| method | passes an image | limit, ms | time, ms | limit / time | runs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        if not only or case.text.split("(")[0] in only:
            print(row(raw, case, facts, seconds), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each method")
    parser.add_argument("--only", action="append", default=[], help="a method's name")
    parser.add_argument("--busy", action="store_true", help="count CPU seconds of one thread")
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
