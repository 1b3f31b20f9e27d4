"""Signals at random moments: nothing is lost, and the resumed run has equal bytes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import METHODS, count, environment, report_of
from helpers.tar_files import tar
from PIL import Image

from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX signals and fork")

IMAGES = 12
# Sources and options; each configuration is interrupted again and again.
CONFIGURATIONS = {
    "methods": ("drawings", [*METHODS, "ablationcam", "opticam(steps=3)"], ["adcc"]),
    "curves": ("drawings", ["gradcam"], ["insertion(steps=40)", "deletion(steps=40)"]),
    "tar": ("images.tar", ["gradcam", "scorecam"], ["adcc"]),
    "npz": ("images.npz", ["gradcam", "scorecam"], ["adcc"]),
    "parquet": ("images.parquet", ["layercam", "random"], ["adcc"]),
    "folder": ("photos", ["gradcam", "smoothgradcam++(n=5)"], ["adcc"]),
    "long sequence": ("drawings", ["rise(masks=300)"], ["average_drop"]),
    "changed images": ("drawings", ["gradcam"], ["road", "infidelity(samples=5)"]),
    "changed maps": ("drawings", ["gradcam"], ["max_sensitivity(samples=3)"]),
    "cluster": ("drawings", METHODS, ["adcc"]),
}
SIGNALS = ("KILL", "TERM", "INT", "INT INT")


class ForkServer:
    """Starts command lines in forked processes; see `helpers.fork_server`."""

    def __init__(self, folder: Path) -> None:
        program = Path(__file__).parents[1] / "helpers" / "fork_server.py"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(
            [sys.executable, program], text=True, env=environment(), **pipes
        )
        self.stderr = folder / "stderr"

    def start(self, words: list[str]) -> int:
        self.stderr.write_text("")
        print(json.dumps({"words": words, "stderr": str(self.stderr)}), file=self.process.stdin)
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def status(self) -> int:
        return os.waitstatus_to_exitcode(int(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("server"))
    yield server
    server.process.stdin.close()
    server.process.wait(60)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same images in every kind of source."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "photos").mkdir()
    drawn = list(draw_many(5, IMAGES, 112))
    files = []
    for number, drawing in enumerate(drawn):
        stream = io.BytesIO()
        Image.fromarray(drawing.image).save(stream, "PNG")
        files.append((f"{number}.png", stream.getvalue()))
        (folder / "photos" / f"{number}.png").write_bytes(stream.getvalue())
    tar(folder / "images.tar", files)
    tensors = np.stack([drawing.image for drawing in drawn]).transpose(0, 3, 1, 2) / 255 - 0.5
    np.savez(folder / "images.npz", x=tensors.astype(np.float32))
    if find_spec("pyarrow"):
        import pyarrow
        from pyarrow import parquet

        table = pyarrow.table({"image": [data for _, data in files]})
        parquet.write_table(table, folder / "images.parquet")
    return folder


def words_of(name: str, sources: Path) -> list[str]:
    source, methods, metrics = CONFIGURATIONS[name]
    images = f"drawings:{IMAGES}" if source == "drawings" else str(sources / source)
    words = ["evaluate", str(classifier_path()), "--images", images, "--device", "cpu"]
    words += [word for method in methods for word in ("--method", method)]
    words += [word for metric in metrics for word in ("--metric", metric)]
    words += ["--batch-size", "2"]  # rows are written at many moments
    return [*words, *(["--cluster", "local:2"] if name == "cluster" else [])]


def interrupt(server: ForkServer, words: list[str], path: Path, kind: str, moment: float) -> int:
    """Send signals to a run; return its status.

    Args:
        server: Starts the run.
        words: The command line.
        path: The file of the run.
        kind: The signals.
        moment: Seconds after the start if negative, and otherwise after the first new row.
    """
    before, child = count(path, "score"), server.start(words)
    while moment >= 0 and Path(f"/proc/{child}").exists() and count(path, "score") == before:
        time.sleep(0.01)
    time.sleep(abs(moment))
    with suppress(ProcessLookupError):  # it came to its end
        for name in kind.split():
            os.kill(child, signal.Signals[f"SIG{name}"])
            time.sleep(0.01)
    return server.status()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "signals"),
    [
        *[
            pytest.param(name, 10, id=f"{name}-10", marks=pytest.mark.ci)
            for name in ("methods", "curves", "npz")
        ],
        *[pytest.param(name, 50, id=f"{name}-50") for name in CONFIGURATIONS],
    ],
)
def test_signals_at_random_moments(
    name: str, signals: int, server: ForkServer, sources: Path, tmp_path: Path
) -> None:
    needed = {"parquet": "pyarrow", "cluster": "ray"}.get(name)
    if needed is not None:
        pytest.importorskip(needed)
    rng = np.random.default_rng([signals, *name.encode()])
    words, path = words_of(name, sources), tmp_path / "run.sqlite"
    server.start([*words, "-o", str(tmp_path / "whole.sqlite")])
    assert server.status() == 0, server.stderr.read_text()
    expected, compared, resumed = report_of(tmp_path / "whole.sqlite"), 0, 0
    for sent in range(signals):
        kind = SIGNALS[sent % len(SIGNALS)]
        moment = float(rng.uniform(-0.5, 1))
        resumed += count(path, "score") > 0
        status = interrupt(server, [*words, "-o", str(path), "--resume"], path, kind, moment)
        said = server.stderr.read_text()
        assert "Traceback" not in said and "terminate called" not in said, said
        codes = {"KILL": -9, "TERM": 143}.get(kind, 130)
        # Python's own start and end are so short that a process ends by the signal itself.
        assert status in (0, codes, 128 - codes), (kind, moment, status, said)
        if status == 0:
            assert report_of(path) == expected
            compared += 1
            path.unlink()
    server.start([*words, "-o", str(path), "--resume"])
    assert server.status() == 0, server.stderr.read_text()
    assert report_of(path) == expected
    print(f"| {name} | {signals} | {resumed} | {compared + 1} |")  # a row of docs/proofs.md
