"""Throughput of evaluations relative to the raw passes they need, and their memory overhead.

Each case runs in its own process, like `adcc-onnx benchmark`: rounds of the evaluation and of the
raw passes (onnxruntime alone on preprocessed tensors, with the same batch size, threads and
concurrent runs) are interleaved, and the table shows the median ratio. The memory overhead is the
peak memory of the evaluation (VmHWM) minus that of a process that only makes the raw passes with
the same run settings: those of the exposed model and, where a case needs many of them, those of the
original model. Weights are random; they do not affect the time.

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
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.images.crop_cache import with_crop_cache
from adcc_onnx.images.sources.image_source import concatenate_sources
from adcc_onnx.images.sources.open_images import open_source
from adcc_onnx.results.store import Store
from adcc_onnx.runtime.autotuning import search
from adcc_onnx.studies.throughput import measure_throughput, random_images

GRADIENT_METHODS = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam"]
GRADIENT_METHODS += ["eigengradcam", "eigencam", "kpcacam"]


# Runs onnxruntime alone with the same run settings and prints the peak memory in KiB.
RAW_PASSES = """
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
    feeds |= {other.name: np.full(batch, -1) for other in target}
    passes = lambda: [session.run(None, feeds) for _ in range(4)]
    runs = [threading.Thread(target=passes) for _ in range(concurrent_runs)]
    [run.start() for run in runs], [run.join() for run in runs]
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        network: Name of a torchvision model.
        images: Number of different random tensors or photos.
        bar: Ratio of evaluation to raw passes that must be reached.
        methods: CAM methods to evaluate.
        metrics: Metrics to compute. Default: the ADCC family.
        photos: Whether the images are JPEGs.
        repeats: How often a round evaluates them. Fast models need more images per round, because
            the start and the end of a round cost the same for any number of images.
        cached: Whether the crops of the photos are cached; the first round fills the cache.
        original_passes: Whether most passes run the original model, not the exposed one.
    """

    network: str
    images: int
    bar: float
    methods: list[str] = field(default_factory=lambda: ["gradcam"])
    metrics: list[str] = field(default_factory=list)
    photos: bool = False
    repeats: int = 1
    cached: bool = False
    original_passes: bool = False


CASES = {
    "resnet50": Case("resnet50", 48, 0.92),
    "resnet50-jpeg": Case("resnet50", 48, 0.85, photos=True),
    "resnet50-eight-methods": Case("resnet50", 16, 0.92, GRADIENT_METHODS),
    "resnet50-curves": Case(
        "resnet50", 2, 0.93, metrics=["deletion", "insertion"], original_passes=True
    ),
    "mobilenet_v2": Case("mobilenet_v2", 96, 0.85, repeats=4),
    "mobilenet_v2-jpeg": Case("mobilenet_v2", 96, 0.90, photos=True, repeats=4),
    "mobilenet_v2-crops": Case("mobilenet_v2", 96, 0.97, photos=True, repeats=4, cached=True),
    "scorecam-resnet18": Case("resnet18", 2, 0.95, ["scorecam"]),
}


def peak() -> int:
    """Return the peak memory of this process in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def tuned_settings(name: str, path: str) -> list[int]:
    """Autotune batch size, threads and concurrent runs for the passes of a case."""
    plan = make_plan(CASES[name].methods, CASES[name].metrics)
    settings = search(adcc.load(path, device="cpu").pool, pass_for(plan.needs)).settings
    return [settings.batch, settings.threads, settings.concurrent_runs]


def measure(
    name: str, path: str, photos: str, rounds: int, settings: list[int]
) -> dict[str, float]:
    """Measure one case in this process: its throughput, or with 0 rounds its peak memory."""
    case = CASES[name]
    loaded = adcc.load(path, preprocessing="torch", device="cpu")
    model = loaded.with_settings(*settings)
    images = case.images
    source = open_source(photos, images) if case.photos else random_images(model, images)
    if case.cached:
        source = with_crop_cache(source, Path(path).with_suffix(".crops"))
    source = concatenate_sources([source] * case.repeats)
    plan = make_plan(case.methods, case.metrics)
    if not rounds:  # not by `benchmark`, which opens further sessions for the raw passes
        with Store.create(None) as store:
            evaluate_into(store, model, source, plan, name)
        return {"peak": peak()}
    found = measure_throughput(model, source, plan, rounds)
    return {"limit": found.limit, "speed": found.images_per_second, "ratio": found.ratio}


def run_child(*words: str) -> Any:
    """Run Python in a child process and parse its JSON output."""
    done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def row(name: str, path: Path, photos: str, rounds: int) -> str:
    """Measure one case in child processes; returns a row of the table."""
    case = CASES[name]
    exposed = path.with_suffix(".exposed.onnx")
    onnx.save(adcc.expose(path), exposed)
    settings = run_child(__file__, name, "--here", str(path))
    words = [__file__, name, "--here", str(path), "--photos", photos]
    words += ["--settings", json.dumps(settings)]
    found = run_child(*words, "--rounds", str(rounds))
    models = [exposed, path] if case.original_passes else [exposed]
    evaluation = run_child(*words, "--rounds", "0")["peak"]
    raw = run_child("-c", RAW_PASSES, *map(str, [*models, *settings]))
    overhead = (evaluation - raw) / 1024
    return (
        f"| {name} | {settings[0]}, {settings[2]} | {found['limit']:.3g} | {found['speed']:.3g} | "
        f"{found['ratio']:.3f} ({case.bar}) | {overhead:.0f} MiB |"
    )


def main() -> None:
    """Print the table, or measure one case if called by `row`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    parser.add_argument("--photos", help="Folder of JPEGs. Default: skip the cases with JPEGs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        (name,) = options.cases
        if options.settings is None:
            found: Any = tuned_settings(name, options.here)
        else:
            found = measure(name, options.here, options.photos, options.rounds, options.settings)
        print(json.dumps(found))
        return
    from peers import network_of

    print(
        "| case | batch, concurrent runs | limit, images/s | reached | ratio (bar) "
        "| memory overhead |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.cases:
            if options.photos or not CASES[name].photos:
                _, path = network_of(CASES[name].network, Path(folder))
                print(row(name, path, options.photos or "", options.rounds), flush=True)


if __name__ == "__main__":
    main()
