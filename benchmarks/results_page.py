"""The page docs/results/results.md: every method on real classifiers and photos, with controls.

`run` evaluates the classifiers of a folder DATA (`models/*.onnx`, `photos/`, `labels.csv`) and
keeps one file of results per model and group of methods in RUNS. It continues where it stopped.
`page` prints the page from the files that exist: only groups that are complete on a model.

    python benchmarks/results_page.py run DATA RUNS [--group gradient ...] [--model NAME ...]
    python benchmarks/results_page.py page RUNS > docs/results/results.md
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from results_text import ModelScores, page

import adcc_onnx as adcc

PRESETS = {
    "squeezenet1.1_mxnet": "torch",
    "mobilenet_v1_025_keras": "tf",
    "mobilenet_v2": "torch",
    "deit_tiny_patch16_224": "torch",
    "SqueezeNet_fp16": "caffe",
    "mobilenet_v2_tf2": "tf",
    "bvlc_googlenet": "caffe",
}
_FAMILY = ["adcc", "average_drop", "average_increase", "coherency", "complexity"]
_CURVES = ["insertion(steps=28)", "deletion(steps=28)"]
# Methods and metrics by group, the cheapest first. The controls `random` and `center` run with the
# groups that have `fakecam`.
GROUPS = {
    "gradient": (
        ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam", "eigengradcam",
         "fakecam"],
        _FAMILY,
    ),
    "perturbation": (["reciprocam", "groupcam"], _FAMILY),
    "pixel": (["saliency", "inputxgradient", "smoothgradcam++"], _FAMILY),
    "curves": (["gradcam", "gradcam++", "layercam", "eigencam", "fakecam"], _CURVES),
    "score": (["scorecam"], _FAMILY),
    "ablation": (["ablationcam"], _FAMILY),
    "optimization": (["opticam"], _FAMILY),
}  # fmt: skip
_FIRST = "gradient"
_PHOTOS = 100


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("data", type=Path)
    run.add_argument("runs", type=Path)
    run.add_argument("--group", action="append", choices=GROUPS, default=[])
    run.add_argument("--model", action="append", choices=PRESETS, default=[])
    commands.add_parser("page").add_argument("runs", type=Path)
    options = parser.parse_args()
    if options.command == "page":
        print(page(settings(options.runs), list(results(options.runs))))
        return
    try:
        evaluate_all(options.data, options.runs, options.group or GROUPS, options.model or PRESETS)
    except KeyboardInterrupt:
        sys.exit(130)


def evaluate_all(data: Path, runs: Path, groups: Sequence[str], models: Sequence[str]) -> None:
    """Evaluate groups of methods on models; each pair has its own file, which is continued."""
    runs.mkdir(exist_ok=True)
    for group in groups:
        methods, metrics = GROUPS[group]
        for name in models:
            out = runs / f"{name}.{group}.sqlite"
            if out.exists() and all(result.complete for result in adcc.read_results(out)):
                continue
            print(f"{date.today()} {name}: {group}", flush=True)
            adcc.evaluate(
                data / "models" / f"{name}.onnx",
                data / "photos",
                methods,
                metrics,
                labels=data / "labels.csv",
                limit=_PHOTOS,
                controls="fakecam" in methods,
                thumbnails=False,
                out=out,
                resume=out.exists(),
                preprocessing=PRESETS[name],
                autotune=False,
                device="cpu",
            )
            note_settings(runs)


def note_settings(runs: Path) -> None:
    """Keep what the page says about the measurement: date, commit, versions, machine."""
    import onnxruntime  # after adcc_onnx, which switches its telemetry off

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    found = {
        "date": str(date.today()),
        "commit": commit.stdout.strip() or "unknown",  # not in a git checkout
        "version": adcc.__version__,
        "machine": f"{platform.system()} {platform.machine()} with {os.cpu_count()} CPU cores",
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
    (runs / "settings.json").write_text(json.dumps(found), "utf-8")


def settings(runs: Path) -> dict[str, str]:
    """Return what `note_settings` kept."""
    found: dict[str, str] = json.loads((runs / "settings.json").read_text("utf-8"))
    return found


def results(runs: Path) -> Iterator[ModelScores]:
    """Yield the results of each model with the methods of all its complete groups."""
    for name in PRESETS:
        complete = {
            group: result[0]
            for group in GROUPS
            if (file := runs / f"{name}.{group}.sqlite").exists()
            and (result := adcc.read_results(file))[0].complete
        }
        if _FIRST not in complete:  # without the controls
            continue
        curves = complete.pop("curves", None)
        yield ModelScores(merged([runs / f"{name}.{group}.sqlite" for group in complete]), curves)


def merged(files: list[Path]) -> adcc.EvaluationResult:
    """Return one result with the methods of several files."""
    with tempfile.TemporaryDirectory() as folder:
        joined = Path(folder, "joined.sqlite")
        if len(files) > 1:
            adcc.merge(files, joined)
        return adcc.read_results(joined if len(files) > 1 else files[0])[0]


if __name__ == "__main__":
    main()
