"""Compare adcc-onnx with torch-cam and pytorch-grad-cam: maps, explanation maps and ADCC.

Every library explains the same preprocessed tensors for the predicted class, masks them, computes
the score and the map of the masked images, and computes drop, coherency, complexity and ADCC. The
other libraries run in torch with the same number of threads, in two kinds of loop:

* plain: like the code of the metric's authors (github.com/aimagelab/ADCC) and the libraries' own
  examples, one image at a time and one metric after the other: the scores of the image, its map,
  the scores of the explanation map, and the map of that. Four passes;
* optimized: batches of 8, with the scores of the pass that computes the map. Two passes.

The libraries are interleaved within every round, and the result is the median. All must compute
the same ADCC to within 0.02, because they upsample maps differently. Weights are random, which
does not change the time.

    python benchmarks/peers.py [--images 16] [--rounds 5] [--threads 2] [--peer NAME]...
                               [--loop NAME]... [CASE...]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import adcc_onnx as adcc
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import pass_for
from adcc_onnx.model import Model
from adcc_onnx.runtime.autotuning import search, with_run_settings

# torchvision registers these; a CPU build of torch may come without them.
_DECLARED = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

Run = Callable[[], float]
# (batch, classes or None for the predicted ones) -> (maps, probabilities, classes).
Look = Callable[[Any, list[int] | None], tuple[Any, Any, list[int]]]
SIDE, BN_IMAGES = 224, 8
# Kind of loop -> batch size.
LOOPS = {"plain": 1, "optimized": 8}


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        network: Name of the torchvision network.
        layer: Module of the target layer.
        methods: Our method -> (torch-cam's class, pytorch-grad-cam's class); None if there is none.
        images: Maximum number of images, for methods that need a thousand passes per image.
    """

    network: str
    layer: str
    methods: dict[str, tuple[str | None, str | None]]
    images: int = 10**6


GRADIENT_METHODS = {
    "gradcam": ("GradCAM", "GradCAM"),
    "gradcam++": ("GradCAMpp", "GradCAMPlusPlus"),
    "xgradcam": ("XGradCAM", "XGradCAM"),
    "layercam": ("LayerCAM", "LayerCAM"),
    "hirescam": (None, "HiResCAM"),
    "eigengradcam": (None, "EigenGradCAM"),
    "eigencam": (None, "EigenCAM"),
    "kpcacam": (None, "KPCA_CAM"),
}
CASES = {
    "resnet50": Case("resnet50", "layer4", {"gradcam": GRADIENT_METHODS["gradcam"]}),
    "mobilenet_v2": Case("mobilenet_v2", "features", {"gradcam": GRADIENT_METHODS["gradcam"]}),
    "eight-methods": Case("resnet50", "layer4", GRADIENT_METHODS, 8),
    "scorecam-resnet18": Case("resnet18", "layer4", {"scorecam": ("ScoreCAM", "ScoreCAM")}, 2),
}


def our_run(model: Model, images: np.ndarray, methods: Sequence[str]) -> Run:
    """Return a function that evaluates with adcc-onnx and returns the ADCC of the first method."""

    def run() -> float:
        found = adcc.evaluate(model, images, methods, ["adcc"])
        return found.methods[methods[0]].scores["adcc"]

    return run


@contextmanager
def torch_cam(network: Any, layer: str, name: str) -> Iterator[Look]:
    """Open torch-cam: a forward pass with hooks, then the map of a class from its scores."""
    import torchcam.methods as cams

    with getattr(cams, name)(network, layer) as extractor:

        def look(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
            scores = network(batch)
            chosen = scores.argmax(1).tolist() if classes is None else classes
            return extractor(chosen, scores)[0], torch.softmax(scores.detach(), 1), chosen

        yield look


@contextmanager
def grad_cam(network: Any, layer: str, name: str) -> Iterator[Look]:
    """Open pytorch-grad-cam: one call returns the map and stores the scores in the extractor."""
    import pytorch_grad_cam as cams
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(cams, name)(network, [network.get_submodule(layer)]) as extractor:

        def look(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
            targets = None if classes is None else [ClassifierOutputTarget(c) for c in classes]
            found = torch.from_numpy(extractor(batch, targets))
            scores = torch.softmax(extractor.outputs.detach(), 1)
            return found, scores, scores.argmax(1).tolist() if classes is None else classes

        yield look


PEERS: dict[str, Callable[[Any, str, str], AbstractContextManager[Look]]] = {
    "torch-cam": torch_cam,
    "pytorch-grad-cam": grad_cam,
}


def peer_run(
    peer: str, loop: str, network: Any, layer: str, methods: Sequence[str], images: np.ndarray
) -> Run:
    """Return a function that evaluates with another library and returns the first method's ADCC."""

    def run() -> float:
        values = []
        for name in methods:
            with PEERS[peer](network, layer, name) as look:
                chosen = apart(network, look) if loop == "plain" else look
                values.append(adcc_of(images, LOOPS[loop], chosen))
        return values[0]

    return run


def apart(network: Any, look: Look) -> Look:
    """Add a separate pass for the scores, as in a loop over separate metrics."""

    def scores_first(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
        with torch.no_grad():
            scores = torch.softmax(network(batch), 1)
        chosen = scores.argmax(1).tolist() if classes is None else classes
        return look(batch, chosen)[0], scores, chosen

    return scores_first


def adcc_of(images: np.ndarray, size: int, look: Look) -> float:
    """Compute drop, coherency and complexity by batches, and return the ADCC of their means."""
    drops, coherencies, complexities = [], [], []
    for start in range(0, len(images), size):
        batch = torch.from_numpy(images[start : start + size])
        first, before, classes = look(batch, None)
        heat = upsampled(first)
        second, after, _ = look(batch * heat[:, None], classes)
        rows = torch.arange(len(batch))
        p, masked = before[rows, classes], after[rows, classes]
        drops.append(((p - masked).clamp(min=0) / p).numpy())
        pairs = torch.stack([heat.flatten(1), upsampled(second).flatten(1)], 1)
        coherencies.extend((1 + float(torch.corrcoef(pair)[0, 1])) / 2 for pair in pairs)
        complexities.append(heat.mean((1, 2)).numpy())
    terms = (
        np.nanmean(coherencies),
        1 - np.concatenate(complexities).mean(),
        1 - np.concatenate(drops).mean(),
    )
    return float(3 / sum(1 / term for term in terms))


def upsampled(maps: Any) -> Any:
    """Upsample maps [N, h, w] to the size of the image, unless the library has done so."""
    if maps.shape[-1] == SIDE:
        return maps
    return torch.nn.functional.interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]


def network_of(name: str, folder: Path) -> tuple[Any, Path]:
    """Return a torchvision network with random weights, and its ONNX file."""
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(weights=None).eval()
    # Without batch-norm statistics, MobileNetV2's activations shrink to 1e-8, and its maps are only
    # rounding errors.
    torch.optim.swa_utils.update_bn([torch.randn(BN_IMAGES, 3, SIDE, SIDE)], network)
    path = folder / f"{name}.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, SIDE, SIDE),),
        str(path),
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
        dynamo=False,
    )
    return network, path


def tuned(path: Path, layer: str, methods: Sequence[str], threads: int) -> Model:
    """Load our model with the fastest settings for the given number of threads."""
    model = adcc.load(path, device="cpu", layer=layer)
    fastest = search(model, pass_for(make_plan(methods).needs))
    count = min(fastest.concurrent_runs, threads)
    settings = replace(fastest, threads=threads // count, concurrent_runs=count)
    return with_run_settings(model, settings)


def seconds(run: Run) -> float:
    """Measure one evaluation."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def sides_of(
    case: Case, network: Any, images: np.ndarray, columns: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Run]:
    """Return an evaluation for each (library, loop) that supports all methods of the case."""
    sides = {}
    for peer, loop in columns:
        theirs = [names[list(PEERS).index(peer)] for names in case.methods.values()]
        if None not in theirs:
            sides[peer, loop] = peer_run(peer, loop, network, case.layer, theirs, images)
    return sides


def measured(
    name: str, count: int, rounds: int, threads: int, columns: Sequence[tuple[str, str]]
) -> str:
    """Measure one case and return a row of the table."""
    case = CASES[name]
    images = np.random.default_rng(0).standard_normal((min(count, case.images), 3, SIDE, SIDE))
    images = images.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        network, path = network_of(case.network, Path(folder))
        methods = list(case.methods)
        ours = our_run(tuned(path, case.layer, methods, threads), images, methods)
        theirs = sides_of(case, network, images, columns)
        agree(name, [run() for run in (ours, *theirs.values())])  # also a warm-up
        our_time: list[float] = []
        times: dict[tuple[str, str], list[float]] = {side: [] for side in theirs}
        for _ in range(rounds):
            our_time.append(seconds(ours))
            for side, run in theirs.items():
                times[side].append(seconds(run))
    cells = [name, str(len(images)), f"{len(images) / statistics.median(our_time):.3g}"]
    for side in columns:
        cells.append(compared(times[side], our_time, len(images)) if side in times else "-")
    return f"| {' | '.join(cells)} |"


def agree(name: str, values: Sequence[float]) -> None:
    """Check that all libraries computed the same ADCC, up to differences in upsampling."""
    if max(values) - min(values) > 0.02:
        raise SystemExit(f"{name}: the libraries compute different ADCC: {values}")


def compared(theirs: Sequence[float], ours: Sequence[float], images: int) -> str:
    """Return a cell of the table: images per second, and the speedup of adcc-onnx."""
    ratio = statistics.median(their / own for their, own in zip(theirs, ours, strict=True))
    return f"{images / statistics.median(theirs):.3g} ({ratio:.1f}x)"


def main() -> None:
    """Measure the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer",
        action="append",
        choices=PEERS,
        help="Library to compare with; repeatable; all by default.",
    )
    parser.add_argument(
        "--loop", action="append", choices=LOOPS, help="Kind of loop; repeatable; all by default."
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    columns = [(peer, loop) for peer in options.peer or PEERS for loop in options.loop or LOOPS]
    print(f"images per second, {options.threads} threads, {options.rounds} interleaved rounds;")
    print("in parentheses, the speedup of adcc-onnx\n")
    print(f"| case | images | adcc-onnx | {' | '.join(', '.join(side) for side in columns)} |")
    print("| --- " * (3 + len(columns)) + "|")
    for name in options.cases:
        given = (options.images, options.rounds, options.threads, columns)
        print(measured(name, *given), flush=True)


if __name__ == "__main__":
    main()
