"""A changed or missing byte of a file of runs is an error in one line, never another score."""

from __future__ import annotations

import json
import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest

from adcc_onnx.errors import StoreError
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

METHODS = ["gradcam", "layercam"]
RNG = np.random.default_rng(4)


def whole(path: Path, images: int = 12) -> Path:
    """Write two runs with failures and curves, on several pages of each table."""
    with Store.create(path) as store:
        for model in ("net", "other"):
            run = store.begin({"model": model, "methods": METHODS, "labels": ["class"] * 900})
            for i in range(images):
                failure = "truncated" if i % 10 == 9 else None
                image = ImageRow(
                    i, f"photo_{i}.jpg", i % 5, 1, 1, RNG.random(), failure, b"jpeg" * 9
                )
                scores = [] if failure else [_score(i, method) for method in METHODS]
                store.write(run, [image], scores)
            store.finish(run)
    return path


def _score(position: int, method: str) -> ScoreRow:
    values = {"average_drop": RNG.random(), "complexity": RNG.random()}
    curves = {"deletion": RNG.random(64)}
    heatmap = RNG.random((4, 4)).astype(np.float16)
    return ScoreRow(
        position, method, False, None, values, RNG.random(), curves, RNG.random(), heatmap
    )


def content(path: Path) -> str:
    """Everything that a reader gets from a file."""
    with Store.open(path) as store:
        runs = store.runs()
        configs = [(run.config, run.complete, run.images, run.failed, run.top1) for run in runs]
        rows = [str(list(store.rows(run.number))) for run in runs]
        return json.dumps([configs, [str(run.failures) for run in runs], rows])


def outcome(path: Path, data: bytes) -> str | None:
    """Return the content of changed data; None if they are refused in one line."""
    path.write_bytes(data)
    try:
        return content(path)
    except StoreError as error:
        said = str(error)
        assert str(path) in said and "\n" not in said and len(said) < 400
        assert path.read_bytes() == data
        return None


def flips(data: bytes, count: int) -> list[bytes]:
    """Change single bytes, each in turn in the header or anywhere."""
    changed = []
    for i in range(count):
        at = int(RNG.integers(100 if i % 5 == 0 else len(data)))
        value = data[at] ^ int(RNG.integers(1, 256))
        changed.append(data[:at] + bytes([value]) + data[at + 1 :])
    return changed


def check(tmp_path: Path, changes: int, cuts: int) -> None:
    data = whole(tmp_path / "run.sqlite").read_bytes()
    wanted, copy = content(tmp_path / "run.sqlite"), tmp_path / "copy.sqlite"
    found = [outcome(copy, changed) for changed in flips(data, changes)]
    assert set(found) == {wanted, None} and found.count(None) > changes / 4
    print(f"{found.count(None)} of {changes} changes were refused, the others gave the same")
    ends = RNG.integers(len(data), size=cuts - 3).tolist()
    assert {outcome(copy, data[:end]) for end in [0, 4096, len(data) - 4096, *ends]} == {None}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.sqlite", "run.sqlite"]


def test_changed_bytes_and_truncations(tmp_path: Path) -> None:
    check(tmp_path, 200, 40)


@pytest.mark.slow
def test_many_changed_bytes_and_truncations(tmp_path: Path) -> None:
    check(tmp_path, 5000, 500)


def test_every_byte_of_a_page_counts(tmp_path: Path) -> None:
    """The number of rows of a page, its pointers and its rows; the free space does not count."""
    data = whole(tmp_path / "run.sqlite", 10).read_bytes()
    wanted, copy = content(tmp_path / "run.sqlite"), tmp_path / "copy.sqlite"
    page = data.index(b"photo_3.jpg") // 4096 * 4096
    for at in [*range(page, page + 60), *range(page + 3900, page + 4096, 7)]:
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert outcome(copy, changed) in (wanted, None)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE score SET seconds = 9 WHERE position = 3", "row of image 3 in the table 'score'"),
        ("UPDATE image SET failure = 'x' WHERE position = 7", "row of image 7 in the table 'im"),
        ("UPDATE curve SET points = x'00' WHERE position = 0", "row of image 0 in the table 'cu"),
        ("UPDATE run SET complete = 0", "a row of the table 'run'"),
        ("UPDATE total SET rows = 9", "a row of the table 'total'"),
        ("UPDATE format SET readable_since = '9'", "a row of the table 'format'"),
        ("DELETE FROM score WHERE position = 3", "rows are missing"),
        ("DELETE FROM curve", "rows are missing"),
        ("DELETE FROM thumbnail WHERE run = 1", "rows are missing"),
        ("UPDATE heatmap SET width = 2", "row of image 0 in the table 'heatmap'"),
        ("DELETE FROM total", "rows are missing"),
        ("DELETE FROM format", "'format' does not fit"),
        ("DELETE FROM run WHERE id = 2", "a run is missing"),
        ("CREATE VIEW pictures AS SELECT 1", "its tables are not those of format 3"),
        ("DROP TABLE curve", "its tables are not those of format 3"),
    ],
)
def test_a_statement_of_another_program_is_noticed(
    tmp_path: Path, statement: str, said: str
) -> None:
    path = whole(tmp_path / "run.sqlite", 8)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for opening in (Store.open, Store.resume):
        with pytest.raises(StoreError, match=said):
            opening(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_checksum_is_the_documented_one(tmp_path: Path) -> None:
    """As docs/reference/run-format.md says, from the rows as SQLite returns them."""
    connection = sqlite3.connect(whole(tmp_path / "run.sqlite", 10))
    for table in ("format", "run", "image", "score", "curve", "thumbnail", "heatmap", "total"):
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert rows
        for *values, checksum in rows:
            shown = [v.hex() if isinstance(v, bytes) else v for v in values]
            assert checksum == zlib.crc32(
                json.dumps([table, *shown], separators=(",", ":")).encode()
            )
    totals = connection.execute("SELECT rows, checksums FROM total WHERE counted = 'score'")
    sums = connection.execute("SELECT count(*), sum(checksum) FROM score GROUP BY run")
    assert totals.fetchall() == sums.fetchall()
    connection.close()


def test_values_that_are_no_numbers_keep_their_checksum(tmp_path: Path) -> None:
    """SQLite stores NaN as NULL, and whole numbers of a real column as reals."""
    images = [
        ImageRow(i, "ä\udcff"[:1] + str(i), None, 0, 0, p, None)
        for i, p in enumerate([float("nan"), float("inf"), 1, np.float32(0.1), None])
    ]
    scores = [ScoreRow(0, "gradcam", np.bool_(True), None, {"adcc": float("nan")}, 3)]
    with Store.create(tmp_path / "run.sqlite") as store:
        store.write(store.begin({"model": "net", "methods": METHODS}), images, scores)
    with Store.open(tmp_path / "run.sqlite") as store:
        found = [image.probability for image in store.images(1)]
        assert found == [None, float("inf"), 1.0, float(np.float32(0.1)), None]
