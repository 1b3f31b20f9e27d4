"""Compare evaluations with the raw passes that they need, in speed and memory.

Each case runs in a separate process, like `adcc-onnx benchmark`. Rounds of the evaluation
alternate with rounds of the raw passes: plain onnxruntime on preprocessed tensors, with the same
batch size, threads and number of parallel sessions. The result is the median ratio.

The memory overhead is the peak memory of the process (VmHWM) minus that of a process that only
runs the raw passes with the same settings. These are passes of the exposed model, and also of the
user's own model if the case needs many of them. Weights are random, which does not change the
time.

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
from adcc_onnx.studies.throughput import benchmark, random_images

GRADIENT_METHODS = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"]
GRADIENT_METHODS += ["eigengradcam", "eigencam", "kpcacam"]


# Runs sessions of plain onnxruntime with the same settings and prints the peak memory.
BARE = """
import re, sys, threading
import numpy as np, onnxruntime
paths, (batch, threads, concurrent_runs) = sys.argv[1:-3], map(int, sys.argv[-3:])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
providers = ["CPUExecutionProvider"]
sessions = [onnxruntime.InferenceSession(path, options, providers=providers) for path in paths]
for session in sessions:
    image, *target = session.get_inputs()
    feeds = {image.name: np.zeros((batch, *image.shape[1:]), np.float32)}
    feeds |= {given.name: np.full(batch, -1) for given in target}
    work = lambda: [session.run(None, feeds) for _ in range(4)]
    runs = [threading.Thread(target=work) for _ in range(concurrent_runs)]
    [run.start() for run in runs], [run.join() for run in runs]
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Attributes:
        network: Name of the torchvision network.
        images: Number of random tensors, or of photos.
        target: Ratio that should be reached.
        methods: CAM methods of the evaluation.
        metrics: Metrics of the evaluation; the ADCC family if empty.
        photos: Whether the images are JPEGs.
        plain: Whether most passes run the user's own model, in addition to the exposed model.
    """

    network: str
    images: int
    target: float
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
    """Return the peak memory of this process, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def fastest_settings(name: str, path: str) -> list[int]:
    """Return the autotuned batch size, threads and concurrent runs for most passes of a case."""
    plan = make_plan(CASES[name].methods, CASES[name].metrics)
    found = search(adcc.load(path, device="cpu"), pass_for(plan.needs))
    return [found.batch, found.threads, found.concurrent_runs]


def measure(
    name: str, path: str, photos: str, rounds: int, settings: list[int]
) -> dict[str, float]:
    """Measure one case in this process."""
    case = CASES[name]
    model = with_run_settings(
        adcc.load(path, preprocessing="torch", device="cpu"), RunSettings(*settings)
    )
    images = case.images
    source = open_source(photos, images) if case.photos else random_images(model, images)
    plan = make_plan(case.methods, case.metrics)
    if not rounds:  # no benchmark, because it would create sessions for its raw passes
        with Store.create(None) as store:
            evaluate_into(store, model, source, plan, name)
        return {"peak": peak()}
    found = benchmark(model, source, plan, rounds)
    return {"limit": found.limit, "speed": found.images_per_second, "ratio": found.ratio}


def child(*words: str) -> Any:
    """Run Python in a separate process and return the JSON that it prints."""
    done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def row(name: str, path: Path, photos: str, rounds: int) -> str:
    """Measure one case and return a row of the table."""
    case = CASES[name]
    exposed = path.with_suffix(".exposed.onnx")
    onnx.save(adcc.expose(path), exposed)
    settings = child(__file__, name, "--here", str(path))
    words = [__file__, name, "--here", str(path), "--photos", photos]
    words += ["--settings", json.dumps(settings)]
    found = child(*words, "--rounds", str(rounds))
    raw = [exposed, path] if case.plain else [exposed]
    whole, bare = child(*words, "--rounds", "0"), child("-c", BARE, *map(str, [*raw, *settings]))
    overhead = (whole["peak"] - bare) / 1024
    return (
        f"| {name} | {settings[0]}, {settings[2]} | {found['limit']:.3g} | {found['speed']:.3g} | "
        f"{found['ratio']:.3f} ({case.target}) | {overhead:.0f} MiB |"
    )


def main() -> None:
    """Measure the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument(
        "--photos", help="Folder of JPEGs; without it, the cases of JPEGs are omitted."
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        (name,) = options.cases
        given = (name, options.here)
        more = (options.photos, options.rounds, options.settings)
        found = measure(*given, *more) if options.settings else fastest_settings(*given)
        print(json.dumps(found))
        return
    from peers import network_of

    print("| case | batch size, parallel sessions | limit, images/s | adcc-onnx, images/s ", end="")
    print("| ratio (target) | memory overhead |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            if options.photos or not CASES[name].photos:
                _, path = network_of(CASES[name].network, Path(folder))
                print(row(name, path, options.photos or "", options.rounds), flush=True)


if __name__ == "__main__":
    main()
