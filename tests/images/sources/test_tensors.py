"""Preprocessed tensors are read row by row from every kind of .npz file that numpy writes."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.sources.open_images import open_arrays, open_source

RNG = np.random.default_rng(0)
SAVES = [np.savez, np.savez_compressed]


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("kind", ["f2", "f4", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_array(tmp_path: Path, save: Any, kind: str, order: Any) -> None:
    x = np.asarray(RNG.standard_normal((7, 3, 4, 5)).astype(kind), order=order)
    save(tmp_path / "x.npz", other=np.arange(9), label=np.arange(7)[:, None], x=x)
    source = open_source(tmp_path / "x.npz")
    assert source.preprocessed and len(source) == 7 and list(source.names) == list("0123456")
    for _ in range(2):
        loads = [record.load() for record in source]
        assert all(load.dtype == np.float32 and load.flags.c_contiguous for load in loads)
        np.testing.assert_array_equal(np.stack(loads), x.astype(np.float32))
    few = list(source.at([0, 3, 4, 6]))
    assert [record.label for record in few] == [0, 3, 4, 6]
    np.testing.assert_array_equal(np.stack([r.load() for r in few]), x[[0, 3, 4, 6]].astype("f4"))
    assert list(open_source(tmp_path / "x.npz", 3, seed=1).names) != []


def test_text_labels_and_slices_of_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 1, 2, 2)), label=np.array(["cat", "dog", "cat"]))
    source = open_source(tmp_path / "x.npz")
    assert list(source.labels) == ["cat", "dog", "cat"]
    assert source.names[1:] == ["1", "2"] and source.names[-1] == "2"


@pytest.mark.parametrize("save", SAVES)
def test_one_image_is_in_memory_at_a_time(tmp_path: Path, save: Any) -> None:
    """64 MiB of tensors, read within 4."""
    save(tmp_path / "x.npz", x=np.zeros((64, 4, 256, 256), np.float32))
    tracemalloc.start()
    for record in open_source(tmp_path / "x.npz"):
        record.load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize("save", SAVES)
def test_later_damage_fails_the_images(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "x.npz"
    save(path, x=RNG.standard_normal((40, 3, 8, 8)))
    source, data = open_source(path), path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError):
        list(source)[-1].load()
    path.unlink()
    for record in source:
        with pytest.raises(ImageError, match="No such file"):
            record.load()


@pytest.mark.parametrize("save", SAVES)
def test_damaged_archives_give_a_clean_error_or_tensors(tmp_path: Path, save: Any) -> None:
    path = tmp_path / "x.npz"
    save(path, x=RNG.standard_normal((3, 1, 4, 4)), label=np.arange(3))
    data = path.read_bytes()
    for _ in range(200):
        broken = bytearray(data)
        broken[RNG.integers(len(broken))] ^= 1 << RNG.integers(8)
        path.write_bytes(broken)
        try:
            for record in open_source(path):
                assert record.load().shape[1:] == (4, 4)
        except (SourceError, ImageError) as error:
            assert "\n" not in str(error)


def with_header(path: Path, header: str, body: bytes = b"") -> Path:
    text = header.encode().ljust(118) + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", member)
    return path


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 3, 9, 9)}",
            "does not fit",
        ),
        (
            "{'descr': '<f4', 'fortran_order': True, 'shape': (99999999, 3, 9, 9)}",
            "does not fit",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3, 9, 9)}", "cannot be read"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (0, 3, 9, 9)}", "allow_pickle"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "does not fit"),
        ("__import__('os').system('true')", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_headers_that_contradict_the_data(tmp_path: Path, header: str, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        open_source(with_header(tmp_path / "x.npz", header))
    assert "\n" not in str(caught.value)


def test_an_oversized_row_is_rejected_before_reading(tmp_path: Path) -> None:
    """A small file that unpacks to a gigabyte."""
    with (
        zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w") as member,
    ):
        head = io.BytesIO()
        shape = {"descr": "<f4", "fortran_order": False, "shape": (1, 1, 2**14, 2**14)}
        np.lib.format.write_array_header_1_0(head, shape)
        member.write(head.getvalue())
        for _ in range(1024):
            member.write(bytes(2**20))
    with pytest.raises(SourceError, match=r"1,073,741,824 bytes, more than"):
        open_source(tmp_path / "x.npz")


def test_labels_of_other_types_are_rejected() -> None:
    with pytest.raises(SourceError, match="integers or text"):
        open_arrays(np.zeros((2, 1, 2, 2)), labels=np.array([0.5, 1.5]))
