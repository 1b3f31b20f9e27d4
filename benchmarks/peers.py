"""The same work by adcc-onnx, torch-cam and pytorch-grad-cam: maps, explanation maps and ADCC.

Every side explains the same ready tensors for the class it predicts, masks them, looks at the score
and the map of what is left, and computes drop, coherency, complexity and ADCC. The peers run in
torch with as many threads, batch by batch, in the loop that their documentation suggests. Sides are
interleaved within every round, and medians taken. Weights are random: they change no time.

    python benchmarks/peers.py [--images 16] [--rounds 5] [--threads 2] [--peer NAME]... [CASE...]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import adcc_onnx as adcc
from adcc_onnx.evaluation.evidence import pass_for
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.model import Model
from adcc_onnx.tuning import search

# torchvision registers these; a CPU build of torch may come without them.
_DECLARED = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

Run = Callable[[], float]
PEERS = ("torch-cam", "pytorch-grad-cam")
BATCH, SIDE = 8, 224


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        network: of torchvision.
        layer: its module, as the peers name it.
        methods: ours -> (torch-cam's class, pytorch-grad-cam's class); None where it has none.
        images: at most so many: some methods take a thousand passes an image.
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
    """One evaluation by adcc-onnx; returns the ADCC of the first method."""

    def run() -> float:
        found = adcc.evaluate(model, images, methods, ["adcc"])
        return found.methods[methods[0]].figures["adcc"]

    return run


def torchcam_run(network: Any, layer: str, methods: Sequence[str], images: np.ndarray) -> Run:
    """The loop of torch-cam: a forward pass with hooks, then the map of the predicted class."""
    import torchcam.methods as cams

    def maps(extractor: Any, batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
        scores = network(batch)
        chosen = scores.argmax(1).tolist() if classes is None else classes
        return extractor(chosen, scores)[0], torch.softmax(scores.detach(), 1), chosen

    def run() -> float:
        values = []
        for name in methods:
            with getattr(cams, name)(network, layer) as extractor:
                values.append(plain_adcc(images, lambda *given, e=extractor: maps(e, *given)))
        return values[0]

    return run


def grad_cam_run(network: Any, layer: str, methods: Sequence[str], images: np.ndarray) -> Run:
    """The loop of pytorch-grad-cam, whose call gives the map but not the scores."""
    import pytorch_grad_cam as cams
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    target_layer = network.get_submodule(layer)

    def maps(extractor: Any, batch: Any, classes: list[int] | None) -> tuple[Any, Any, list[int]]:
        with torch.no_grad():
            scores = torch.softmax(network(batch), 1)
        chosen = scores.argmax(1).tolist() if classes is None else classes
        found = extractor(batch, [ClassifierOutputTarget(c) for c in chosen])
        return torch.from_numpy(found), scores, chosen

    def run() -> float:
        values = []
        for name in methods:
            extractor = getattr(cams, name)(network, [target_layer])
            values.append(plain_adcc(images, lambda *given, e=extractor: maps(e, *given)))
            extractor.activations_and_grads.release()
        return values[0]

    return run


def plain_adcc(images: np.ndarray, explain: Callable[..., tuple[Any, Any, list[int]]]) -> float:
    """Drop, coherency and complexity of a method, batch by batch, and ADCC of their means."""
    drops, coherencies, complexities = [], [], []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH])
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
    """[N, h, w] to the image's size, where a peer has not done so."""
    if maps.shape[-1] == SIDE:
        return maps
    return torch.nn.functional.interpolate(maps[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]


def network_of(name: str, folder: Path) -> tuple[Any, Path]:
    """A network of torchvision with random weights, and the same as ONNX."""
    import torchvision

    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(weights=None).eval()
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


def paced(path: Path, layer: str, methods: Sequence[str], threads: int) -> Model:
    """Our model at the pace that is fastest on as many cores as the peers have threads."""
    model = adcc.load(path, device="cpu", layer=layer)
    pace = search(model, pass_for(make_plan(methods).needs))
    lanes = min(pace.lanes, threads)
    own = threads if lanes == 1 else 1
    return replace(model, batch=pace.batch, threads=own, lanes=lanes, _sessions={})


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measured(name: str, count: int, rounds: int, threads: int, peers: Sequence[str]) -> str:
    case = CASES[name]
    images = np.random.default_rng(0).standard_normal((min(count, case.images), 3, SIDE, SIDE))
    images = images.astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        network, path = network_of(case.network, Path(folder))
        methods = list(case.methods)
        sides = {"adcc-onnx": our_run(paced(path, case.layer, methods, threads), images, methods)}
        for index, (side, make) in enumerate(zip(PEERS, (torchcam_run, grad_cam_run), strict=True)):
            theirs = [names[index] for names in case.methods.values()]
            if side in peers and None not in theirs:
                sides[side] = make(network, case.layer, theirs, images)
        for run in sides.values():
            run()  # warm
        taken = {side: [] for side in sides}
        for _ in range(rounds):
            for side, run in sides.items():
                taken[side].append(seconds(run))
    ours = taken["adcc-onnx"]
    cells = [name, str(len(images)), f"{len(images) / statistics.median(ours):.3g}"]
    for side in PEERS:
        if side in taken:
            pairs = zip(taken[side], ours, strict=True)
            ratio = statistics.median(theirs / own for theirs, own in pairs)
            cells.append(f"{len(images) / statistics.median(taken[side]):.3g} ({ratio:.1f}x)")
        else:
            cells.append("-")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="append", choices=PEERS, help="Default: both.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"images a second, {options.threads} threads, {options.rounds} interleaved rounds;")
    print("in brackets, how many times as fast adcc-onnx is\n")
    print("| case | images | adcc-onnx | torch-cam | pytorch-grad-cam |")
    print("| --- | --- | --- | --- | --- |")
    for name in options.cases:
        given = (options.images, options.rounds, options.threads, options.peer or PEERS)
        print(measured(name, *given), flush=True)


if __name__ == "__main__":
    main()
