"""The run's file: whole batches, honest resumption, and errors that lose nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from adcc_onnx.errors import StoreError
from adcc_onnx.evaluation.store import ImageRow, ScoreRow, Store

CONFIG = {"model": "net", "methods": ["gradcam"], "seed": 0, "device": "cpu", "versions": {}}


def image(position: int, failure: str | None = None) -> ImageRow:
    return ImageRow(position, f"{position}.png", 3, 1, 1, 0.25, failure)


def score(position: int) -> ScoreRow:
    return ScoreRow(position, "gradcam", False, None, {"average_drop": 0.1 * position})


def kept(path: Path, count: int = 3) -> Path:
    with Store.create(path) as store:
        run = store.begin(CONFIG)
        for i in reversed(range(count)):
            store.write(run, [image(i)], [score(i)])
    return path


def test_what_is_written_is_read_in_the_order_of_the_images(tmp_path: Path) -> None:
    with Store.open(kept(tmp_path / "run.sqlite")) as store:
        (run,) = store.runs()
        assert run.images == [image(i) for i in range(3)]
        assert run.scores == [score(i) for i in range(3)]
        assert run.config == CONFIG and not run.complete
        store.finish(1)
        assert store.run(1).complete


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = kept(tmp_path / "run.sqlite")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="exists: continue it with --resume"):
        Store.create(path)
    assert path.read_bytes() == before


def test_resuming_goes_on_and_starts_where_there_is_nothing(tmp_path: Path) -> None:
    with Store.resume(tmp_path / "new.sqlite") as store:
        assert store.finished_images(store.begin(CONFIG)) == set()
    with Store.resume(kept(tmp_path / "run.sqlite")) as store:
        assert store.finished_images(store.begin(CONFIG)) == {0, 1, 2}


def test_where_a_run_is_made_may_change_but_not_what_it_is(tmp_path: Path) -> None:
    with Store.open(kept(tmp_path / "run.sqlite")) as store:
        assert store.begin({**CONFIG, "device": "cuda:0"}) == 1
        with pytest.raises(StoreError, match="made differently \\(seed: 0 -> 1\\)"):
            store.begin({**CONFIG, "seed": 1})
        assert store.begin({**CONFIG, "model": "other"}) == 2


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    with Store.open(kept(tmp_path / "run.sqlite")) as store:
        with pytest.raises(StoreError, match="rows written before are intact"):
            store.write(1, [image(3), image(0)], [score(3)])
        assert store.finished_images(1) == {0, 1, 2}
        store.write(1, [image(3)], [score(3)])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database, but long enough to look at\n" * 50)
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE t (x)").connection.close()
    newer = kept(tmp_path / "newer.sqlite")
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    short = kept(tmp_path / "short.sqlite", 400)
    short.write_bytes(short.read_bytes()[:9000])
    with pytest.raises(StoreError, match="no such run"):
        Store.open(tmp_path / "none.sqlite")
    with pytest.raises(StoreError, match=r"text\.sqlite"):
        Store.open(tmp_path / "text.sqlite")
    with pytest.raises(StoreError, match="no file of runs"):
        Store.open(tmp_path / "other.sqlite")
    with pytest.raises(StoreError, match="another version"):
        Store.open(newer)
    with pytest.raises(StoreError, match=r"short\.sqlite"), Store.open(short) as store:
        store.runs()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.create(tmp_path / "no" / "folder" / "run.sqlite")


def test_a_file_that_another_run_is_writing_is_refused(tmp_path: Path) -> None:
    path = kept(tmp_path / "run.sqlite")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Store.open(path) as store:
        store._connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreError, match="locked"):
            store.write(1, [image(9)], [])
    writer.close()
