"""Runs in the cache folder: how many are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from adcc_onnx.runtime.cache_folder import new_cached_run


def test_the_oldest_runs_are_deleted_but_none_that_may_be_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "adcc-onnx" / "runs"
    folder.mkdir(parents=True)
    now = time.time()
    for i in range(15):
        for name in (f"{i:02d}.sqlite", f"{i:02d}.sqlite-wal"):
            (folder / name).write_bytes(b"x")
            os.utime(folder / name, (now - 7200 - i, now - 7200 - i))
    for i in range(3):
        (folder / f"new{i}.sqlite").write_bytes(b"x")
    path = new_cached_run()
    assert path is not None and path.parent == folder and not path.exists()
    left = {file.name for file in folder.iterdir()}
    kept = {f"{i:02d}.sqlite{end}" for i in range(7) for end in ("", "-wal")}
    assert left == {"new0.sqlite", "new1.sqlite", "new2.sqlite", *kept}


def test_large_old_runs_are_deleted_except_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "adcc-onnx" / "runs"
    folder.mkdir(parents=True)
    for i in range(3):
        with (folder / f"{i}.sqlite").open("wb") as stream:
            stream.truncate(2**30 + 1)  # sparse: it takes no space
        os.utime(folder / f"{i}.sqlite", (time.time() - 7200 - i,) * 2)
    assert new_cached_run() is not None
    assert [file.name for file in folder.iterdir()] == ["0.sqlite"]


def test_without_a_folder_to_write_to_there_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert new_cached_run() is None
