"""The store: atomic batches, resuming, and errors that lose no data."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from adcc_onnx.errors import StoreError
from adcc_onnx.results.rows import FailureRow, ImageRow, RunProgress, ScoreRow
from adcc_onnx.results.store import Store

CONFIG = {"model": "net", "methods": ["gradcam"], "seed": 0, "device": "cpu", "versions": {}}

METHODS = ["gradcam"]


def image(position: int, failure: str | None = None) -> ImageRow:
    return ImageRow(position, f"{position}.png", 3, 1, 1, 0.25, failure)


def score(position: int) -> ScoreRow:
    return ScoreRow(position, "gradcam", False, None, {"average_drop": 0.1 * position}, 0.5)


def stored(path: Path, count: int = 3) -> Path:
    with Store.create(path) as store:
        run = store.begin(CONFIG)
        for i in reversed(range(count)):
            store.write(run, [image(i)], [score(i)])
    return path


def test_what_is_written_is_read_in_the_order_of_the_images(tmp_path: Path) -> None:
    with Store.open(stored(tmp_path / "run.sqlite")) as store:
        (run,) = store.runs()
        columns = run.methods["gradcam"]
        assert columns.positions.tolist() == [0, 1, 2]
        assert columns.values["average_drop"].tolist() == [0.0, 0.1, 0.2]
        assert columns.seconds.tolist() == [0.5] * 3 and not columns.degenerate.any()
        assert run.config == CONFIG and not run.complete and run.number == 1
        assert (run.images, run.failed, run.failures) == (3, 0, [])
    with Store.resume(tmp_path / "run.sqlite") as store:
        store.finish(1)
        assert store.run(1).complete


def test_values_that_an_image_lacks_are_nan(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.sqlite") as store:
        run = store.begin(CONFIG)
        rows = [{"iou": 0.5}, {"adcc": 0.25}, {}, {"iou": 0.75, "adcc": 1.0}]
        scores = [ScoreRow(i, "gradcam", i == 2, None, values) for i, values in enumerate(rows)]
        store.write(run, [image(i) for i in range(4)], scores)
        columns = store.run(run).methods["gradcam"]
        np.testing.assert_array_equal(columns.values["iou"], [0.5, np.nan, np.nan, 0.75])
        np.testing.assert_array_equal(columns.values["adcc"], [np.nan, 0.25, np.nan, 1.0])
        assert columns.degenerate.tolist() == [False, False, True, False]


def test_failures_and_top1_come_from_the_rows(tmp_path: Path) -> None:
    rows = [
        ImageRow(0, "a", 7, 7, 7, 0.9, None),
        ImageRow(1, "b", 7, 3, 3, 0.9, None),
        ImageRow(2, "c", None, 3, 3, 0.9, None),
        ImageRow(3, "d", 7, None, None, None, "cut short"),
    ]
    with Store.create(tmp_path / "run.sqlite") as store:
        run = store.begin(CONFIG)
        store.write(run, rows, [ScoreRow(1, "gradcam", False, "NaN", {})])
        found = store.run(run)
        assert (found.images, found.failed, found.top1) == (4, 1, 0.5)
        assert found.failures == [
            FailureRow("d", None, "cut short"),
            FailureRow("b", "gradcam", "NaN"),
        ]


def test_curves_are_stored_and_averaged(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.sqlite") as store:
        run = store.begin(CONFIG)
        curves = [{"deletion": np.array([1.0, 0.5])}, {"deletion": np.array([0.5, 0.0])}]
        scores = [ScoreRow(i, "gradcam", False, None, {}, 0.0, c) for i, c in enumerate(curves)]
        store.write(run, [image(0), image(1)], scores)
        (mean,) = store.mean_curves(run, "gradcam").values()
        np.testing.assert_allclose(mean.mean, [0.75, 0.25])
        # The standard deviation of 0.5 and 1 is 0.5 / sqrt(2), and that of two images' mean 0.25.
        np.testing.assert_allclose(mean.standard_error, [0.25, 0.25])
        assert store.mean_curves(run, "other") == {}


def test_progress_knows_every_finished_pair(tmp_path: Path) -> None:
    methods = ["a", "b"]
    with Store.create(tmp_path / "run.sqlite") as store:
        run = store.begin({**CONFIG, "methods": methods})
        store.write(run, [image(0), image(1), image(2, "broken"), image(3)])
        done = [(0, "a"), (0, "b"), (1, "b")]
        store.write(run, scores=[ScoreRow(i, m, False, None, {}) for i, m in done])
        wanted = RunProgress({0, 2}, {1: frozenset({"b"}), 3: frozenset()})
        assert store.progress(run, methods) == wanted


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = stored(tmp_path / "run.sqlite")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="exists: continue it with --resume"):
        Store.create(path)
    assert path.read_bytes() == before


def test_resuming_continues_a_run_or_begins_one(tmp_path: Path) -> None:
    with Store.resume(tmp_path / "new.sqlite") as store:
        assert store.progress(store.begin(CONFIG), METHODS) == RunProgress(set(), {})
    with Store.resume(stored(tmp_path / "run.sqlite")) as store:
        assert store.progress(store.begin(CONFIG), METHODS) == RunProgress({0, 1, 2}, {})


def test_a_partly_created_file_is_completed(tmp_path: Path) -> None:
    """A process may be killed between any two steps, before the tables exist."""
    (tmp_path / "empty.sqlite").touch()
    connection = sqlite3.connect(tmp_path / "bare.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    for name in ("empty.sqlite", "bare.sqlite"):
        with pytest.raises(StoreError, match="not a file of runs"):
            Store.open(tmp_path / name)
        with Store.resume(tmp_path / name) as store:
            store.begin(CONFIG)
        with Store.open(tmp_path / name) as store:
            assert len(store.runs()) == 1


def test_the_device_may_change_but_not_the_settings(tmp_path: Path) -> None:
    with Store.resume(stored(tmp_path / "run.sqlite")) as store:
        assert store.begin({**CONFIG, "device": "cuda:0"}) == 1
        with pytest.raises(StoreError, match="made differently \\(seed: 0 -> 1\\)"):
            store.begin({**CONFIG, "seed": 1})
        assert store.begin({**CONFIG, "model": "other"}) == 2


def test_a_batch_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    with Store.resume(stored(tmp_path / "run.sqlite")) as store:
        with pytest.raises(StoreError, match="rows written before are intact"):
            store.write(1, [image(3), image(0)], [score(3)])
        assert store.progress(1, METHODS).finished == {0, 1, 2}
        store.write(1, [image(3)], [score(3)])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database, but long enough to look at\n" * 50)
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE t (x)").connection.close()
    short = stored(tmp_path / "short.sqlite", 400)
    short.write_bytes(short.read_bytes()[:9000])
    with pytest.raises(StoreError, match="no such run"):
        Store.open(tmp_path / "none.sqlite")
    with pytest.raises(StoreError, match=r"text\.sqlite"):
        Store.open(tmp_path / "text.sqlite")
    with pytest.raises(StoreError, match="not a file of runs"):
        Store.open(tmp_path / "other.sqlite")
    with pytest.raises(StoreError, match=r"short\.sqlite"), Store.open(short) as store:
        store.runs()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.create(tmp_path / "no" / "folder" / "run.sqlite")


def test_a_write_that_another_program_blocks_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "run.sqlite")
    with Store.resume(path) as store:
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        store._connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreError, match="locked"):
            store.write(1, [image(9)], [])
        writer.close()
