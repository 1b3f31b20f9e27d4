"""Older formats are migrated or refused with what to do, newer ones with the version needed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import adcc_onnx as adcc
from adcc_onnx.errors import StoreError
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

# The tables that adcc-onnx wrote before rows had checksums.
FORMAT_2 = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY, model TEXT NOT NULL UNIQUE, config TEXT NOT NULL,
    complete INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE image (
    run INTEGER NOT NULL REFERENCES run, position INTEGER NOT NULL, name TEXT NOT NULL,
    label INTEGER, target INTEGER, predicted INTEGER, probability REAL, failure TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE TABLE score (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL,
    degenerate INTEGER NOT NULL, failure TEXT, figures TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (run, position, method),
    FOREIGN KEY (run, position) REFERENCES image
) WITHOUT ROWID;
CREATE TABLE curve (
    run INTEGER NOT NULL, position INTEGER NOT NULL, method TEXT NOT NULL, name TEXT NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (run, position, method, name),
    FOREIGN KEY (run, position, method) REFERENCES score
) WITHOUT ROWID;
PRAGMA application_id = 1094992707; PRAGMA user_version = 2; PRAGMA journal_mode = WAL;
INSERT INTO run VALUES (1, 'net', '{"images": "photos", "layer": "block5", "methods": ["gradcam"],
"metrics": ["average_drop"], "model": "net", "protocol": "poppi2021", "target": "predicted"}', 0);
INSERT INTO image VALUES (1, 0, 'a.png', 3, 1, 1, 0.25, NULL);
INSERT INTO image VALUES (1, 1, 'b', NULL, NULL, NULL, NULL, 'x');
INSERT INTO score VALUES (1, 0, 'gradcam', 0, NULL, '{"average_drop": 0.5}', 0.125);
INSERT INTO curve VALUES (1, 0, 'gradcam', 'deletion', x'0000803f0000003f');
"""
ROWS = [
    (
        ImageRow(0, "a.png", 3, 1, 1, 0.25, None),
        {"average_drop": 0.5},
        {"deletion": [1.0, 0.5]},
    ),
    (ImageRow(1, "b", None, None, None, None, "x"), None, None),
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(FORMAT_2)
    connection.close()
    return path


def rows(path: Path) -> list[tuple[object, ...]]:
    with Store.open(path) as store:
        return [
            (
                image,
                scores[0].values if scores else None,
                {n: c.tolist() for n, c in scores[0].curves.items()} if scores else None,
            )
            for image, scores in store.rows(1)
        ]


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(found)


def test_format_2_is_read_without_changing_the_file(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    assert rows(old) == ROWS
    assert "0.5" in adcc.render_report(old, format="csv")
    adcc.merge([old], tmp_path / "new.sqlite")
    assert old.read_bytes() == before
    assert version(tmp_path / "new.sqlite") == 3 and rows(tmp_path / "new.sqlite") == ROWS


def test_format_2_is_migrated_when_it_is_continued(old: Path, tmp_path: Path) -> None:
    with Store.resume(old) as store:
        run = store.begin(store.runs()[0].config)
        assert run == 1 and store.progress(run, ["gradcam"]).finished == {0, 1}
        image = ImageRow(2, "c", None, 0, 0, 0.5, None)
        store.write(run, [image], [ScoreRow(2, "gradcam", False, None, {"average_drop": 1.0})])
        store.finish(run)
    assert version(old) == 3
    assert rows(old)[:2] == ROWS and len(rows(old)) == 3
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_other_formats_are_refused_with_what_to_do(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    Store.create(new).close()
    connection = sqlite3.connect(new)
    connection.executescript(
        "PRAGMA user_version = 4; UPDATE format SET version = 4, readable_since = '0.7.0'"
    )
    connection.close()
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    for opening in (Store.open, Store.resume):
        with pytest.raises(StoreError, match=r'has format 4, .* pip install "adcc-onnx>=0\.7\.0"'):
            opening(new)
        with pytest.raises(StoreError, match=r"has format 1 .* evaluate again"):
            opening(old)


def test_a_damaged_header_is_not_taken_for_another_format(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    Store.create(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreError, match=r"run\.sqlite"):
        Store.open(path)
