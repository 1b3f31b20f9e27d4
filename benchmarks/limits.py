"""How near evaluations come to the raw passes that they need, and what memory they take besides.

Each case runs in a process of its own, as `adcc-onnx benchmark` does it: rounds of the evaluation
and of the raw passes (plain onnxruntime on ready tensors, at the same batch, threads and runs side
by side) take turns, and the median ratio counts. The memory is what the kernel says the process had
at the most (VmHWM), less that of a process that only runs the raw passes at the same pace: those of
the exposed model, and where the case needs many of the user's own model, those, too. Weights are
random: they change no time.

    python benchmarks/limits.py [--photos FOLDER] [--rounds 7] [CASE...]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

import adcc_onnx as adcc
from adcc_onnx.evaluation.pipeline import evaluate_into
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import pass_for
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.autotuning import RunSettings, search, with_run_settings
from adcc_onnx.studies.throughput import measure_throughput, random_images

GRADIENT_METHODS = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"]
GRADIENT_METHODS += ["eigengradcam", "eigencam", "kpcacam"]


# Sessions of plain onnxruntime at the same pace, and their peak.
BARE = """
import re, sys, threading
import numpy as np, onnxruntime
paths, (batch, threads, lanes) = sys.argv[1:-3], map(int, sys.argv[-3:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
providers = ["CPUExecutionProvider"]
sessions = [onnxruntime.InferenceSession(path, options, providers=providers) for path in paths]
for session in sessions:
    image, *target = session.get_inputs()
    feeds = {image.name: np.zeros((batch, *image.shape[1:]), np.float32)}
    feeds |= {given.name: np.full(batch, -1) for given in target}
    lane = lambda: [session.run(None, feeds) for _ in range(4)]
    runs = [threading.Thread(target=lane) for _ in range(lanes)]
    [run.start() for run in runs], [run.join() for run in runs]
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        network: of torchvision.
        images: how many of random tensors, or of photos.
        bar: the ratio to be reached.
        photos: whether the images are JPEGs.
        plain: whether most passes are plain forward ones, beside those of the exposed model.
    """

    network: str
    images: int
    bar: float
    methods: list[str] = field(default_factory=lambda: ["gradcam"])
    metrics: list[str] = field(default_factory=list)
    photos: bool = False
    plain: bool = False


CASES = {
    "resnet50": Case("resnet50", 48, 0.92),
    "resnet50-jpeg": Case("resnet50", 48, 0.85, photos=True),
    "resnet50-eight-methods": Case("resnet50", 16, 0.92, GRADIENT_METHODS),
    "resnet50-curves": Case("resnet50", 2, 0.93, metrics=["deletion", "insertion"], plain=True),
    "mobilenet_v2": Case("mobilenet_v2", 96, 0.85),
    "mobilenet_v2-jpeg": Case("mobilenet_v2", 96, 0.85, photos=True),
    "scorecam-resnet18": Case("resnet18", 2, 0.95, ["scorecam"]),
}


def peak() -> int:
    """The most memory that this process ever had, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def found_pace(name: str, path: str) -> list[int]:
    """The fastest pace for most of the case's passes."""
    plan = make_plan(CASES[name].methods, CASES[name].metrics)
    pace = search(adcc.load(path, device="cpu"), pass_for(plan.needs))
    return [pace.batch, pace.threads, pace.concurrent_runs]


def measure(name: str, path: str, photos: str, rounds: int, pace: list[int]) -> dict[str, float]:
    """One case in this process."""
    case = CASES[name]
    model = with_run_settings(
        adcc.load(path, preprocessing="torch", device="cpu"), RunSettings(*pace)
    )
    images = case.images
    source = open_source(photos, images) if case.photos else random_images(model, images)
    plan = make_plan(case.methods, case.metrics)
    if not rounds:  # the benchmark itself opens sessions for its raw passes
        with Store.create(None) as store:
            evaluate_into(store, model, source, plan, name)
        return {"peak": peak()}
    found = measure_throughput(model, source, plan, rounds)
    return {"limit": found.limit, "speed": found.images_per_second, "ratio": found.ratio}


def child(*words: str) -> Any:
    done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def row(name: str, path: Path, photos: str, rounds: int) -> str:
    case = CASES[name]
    exposed = path.with_suffix(".exposed.onnx")
    onnx.save(adcc.expose(path), exposed)
    pace = child(__file__, name, "--here", str(path))
    words = [__file__, name, "--here", str(path), "--photos", photos, "--pace", json.dumps(pace)]
    found = child(*words, "--rounds", str(rounds))
    raw = [exposed, path] if case.plain else [exposed]
    whole, bare = child(*words, "--rounds", "0"), child("-c", BARE, *map(str, [*raw, *pace]))
    besides = (whole["peak"] - bare) / 1024
    return (
        f"| {name} | {pace[0]}, {pace[2]} | {found['limit']:.3g} | {found['speed']:.3g} | "
        f"{found['ratio']:.3f} ({case.bar}) | {besides:.0f} MiB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument(
        "--photos", help="a folder of JPEGs; without it, cases of JPEGs are left out"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--pace", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        (name,) = options.cases
        given = (name, options.here)
        more = (options.photos, options.rounds, options.pace)
        print(json.dumps(measure(*given, *more) if options.pace else found_pace(*given)))
        return
    from peers import network_of

    print(
        "| case | images a run, lanes | limit, images/s | reached | ratio (bar) | memory besides |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            if options.photos or not CASES[name].photos:
                _, path = network_of(CASES[name].network, Path(folder))
                print(row(name, path, options.photos or "", options.rounds), flush=True)


if __name__ == "__main__":
    main()
