"""Compare the peak memory of evaluations of 20,000 and of 2,000 images, which should be equal.

Each evaluation runs in a separate process on the built-in classifier and drawings, stores the run
in a file and renders the report. The peak memory of the process (VmHWM) is read after the
evaluation and after the report. Run as `python benchmarks/memory.py`; it takes minutes of one
core, most of them for the drawings.
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
TARGET = 1.05


def peak() -> int:
    """Return the peak memory of this process, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure(count: int) -> dict[str, float]:
    """Evaluate `count` drawings in this process; return its peak memory in KiB and its seconds."""
    import adcc_onnx as adcc
    from adcc_onnx.api import as_source
    from adcc_onnx.drawings import classifier_path
    from adcc_onnx.evaluation.pipeline import check, evaluate_into
    from adcc_onnx.evaluation.plan import make_plan
    from adcc_onnx.report import render
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
    """Measure all numbers of images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, help="Numbers of images in ascending order.")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.here)))
        return
    found = []
    print("| images | peak of the run, MiB | including the report, MiB | seconds |")
    print("| --- | --- | --- | --- |")
    for count in options.counts or COUNTS:
        child = subprocess.run(
            [sys.executable, __file__, "--here", str(count)], check=True, stdout=subprocess.PIPE
        )
        found.append(json.loads(child.stdout))
        run, report = found[-1]["run"] / 1024, found[-1]["report"] / 1024
        print(f"| {count:,} | {run:.1f} | {report:.1f} | {found[-1]['seconds']:.0f} |", flush=True)
    run, report = (found[-1][key] / found[0][key] for key in ("run", "report"))
    print(f"| ratio (target: at most {TARGET}) | {run:.3f} | {report:.3f} | |")


if __name__ == "__main__":
    main()
