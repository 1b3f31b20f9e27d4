"""Parquet files with the layout of Hugging Face, read by row group."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tar_files import png, shade

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.sources.open_images import open_source

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path: Path, columns: dict[str, Any], group: int = 4) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=group)
    return path


def structs(paths: list[str | None]) -> list[dict[str, Any]]:
    return [{"bytes": png(i), "path": path} for i, path in enumerate(paths)]


def test_hugging_faces_layout(tmp_path: Path) -> None:
    images = structs([f"n01440764_{i}.png" for i in range(10)])
    labels = [0, 1, 2, 3, 4, None, 6, 7, 8, 9]
    source = open_source(write(tmp_path / "x.parquet", {"image": images, "label": labels}))
    assert list(source.names) == [f"n01440764_{i}.png" for i in range(10)]
    assert list(source.labels) == labels
    for _ in range(2):
        assert [shade(record.load()) for record in source] == list(range(10))
    assert [(r.label, shade(r.load())) for r in source.at([1, 3, 4, 9])] == [
        (1, 1),
        (3, 3),
        (4, 4),
        (9, 9),
    ]


@pytest.mark.parametrize("path", [None, "/home/me/a.png", "../a.png", ""])
def test_rows_without_a_name_are_numbered(tmp_path: Path, path: str | None) -> None:
    file = write(tmp_path / "x.parquet", {"image": structs(["a.png", path])})
    assert list(open_source(file).names) == ["0", "1"]


def test_a_column_of_bytes_and_text_labels(tmp_path: Path) -> None:
    columns = {"image": [png(1), png(2)], "label": pa.array(["cat", "7"]).dictionary_encode()}
    source = open_source(write(tmp_path / "x.parquet", columns))
    assert list(source.labels) == ["cat", 7] and list(source.names) == ["0", "1"]
    assert [shade(record.load()) for record in source] == [1, 2]


def test_shards(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"val-{i:05d}-of-00002.parquet", {"image": [png(2 * i), png(2 * i + 1)]})
    source = open_source(tmp_path / "val-{00000..00001}-of-00002.parquet")
    assert source.names[2] == "val-00001-of-00002/0"
    assert [shade(record.load()) for record in source] == [0, 1, 2, 3]


def test_row_groups_without_requested_rows_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(write(tmp_path / "x.parquet", {"image": [png(i) for i in range(12)]}))
    read: list[int] = []
    whole = parquet.ParquetFile.iter_batches

    def watched(self: Any, *sizes: Any, **options: Any) -> Any:
        read.extend(options["row_groups"])
        return whole(self, *sizes, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", watched)
    assert [shade(record.load()) for record in source.at([0, 9, 11])] == [0, 9, 11]
    assert read == [0, 2]


def test_a_damaged_row_or_row_group_fails_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [None, b"no picture", *(png(i) for i in range(2, 12))]
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"image": images}), path, row_group_size=4, compression="none")
    source = open_source(path)
    data = bytearray(path.read_bytes())
    start = parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 20] = rng.bytes(20)
    path.write_bytes(data)
    found = []
    for record in source:
        try:
            found.append(shade(record.load()))
        except ImageError as error:
            found.append(-1)
            assert str(error).startswith(f"{record.name}: ") and "\n" not in str(error)
    assert found == [-1, -1, 2, 3, -1, -1, -1, -1, 8, 9, 10, 11]


def test_a_file_that_vanishes_fails_its_images(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "x.parquet", {"image": [png(0), png(1)]}))
    (tmp_path / "x.parquet").unlink()
    for record in source:
        with pytest.raises(ImageError, match="No such file"):
            record.load()


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "none.parquet", {"picture": [png(0)]})
    write(tmp_path / "empty.parquet", {"image": pa.array([], pa.binary())})
    write(tmp_path / "floats.parquet", {"image": [png(0)], "label": [0.5]})
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    wanted = {
        "none": "has no column 'image'",
        "empty": "has no rows",
        "floats": "neither integers nor text",
        "broken": "cannot be read as Parquet",
    }
    for name, words in wanted.items():
        with pytest.raises(SourceError, match=words):
            open_source(tmp_path / f"{name}.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SourceError, match=r'pip install "adcc-onnx\[parquet\]"'):
        open_source(tmp_path / "none.parquet")
