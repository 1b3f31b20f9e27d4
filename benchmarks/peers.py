"""Throughput of adcc-onnx, torch-cam and pytorch-grad-cam on the same evaluation of ADCC.

Each library explains the same preprocessed tensors for the predicted class, computes the scores and
the maps of the explanation maps, and from these drop, coherency, complexity and ADCC. The peers run
in torch with the same number of threads, in two loops:

* plain: like the code of the metric's authors (github.com/aimagelab/ADCC) and the peers' examples,
  one image and one metric at a time: the scores of the image, its map, the scores of the
  explanation map, and its map. This takes four passes.
* frugal: as few passes as these libraries allow, with batches of 8 and the scores of the pass that
  makes the map. This takes two passes.

The libraries are interleaved within every round; the table shows medians. All must agree on ADCC to
0.02 (the peers upsample maps differently). Weights are random; they do not affect the time.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import adcc_onnx as adcc
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.model import Model
from adcc_onnx.runtime.autotuning import search

# torchvision registers these operators; CPU builds of it may lack them.
_DECLARED = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

Run = Callable[[], float]
# A batch and its classes (None: the predicted ones) -> maps, probabilities, classes.
Explain = Callable[[Any, list[int] | None], tuple[Any, Any, list[int]]]
SIDE, BN_IMAGES = 224, 8
# Loop -> batch size.
LOOPS = {"plain": 1, "frugal": 8}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: Name of a torchvision model.
        layer: Name of the target layer's module.
        methods: For each of our methods, the class in torch-cam and the class in pytorch-grad-cam;
            None if a library lacks the method.
        images: Largest number of images; some methods take a thousand passes per image.
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
    """Prepare an evaluation by adcc-onnx that returns the ADCC of the first method."""

    def run() -> float:
        found = adcc.evaluate(model, images, methods, ["adcc"])
        return found.methods[methods[0]].scores["adcc"]

    return run


@contextmanager
def torch_cam(network: Any, layer: str, name: str) -> Iterator[Explain]:
    """Explain with torch-cam: a forward pass with hooks, then a map from the scores."""
    import torchcam.methods as cams

    with getattr(cams, name)(network, layer) as extractor:

        def explain(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
            scores = network(batch)
            chosen = scores.argmax(1).tolist() if classes is None else classes
            return extractor(chosen, scores)[0], torch.softmax(scores.detach(), 1), chosen

        yield explain


@contextmanager
def grad_cam(network: Any, layer: str, name: str) -> Iterator[Explain]:
    """Explain with pytorch-grad-cam: one call returns the map, the extractor keeps the scores."""
    import pytorch_grad_cam as cams
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(cams, name)(network, [network.get_submodule(layer)]) as extractor:

        def explain(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
            targets = None if classes is None else [ClassifierOutputTarget(c) for c in classes]
            found = torch.from_numpy(extractor(batch, targets))
            scores = torch.softmax(extractor.outputs.detach(), 1)
            return found, scores, scores.argmax(1).tolist() if classes is None else classes

        yield explain


PEERS: dict[str, Callable[[Any, str, str], AbstractContextManager[Explain]]] = {
    "torch-cam": torch_cam,
    "pytorch-grad-cam": grad_cam,
}


def peer_run(
    peer: str, loop: str, network: Any, layer: str, methods: Sequence[str], images: np.ndarray
) -> Run:
    """Prepare an evaluation by a peer, method by method, that returns the ADCC of the first."""

    def run() -> float:
        values = []
        for name in methods:
            with PEERS[peer](network, layer, name) as explain:
                chosen = with_scores_pass(network, explain) if loop == "plain" else explain
                values.append(adcc_of(images, LOOPS[loop], chosen))
        return values[0]

    return run


def with_scores_pass(network: Any, explain: Explain) -> Explain:
    """Add a separate pass for the scores, as in a loop over separate metrics."""

    def scores_first(batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
        with torch.no_grad():
            scores = torch.softmax(network(batch), 1)
        chosen = scores.argmax(1).tolist() if classes is None else classes
        return explain(batch, chosen)[0], scores, chosen

    return scores_first


def adcc_of(images: np.ndarray, size: int, explain: Explain) -> float:
    """Compute drop, coherency and complexity batch by batch, and ADCC of their means."""
    drops, coherencies, complexities = [], [], []
    for start in range(0, len(images), size):
        batch = torch.from_numpy(images[start : start + size])
        first, before, classes = explain(batch, None)
        heat = upsampled(first)
        second, after, _ = explain(batch * heat[:, None], classes)
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
    """Upsample maps [N, h, w] to the image's size if the peer has not done so."""
    if maps.shape[-1] == SIDE:
        return maps
    return torch.nn.functional.interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]


def network_of(name: str, folder: Path) -> tuple[Any, Path]:
    """Build a torchvision model with random weights, and export it to ONNX."""
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(weights=None).eval()
    # Without batch statistics, MobileNetV2's activations fade to 1e-8 and maps are rounding errors.
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


def tuned_model(path: Path, layer: str, methods: Sequence[str], threads: int) -> Model:
    """Load our model with autotuned run settings, on as many cores as the peers have threads."""
    model = adcc.load(path, device="cpu", layers=layer)
    settings = search(model.pool, pass_for(make_plan(methods).needs)).settings
    concurrent_runs = min(settings.concurrent_runs, threads)
    return model.with_settings(settings.batch, threads // concurrent_runs, concurrent_runs)


def seconds(run: Run) -> float:
    """Measure the wall time of an evaluation."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peer_runs(
    case: Case, network: Any, images: np.ndarray, columns: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Run]:
    """Prepare the runs of each (peer, loop) whose peer has all methods of the case."""
    runs = {}
    for peer, loop in columns:
        theirs = [names[list(PEERS).index(peer)] for names in case.methods.values()]
        if None not in theirs:
            runs[peer, loop] = peer_run(peer, loop, network, case.layer, theirs, images)
    return runs


def measure(
    name: str, count: int, rounds: int, threads: int, columns: Sequence[tuple[str, str]]
) -> str:
    """Measure one case; returns a row of the table."""
    case = CASES[name]
    images = np.random.default_rng(0).standard_normal((min(count, case.images), 3, SIDE, SIDE))
    images = images.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        network, path = network_of(case.network, Path(folder))
        methods = list(case.methods)
        ours = our_run(tuned_model(path, case.layer, methods, threads), images, methods)
        theirs = peer_runs(case, network, images, columns)
        check_agreement(name, [run() for run in (ours, *theirs.values())])  # also warms up
        our_time: list[float] = []
        times: dict[tuple[str, str], list[float]] = {side: [] for side in theirs}
        for _ in range(rounds):
            our_time.append(seconds(ours))
            for side, run in theirs.items():
                times[side].append(seconds(run))
    cells = [name, str(len(images)), f"{len(images) / statistics.median(our_time):.3g}"]
    for side in columns:
        cells.append(
            format_throughput(times[side], our_time, len(images)) if side in times else "-"
        )
    return f"| {' | '.join(cells)} |"


def check_agreement(name: str, values: Sequence[float]) -> None:
    """Check that all libraries computed the same ADCC, up to their ways to upsample a map."""
    if max(values) - min(values) > 0.02:
        raise SystemExit(f"{name}: the libraries disagree about ADCC: {values}")


def format_throughput(theirs: Sequence[float], ours: Sequence[float], images: int) -> str:
    """Format a peer's images per second and our speedup."""
    ratio = statistics.median(their / own for their, own in zip(theirs, ours, strict=True))
    return f"{images / statistics.median(theirs):.3g} ({ratio:.1f}x)"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer", action="append", choices=PEERS, help="Library to compare. Default: both."
    )
    parser.add_argument(
        "--loop", action="append", choices=LOOPS, help="Loop to run. Default: both."
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    columns = [(peer, loop) for peer in options.peer or PEERS for loop in options.loop or LOOPS]
    print(f"images per second, {options.threads} threads, {options.rounds} interleaved rounds;")
    print("in parentheses: speedup of adcc-onnx\n")
    print(f"| case | images | adcc-onnx | {' | '.join(', '.join(side) for side in columns)} |")
    print("| --- " * (3 + len(columns)) + "|")
    for name in options.cases:
        row = measure(name, options.images, options.rounds, options.threads, columns)
        print(row, flush=True)


if __name__ == "__main__":
    main()
