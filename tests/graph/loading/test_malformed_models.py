"""About 300 broken and hostile models: each gives an error of one line, or a correct result.

They are tried in separate processes with limits on memory and time, so that native crashes, hangs
and foreign exceptions are detected; see `malformed_worker`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.malformed_models.corpus import corpus, write

WORKERS = 2
# In seconds, for a busy machine; the slowest case takes about two.
TIMEOUT, STARTUP = 30, 60
MAX_PEAK = 1536  # MiB, in any case
WORKER = Path(__file__).parents[2] / "helpers" / "malformed_worker.py"
CASES = dict(corpus())
STEPS = ("inspect", "expose", "explain")


class Worker:
    """Tries models one after another in a process, which is restarted after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> dict[str, Any]:
        process = self._process or self._start()
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            process.kill()

        alarm = threading.Timer(TIMEOUT if self._process else TIMEOUT + STARTUP, stop)
        self._process = process
        alarm.start()
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            alarm.cancel()
        if answer:
            found: dict[str, Any] = json.loads(answer)
            return found
        self._process = None
        status = process.wait()
        timeout = timed_out.is_set()
        return {"died": "it took too long" if timeout else f"it crashed (exit status {status})"}

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=TIMEOUT)

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        root = WORKER.parents[2]
        path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The outcome of every case."""
    if sys.platform != "linux":
        pytest.skip("the memory limits work on Linux only")
    folder = tmp_path_factory.mktemp("malformed")
    paths = {name: write(folder / name, content) for name, content in CASES.items()}
    shares = [list(paths)[i::WORKERS] for i in range(WORKERS)]

    def try_all(names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        worker = Worker()
        for name in names:
            yield name, worker(paths[name])
        worker.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda names: dict(try_all(names)), shares)
        return {name: outcome for part in found for name, outcome in part.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_case_gives_an_error_of_one_line_or_a_correct_result(
    outcomes: dict[str, dict[str, Any]], name: str
) -> None:
    outcome = outcomes[name]
    assert "died" not in outcome, outcome["died"]
    assert {step: text for step, text in outcome["steps"].items() if "BROKEN" in text} == {}


def test_the_memory_stays_bounded(outcomes: dict[str, dict[str, Any]]) -> None:
    peaks = {name: outcome.get("peak", 0) for name, outcome in outcomes.items()}
    worst = max(peaks, key=peaks.__getitem__)
    assert peaks[worst] < MAX_PEAK, f"{worst}: {peaks[worst]} MiB"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_models-text", "is a web page, not a model"),
        ("structures-unknown_reference", "it reads a value that no node computes"),
        ("structures-missing_required", "operator Conv .* its input W is missing"),
        ("versions-opset_999", "opset 999, but the installed onnx supports opsets up to"),
        ("tensors-dims_1073741824x1073741824_2", "the weights 'kernel' are malformed"),
        ("attributes-conv_group_text", "its attribute group has the wrong type"),
        ("attributes-conv_strides_0", "is malformed: .*Conv"),
        ("sizes-pad", "value 'wide' of .* is too large for an image classifier"),
        ("sizes-image_sides", "value 'image' of .* is too large"),
        ("constants-of_shape", "value 'big' of shape 10000000000 is too large"),
        ("constants-doubled", "is too large"),
        ("recursions-function_of_itself", "calls itself"),
        ("recursions-billion_laughs", "more than 100000 operators"),
        ("recursions-loop_for_ever", "never ends"),
        ("recursions-loops_in_loops", "never ends"),
        ("external-absolute", "outside"),
        ("external-parent", "outside"),
        ("external-link", "outside"),
        ("external-constant_absolute", "outside"),
        ("external-branch_absolute", "outside"),
        ("external-function_absolute", "outside"),
        ("external-pipe", "it is not a regular file"),
        ("external-offset_beyond", "the file ends after 432 bytes"),
        ("external-length_short", "its length is 8 bytes, but its shape needs 432 bytes"),
    ],
)
def test_the_error_states_the_reason(
    outcomes: dict[str, dict[str, Any]], name: str, reason: str
) -> None:
    for step in STEPS:
        text = outcomes[name]["steps"][step]
        assert text.startswith("refused: ") and re.search(reason, text), text


@pytest.mark.parametrize(
    "name",
    [
        "structures-swapped",
        "external-link_inside",
        "external-constant_inside",
        "external-branch_inside",
        "external-function_inside",
        "recursions-nested_branches",
        "names-escape",
        "names-long",
    ],
)
def test_unusual_but_valid_models_work(outcomes: dict[str, dict[str, Any]], name: str) -> None:
    assert outcomes[name]["steps"] == dict.fromkeys(STEPS, "ok")
