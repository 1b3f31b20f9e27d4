"""Peak memory of an evaluation of 20,000 images relative to 2,000: it must not grow.

Each evaluation runs in its own process, on the built-in classifier and drawings, writes a run file
and then renders its report. The peak memory of the process (VmHWM) is read after the evaluation and
after the report. This takes some minutes of one core, most of them for generating the drawings.

    python benchmarks/memory.py
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNTS = (2_000, 20_000)
BAR = 1.05


def peak() -> int:
    """Return the peak memory of this process in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure(count: int) -> dict[str, float]:
    """Evaluate drawings in this process; returns peaks in KiB and the seconds taken."""
    import adcc_onnx as adcc
    from adcc_onnx.drawings import classifier_path
    from adcc_onnx.evaluation.pipeline import check, evaluate_into
    from adcc_onnx.evaluation.plan import make_plan
    from adcc_onnx.images.sources.given_images import as_source
    from adcc_onnx.report.rendering import render
    from adcc_onnx.results.store import Store

    model, plan = adcc.load(classifier_path(), device="cpu"), make_plan(["gradcam"])
    source, start = as_source(f"drawings:{count}"), time.monotonic()
    check(model, source, plan)
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder) / "kept") as store:
        evaluate_into(store, model, source, plan, f"drawings:{count}")
        evaluated = peak()
        assert store.run(1).complete and store.run(1).images == count
        render([store], "json")
    return {"run": evaluated, "report": peak(), "seconds": time.monotonic() - start}


def main() -> None:
    """Print the table, or measure one count if called with `--here`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, help="Numbers of images, the smaller first.")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    found = []
    print("| images | peak of the run, MiB | with its report, MiB | seconds |")
    print("| --- | --- | --- | --- |")
    for count in options.counts or COUNTS:
        child = subprocess.run(
            [sys.executable, __file__, "--here", str(count)], check=True, stdout=subprocess.PIPE
        )
        found.append(json.loads(child.stdout))
        run, report = found[-1]["run"] / 1024, found[-1]["report"] / 1024
        print(f"| {count:,} | {run:.1f} | {report:.1f} | {found[-1]['seconds']:.0f} |", flush=True)
    run, report = (found[-1][key] / found[0][key] for key in ("run", "report"))
    print(f"| ratio (bar {BAR}) | {run:.3f} | {report:.3f} | |")


if __name__ == "__main__":
    main()
