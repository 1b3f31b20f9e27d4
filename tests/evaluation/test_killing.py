"""What befalls a run from outside: it is killed, its disk is full, its file locked or broken.

Whatever happens, rows that were written stay, and the run goes on to the result that it would have
had; or it says in a line why it cannot.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.command_line import command, count, environment, evaluation, report_of, run_whole

from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path

resource = pytest.importorskip("resource", reason="POSIX signals and limits")
Rows = dict[str, set[tuple[object, ...]]]
TABLES = ("run", "image", "score", "curve")


def rows_of(path: Path, folder: Path) -> Rows:
    """All that is kept, the time that each score took included.

    Read from a copy, so that to mend a file after a kill is left to the program.
    """
    folder.mkdir(exist_ok=True)
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, folder)
    connection = sqlite3.connect(folder / path.name)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        made = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return {
            table: set(connection.execute(f"SELECT * FROM {table}")) if made else set()
            for table in TABLES
        }
    finally:
        connection.close()
        shutil.rmtree(folder)


def kill(words: list[str], path: Path, moment: float, at_the_start: bool) -> bool:
    """Kill the program so many seconds after its start, or after it first kept something.

    Returns:
        Whether it was killed before its end.
    """
    before = count(path, "score")
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    ) as child:
        while not at_the_start and child.poll() is None and count(path, "score") == before:
            time.sleep(0.02)
        time.sleep(moment)
        child.kill()
        said = child.stderr.read()
    assert child.returncode in (0, -signal.SIGKILL), said
    assert "Traceback" not in said
    return child.returncode != 0


@pytest.mark.parametrize(
    ("kills", "images"),
    [
        pytest.param(3, 40, marks=pytest.mark.slow),  # test_signals.py kills runs, too
        pytest.param(20, 400, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments_and_resumed(kills: int, images: int, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.sqlite", tmp_path / "run.sqlite"
    start = time.monotonic()
    run_whole("evaluate", classifier_path(), "--images", "drawings:1", "-o", tmp_path / "one")
    start_up = time.monotonic() - start
    run_whole(*evaluation(images), "-o", whole)
    words = command(*evaluation(images), "-o", path, "--resume")
    rng, killed, growing = np.random.default_rng(6), 0, [0]
    kept: Rows = {table: set() for table in TABLES}
    for number in range(kills):
        # Every fourth one while it starts: the model is read, the file made or opened.
        at_the_start = number % 4 == 0
        moment = rng.uniform(0, start_up if at_the_start else 0.4)
        if not kill(words, path, moment, at_the_start):
            break
        killed += 1
        if path.exists():
            found = rows_of(path, tmp_path / "copy")
            # Computed again, a pair would have taken another time.
            assert all(kept[table] <= found[table] for table in TABLES[1:])
            kept = found
        growing.append(len(kept["score"]))
    # A fast machine may come to the end of the little work before the last kill.
    assert killed == kills or (kills < 20 and killed >= 2), killed
    assert len(set(growing)) > killed / 2 and growing == sorted(growing)
    run_whole(*words[3:])
    assert kept["score"] <= rows_of(path, tmp_path / "copy")["score"]
    assert report_of(path) == report_of(whole)


def refused(*words: str | Path) -> str:
    """The one line that the program says as it refuses."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("adcc-onnx: ")]
    assert len(lines) == 1 and lines[0] == result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output and not result.stdout
    return lines[0]


def evaluated(folder: Path, *options: str | Path) -> None:
    """Evaluate the classifier in a folder, in this process."""
    done = CliRunner().invoke(main, [str(word) for word in [*words_in(folder), *options]])
    assert done.exit_code == 0, done.output


def words_in(folder: Path) -> list[str | Path]:
    words = ["evaluate", folder / "classifier.onnx", "--images", "drawings:6", "--device", "cpu"]
    return [*words, "--method", "gradcam", "--metric", "insertion(steps=50)"]


@pytest.fixture(scope="module")
def folder_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the classifier, and a run that has begun in `run.sqlite`."""
    folder = tmp_path_factory.mktemp("begun")
    for name in ("classifier.onnx", "classifier.toml", "labels.txt"):
        shutil.copy(classifier_path().with_name(name), folder)
    evaluated(folder, "--limit", "2", "-o", folder / "run.sqlite")
    return folder


@pytest.fixture
def begun(folder_of_the_run: Path, tmp_path: Path) -> list[str | Path]:
    """The words that continue a copy of the run in the folder of the test."""
    shutil.copytree(folder_of_the_run, tmp_path, dirs_exist_ok=True)
    return [*words_in(tmp_path), "-o", tmp_path / "run.sqlite", "--resume"]


def test_another_run_is_not_continued_and_the_difference_is_shown(
    begun: list[str | Path], tmp_path: Path
) -> None:
    path, model = tmp_path / "run.sqlite", tmp_path / "classifier.onnx"
    before = rows_of(path, tmp_path / "copy")
    made = f"adcc-onnx: {path} holds a run made differently ("
    assert refused(*begun, "--seed", "1") == f"{made}seed: 0 -> 1)"
    assert "protocol: 'poppi2021' -> 'openvino'" in refused(*begun, "--protocol", "openvino")
    assert refused(*begun, "--preprocess", "tf").startswith(f"{made}preprocessing: ")
    assert "target: 'predicted' -> 3" in refused(*begun, "--target", "3")
    assert "images: 'drawings:6' -> 'drawings:6@1'" in refused(*begun, "--images=drawings:6@1")
    model.write_bytes(model.read_bytes() + b"\x72\x00")  # one more, empty, documentation
    assert refused(*begun).startswith(f"{made}sha256: ")
    assert rows_of(path, tmp_path / "copy") == before


def test_the_disk_is_full(begun: list[str | Path], tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    before, size = rows_of(path, tmp_path / "copy"), path.stat().st_size

    def no_file_grows() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(
        command(*begun),
        capture_output=True,
        text=True,
        env=environment(),
        preexec_fn=no_file_grows,
    )
    assert done.returncode == 1, done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"adcc-onnx: {path}: ") and "rows written before are intact" in said
    assert "disk" in said and "Traceback" not in done.stderr
    after = rows_of(path, tmp_path / "copy")
    assert all(before[table] <= after[table] for table in TABLES)
    evaluated(tmp_path, "-o", path, "--resume")
    evaluated(tmp_path, "-o", tmp_path / "whole.sqlite")
    assert report_of(path) == report_of(tmp_path / "whole.sqlite")


def test_the_file_is_locked(
    begun: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.sqlite"
    # Not five seconds a try.
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.1))
    before = rows_of(path, tmp_path / "copy")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert refused(*begun) == (
        f"adcc-onnx: {path}: database is locked; rows written before are intact"
    )
    other.close()
    assert rows_of(path, tmp_path / "copy") == before


@pytest.mark.parametrize("how", ["header", "middle", "cut", "text"])
def test_the_file_is_broken(begun: list[str | Path], tmp_path: Path, how: str) -> None:
    path = tmp_path / "run.sqlite"
    whole = path.read_bytes()
    page = 4096
    path.write_bytes(
        {
            "header": os.urandom(page) + whole[page:],
            "middle": whole[:page] + b"\xff" * (len(whole) - page),
            "cut": whole[: len(whole) // 2],
            "text": b"not a database, but long enough to be looked at\n" * 99,
        }[how]
    )
    broken = path.read_bytes()
    for words in (begun, ("report", path)):
        assert refused(*words).startswith(f"adcc-onnx: {path} is ")
    assert path.read_bytes() == broken
