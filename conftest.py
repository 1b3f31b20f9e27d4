"""Settings of pytest for the whole repository: examples in docstrings run in an empty folder."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

# Torch runs as the reference of small computations, in which its threads would mostly wait for each
# other: a gradient of MobileNetV2 in float64 takes 30 times as long when the cores are busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Jax compiles each small program of its import and of the tests, and runs it once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import adcc_onnx  # noqa: F401 - before any test imports onnxruntime: it switches off its telemetry

# No examples to run: fixtures, and helpers that need an oracle to be imported.
collect_ignore_glob = ["tests/*conftest.py", "tests/helpers/*"]


def pytest_collection_finish() -> None:
    """Collect garbage more rarely, and not among imported modules and the tests themselves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _doctests_run_in_an_empty_folder(request: pytest.FixtureRequest) -> None:
    """Change to a temporary folder, so that an example leaves no files in the checkout."""
    if isinstance(request.node, pytest.DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
