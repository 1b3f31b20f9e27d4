"""Reading where nothing can be written, and one writer at a time."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adcc_onnx.api.reports import merge, render_report
from adcc_onnx.errors import StoreError
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

CONFIG = {
    "model": "net",
    "methods": ["gradcam"],
    "metrics": ["average_drop"],
    "protocol": "poppi2021",
    "layer": "block5",
    "target": "predicted",
    "images": "photos",
}
# Writes an image, and waits to be killed.
WRITER = """
import sys, time
from pathlib import Path
from adcc_onnx.results.rows import ImageRow
from adcc_onnx.results.store import Store
store = Store.resume(Path(sys.argv[1]))
run = store.runs()[0].number
store.write(run, [ImageRow(7, "7.png", None, 1, 1, 0.5, "broken")])
print("written", flush=True)
time.sleep(60)
"""
NOBODY = 65534


def stored(path: Path, images: int = 3) -> Path:
    with Store.create(path) as store:
        run = store.begin(CONFIG)
        for i in range(images):
            score = ScoreRow(i, "gradcam", False, None, {"average_drop": 0.25})
            store.write(run, [ImageRow(i, f"{i}.png", None, 1, 1, 0.5, None)], [score])
    return path


def images_in(path: Path) -> int:
    with Store.open(path) as store:
        return store.runs()[0].images


@contextmanager
def a_writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written an image and holds the file."""
    words = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "written\n"
            yield child
        finally:
            child.kill()


@pytest.fixture
def of_others() -> Iterator[Path]:
    """A folder that everyone may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Run as a user that may read a folder and its files, and change nothing."""
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:  # Permissions do not apply to root.
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_finished_file_is_one_file_without_a_log(tmp_path: Path) -> None:
    path = stored(tmp_path / "run.sqlite")
    assert path.read_bytes()[18:20] == b"\x01\x01"  # not in WAL mode
    assert list(tmp_path.iterdir()) == [path]
    with Store.resume(path) as store:
        store.finish(1)
        assert {p.name for p in tmp_path.iterdir()} >= {"run.sqlite", "run.sqlite-lock"}
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_others_are_reported_merged_and_compared(of_others: Path, tmp_path: Path) -> None:
    paths = [stored(of_others / f"{name}.sqlite") for name in "ab"]
    out = Path(tempfile.mkdtemp(dir="/tmp"))
    out.chmod(0o777)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in of_others.iterdir()}
    render_report(paths, format="csv")  # Everything is imported by a user who may.
    with unprivileged(of_others):
        with pytest.raises(StoreError, match="cannot be opened for writing"):
            Store.resume(paths[0])
        assert "average_drop" in render_report(paths[0], format="csv")
        assert "gradcam" in render_report(paths[0], compare=True)
        merge(paths, out / "both.sqlite")
        assert images_in(out / "both.sqlite") == 3
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in of_others.iterdir()}
    assert after == before
    shutil.rmtree(out)


def test_reading_changes_nothing_beside_a_file_in_wal_mode(of_others: Path) -> None:
    """As other programs, and earlier versions, leave it."""
    path = stored(of_others / "run.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.read_bytes()[18:20] == b"\x02\x02"
    assert images_in(path) == 3 and list(of_others.iterdir()) == [path]
    with unprivileged(of_others):
        assert images_in(path) == 3


def test_the_last_rows_of_a_killed_run_are_read(of_others: Path) -> None:
    path = stored(of_others / "run.sqlite")
    with a_writer(path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert images_in(path) == 4
    (of_others / "run.sqlite-shm").unlink(missing_ok=True)
    with unprivileged(of_others), pytest.raises(StoreError, match="in a folder that can be writ"):
        images_in(path)
    assert images_in(path) == 4


def test_a_running_evaluation_can_be_read(tmp_path: Path) -> None:
    path = stored(tmp_path / "run.sqlite")
    with a_writer(path):
        assert images_in(path) == 4


def test_the_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = stored(tmp_path / "run.sqlite")
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    with a_writer(path) as child:
        for name in (path, link):
            with pytest.raises(StoreError, match=r"is being written by another process: wait"):
                Store.resume(name)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert (tmp_path / "run.sqlite-lock").exists()
        with Store.resume(path) as store:
            assert store.run(1).images == 4
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_two_writers_of_a_new_file(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.sqlite"):
        for opening in (Store.create, Store.resume):
            with pytest.raises(StoreError, match=r"exists|is being written"):
                opening(tmp_path / "run.sqlite")
        assert (tmp_path / "run.sqlite-lock").exists()


def test_a_transaction_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    """The process may be killed while it leaves WAL mode."""
    path = stored(tmp_path / "run.sqlite", 300)
    kill = "import os, signal, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)"
    for statement in ("PRAGMA cache_size = 1", "BEGIN", "UPDATE image SET name = 'x' || name"):
        kill += f'; c.execute("{statement}")'
    done = subprocess.run([sys.executable, "-c", f"{kill}; os.kill(os.getpid(), 9)", str(path)])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "run.sqlite-journal").stat().st_size > 0
    with Store.open(path) as store:
        assert store.image_names(1)[0] == "0.png"
    assert list(tmp_path.iterdir()) == [path]


def test_other_than_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device", "."):
        with pytest.raises(StoreError, match="is not a regular file"):
            Store.open(tmp_path / name)
        with pytest.raises(StoreError, match="is not a regular file"):
            Store.resume(tmp_path / name)
