"""Tar archives and shards: read in place, labeled by WebDataset's naming, and untrusted."""

from __future__ import annotations

import io
import os
import tarfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.tar_files import Member, png, shade, tar
from PIL import Image

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.sources.open_images import open_source


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_images_are_in_the_order_of_the_archive(tmp_path: Path, kind: int) -> None:
    deep = "d" * 90 + "/" + "n" * 90 + ".png"
    members = [("./b.png", png(1)), ("a.PNG", png(2)), (deep, png(3)), ("notes.txt", b"x")]
    source = open_source(tar(tmp_path / "x.tar", [*members, (".hidden.png", png(4))], kind))
    assert list(source.names) == ["b.png", "a.PNG", deep] and list(source.labels) == [None] * 3
    for _ in range(2):
        assert [shade(record.load()) for record in source] == [1, 2, 3]
    assert [shade(record.load()) for record in source.at([0, 2])] == [1, 3]


def test_labels_by_webdatasets_naming(tmp_path: Path) -> None:
    members = [
        ("train/0.cls", b"7\n"),
        ("train/0.jpg", png(0)),
        ("train/0.seg.png", png(9)),
        ("train/1.png", png(1)),
        ("train/1.json", b'{"label": "tench", "caption": "a fish"}'),
        ("train/2.input.png", png(2)),
        ("train/2.cls", b"-1"),
        ("other/0.png", png(3)),
        ("train/3.png", png(4)),
        ("train/3.json", b'{"caption": "no label"}'),
        ("train/4.b.png", png(5)),
    ]
    source = open_source(tar(tmp_path / "x.tar", members))
    assert {record.name: record.label for record in source} == {
        "train/0.jpg": 7,
        "train/1.png": "tench",
        "train/2.input.png": -1,
        "other/0.png": None,
        "train/3.png": None,
        "train/4.b.png": None,
    }
    assert [shade(record.load()) for record in source] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "sidecar",
    [
        ("a.json", b"{"),
        ("a.json", b"[" * 100_000),
        ("a.json", b'{"label": [1]}'),
        ("a.json", b'{"label": true}'),
        ("a.cls", b"\xff\xfe"),
        ("a.cls", b"1" * (2**20 + 1)),
    ],
)
def test_an_unreadable_label_fails_only_its_image(tmp_path: Path, sidecar: Member) -> None:
    members = [("a.png", png(1)), sidecar, ("b.png", png(2)), ("b.cls", b"3")]
    broken, sound = open_source(tar(tmp_path / "x.tar", members))
    with pytest.raises(ImageError, match=r"^a\.png: .*" + sidecar[0]):
        broken.load()
    assert (sound.label, shade(sound.load())) == (3, 2)


def test_contradictory_labels_are_rejected(tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("a.cls", b"1"), ("a.json", b'{"label": 2}')]
    (record,) = open_source(tar(tmp_path / "x.tar", members))
    with pytest.raises(ImageError, match="another label"):
        record.load()


def test_duplicate_names_get_a_suffix(tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("a.png", png(2)), ("a.png#2", b"x"), ("a.png", png(3))]
    source = open_source(tar(tmp_path / "x.tar", members))
    assert list(source.names) == ["a.png", "a.png#2", "a.png#3"]
    assert [shade(record.load()) for record in source] == [1, 2, 3]


def test_shards_are_one_source(tmp_path: Path) -> None:
    for shard in range(3):
        members = [(f"{i}.png", png(10 * shard + i)) for i in range(shard + 1)]
        tar(tmp_path / f"s-{shard:03d}.tar", [*members, ("0.cls", b"5")])
    source = open_source(str(tmp_path / "s-{000..002}.tar"))
    wanted = ["s-000/0.png", "s-001/0.png", "s-001/1.png"]
    assert list(source.names) == [*wanted, "s-002/0.png", "s-002/1.png", "s-002/2.png"]
    assert list(source.labels) == [5, 5, None, 5, None, None]
    assert [shade(r.load()) for r in source] == [0, 10, 11, 20, 21, 22]
    assert [(r.name, shade(r.load())) for r in source.at([2, 3, 5])] == [
        ("s-001/1.png", 11),
        ("s-002/0.png", 20),
        ("s-002/2.png", 22),
    ]
    assert len(open_source(str(tmp_path / "s-{001..002}.tar"), limit=4)) == 4


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("s-{000..002}.tar", r"2 of 3 files are missing; the first is .*s-001\.tar"),
        ("s-{002..000}.tar", "expands to 0 files"),
        ("s-{0..99999999}.tar", "expands to 100,000,000 files"),
        ("s-{0..99999}{0..99999}.tar", "files; 1 to 100,000"),
        ("s-{0..x}.tar", "no such file"),
        ("{0..0}.zip", r"0\.zip is neither"),
    ],
)
def test_invalid_ranges(tmp_path: Path, spec: str, words: str) -> None:
    tar(tmp_path / "s-000.tar", [("a.png", png(0))])
    (tmp_path / "0.zip").touch()
    with pytest.raises(SourceError, match=words):
        open_source(str(tmp_path / spec))


def test_links_devices_and_names_that_lead_out_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(99))
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, link in (
            ("soft.png", tarfile.SYMTYPE, str(tmp_path / "secret.png")),
            ("hard.png", tarfile.LNKTYPE, "../secret.png"),
            ("device.png", tarfile.CHRTYPE, ""),
            ("pipe.png", tarfile.FIFOTYPE, ""),
            ("folder.png", tarfile.DIRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            archive.addfile(info)
        for name in ("/etc/absolute.png", "a/../../up.png", "good.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(1))
            archive.addfile(info, io.BytesIO(png(1)))
    before = sorted(tmp_path.iterdir())
    *bad, good = open_source(path)
    assert len(bad) == 7 and shade(good.load()) == 1
    for record in bad:
        with pytest.raises(ImageError, match=r"not followed|leaves the archive"):
            record.load()
    assert sorted(tmp_path.iterdir()) == before


def test_a_member_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    info = tarfile.TarInfo("big.png")
    info.size = 2**30
    with path.open("wb") as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(512 + 2**30 + 1024)  # a hole: it takes no room
    (record,) = open_source(path)
    tracemalloc.start()
    with pytest.raises(ImageError, match="1,073,741,824 bytes are more than"):
        record.load()
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_damaged_archives_give_an_error_or_their_images(tmp_path: Path) -> None:
    """Every image that comes is one of those put in: no header is skipped over in silence."""
    members = [(f"{i}.png", png(i)) for i in range(4)] + [("a" * 120 + ".png", png(4))]
    data = tar(tmp_path / "x.tar", members).read_bytes()
    rng = np.random.default_rng(0)
    end = data.rindex(b"IEND") + 12
    verdicts = []
    for case in range(300):
        broken = bytearray(data)
        if case % 3 == 0:
            del broken[rng.integers(0, end) :]
        else:
            broken[rng.integers(0, end)] ^= 1 << rng.integers(8)
        (tmp_path / "y.tar").write_bytes(broken)
        try:
            shades = []
            for record in open_source(tmp_path / "y.tar"):
                try:
                    shades.append(shade(record.load()))
                except ImageError as error:
                    assert "\n" not in str(error)
            verdicts.append("images")
            assert set(shades) <= set(range(5)) and len(shades) >= 3
        except SourceError as error:
            assert "y.tar" in str(error) and "\n" not in str(error)
            verdicts.append("refused")
    assert verdicts.count("images") > 50 and verdicts.count("refused") > 50


def header(size: bytes, kind: bytes = b"0") -> bytes:
    """A header with any bytes as its size, its checksum right."""
    block = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157], block[148:156] = size, kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        header(b"\xff" * 12) + b"\0" * 1024,
        header(b"\xff" * 12, b"L") + b"\0" * 1024,
        header(b"\xff" * 10 + b"\xfe\x00") + header(b"0" * 12) + b"\0" * 1024,
        header(b"\x80" + b"\x7f" * 11) + b"\0" * 1024,
        header(b"00077777777\0", b"x") + b"\0" * 1024,
        header(b"00000001000\0", b"x") * 3000 + b"\0" * 1024,
        header(b"00000000000\0", b"S") + b"\0" * 1024,
        b"\x1f\x8b" + b"\0" * 2000,
        b"",
        b"\0" * 10_240,
    ],
)
def test_contradictory_headers_are_rejected_early(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    began = time.monotonic()
    with pytest.raises((SourceError, ImageError)):
        [record.load() for record in open_source(tmp_path / "x.tar")]
    assert time.monotonic() - began < 5


def test_an_archive_that_vanishes_fails_its_images(tmp_path: Path) -> None:
    source = open_source(tar(tmp_path / "x.tar", [("a.png", png(1)), ("b.png", png(2))]))
    (tmp_path / "x.tar").unlink()
    for record in source:
        with pytest.raises(ImageError, match=r"\.png: cannot be read \(No such file"):
            record.load()


def test_names_of_invalid_utf8_are_escaped(tmp_path: Path) -> None:
    members = [(os.fsdecode(b"caf\xe9.png"), png(1)), ("café.png", png(2))]
    source = open_source(tar(tmp_path / "x.tar", members, tarfile.GNU_FORMAT))
    assert list(source.names) == ["caf\\xe9.png", "café.png"]
    assert [shade(record.load()) for record in source] == [1, 2]


def test_memory_is_that_of_one_image(tmp_path: Path) -> None:
    """2,000 pictures of 64 KiB: the index and one of them, not 128 MiB."""
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    path = tar(tmp_path / "x.tar", ((f"{i}.png", stream.getvalue()) for i in range(2000)))
    tracemalloc.start()
    source = open_source(path)
    for record in source:
        record.load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20
