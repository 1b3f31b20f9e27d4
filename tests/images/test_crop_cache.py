"""The cache of crops: the same bytes as without it, and nothing decoded a second time."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.tar_files import tar
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.errors import AdccWarning, OptionError, SourceError
from adcc_onnx.images import crop_cache
from adcc_onnx.images.crop_cache import with_crop_cache
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources import encoded_images
from adcc_onnx.images.sources.image_source import Record
from adcc_onnx.images.sources.open_images import open_source

STEPS = Preprocessing((24, 20), 28)


def jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=90)
    return stream.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, drawing in enumerate(draw_many(2, 4, 150)):
        (folder / f"{number}.jpg").write_bytes(jpeg(drawing.image))
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after whose call images cannot be decoded any more."""

    def refuse(data: bytes, name: str, *rest: object) -> None:
        raise AssertionError(f"{name} is decoded")

    def forbid() -> None:
        monkeypatch.setattr(encoded_images, "decode_image", refuse)
        monkeypatch.setattr(encoded_images, "decode_downscaled", refuse)

    return forbid


def first(photos: Path, cache: Path) -> Record:
    return next(iter(with_crop_cache(open_source(str(photos)), cache)))


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "tar"])
def test_a_second_run_decodes_nothing_and_gives_equal_bytes(
    photos: Path, archive: bool, tmp_path: Path, no_decoder: Callable[[], None]
) -> None:
    files = sorted(photos.glob("?.jpg"))
    images = photos
    (photos / "broken.jpg").unlink()
    if archive:
        images = tar(tmp_path / "photos.tar", [(file.name, file.read_bytes()) for file in files])

    def report(cache: Path | None) -> str:
        result = adcc.evaluate(
            classifier_path(), images, ["gradcam"], device="cpu", cache_crops=cache
        )
        return adcc.render_report([result], format="json")

    plain, filling = report(None), report(tmp_path / "crops")
    no_decoder()
    assert report(tmp_path / "crops") == filling == plain
    assert len(list((tmp_path / "crops").rglob("*.crop"))) == len(files)


@pytest.mark.parametrize(
    "steps",
    [
        STEPS,
        Preprocessing((24, 20), 28, interpolation="bicubic"),
        Preprocessing((24, 20), 1, crop=False),
        Preprocessing((24, 20), 28, decode="reduced"),
        Preprocessing((24, 20), 28, channels="L"),
        Preprocessing((20, 24), 28, channels="BGR", scale=1.0, mean=(104, 117, 123)),
    ],
)
def test_crops_are_equal_whatever_was_kept_before(
    photos: Path, tmp_path: Path, steps: Preprocessing
) -> None:
    expected = steps.crop_image(np.asarray(Image.open(photos / "0.jpg")))
    for kept in (STEPS, steps, steps):
        found = kept.load_cropped(first(photos, tmp_path / "crops"))
    if steps.decode == "full":
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, steps.load_cropped(next(iter(open_source(str(photos))))))


def test_the_mean_does_not_change_what_is_kept(
    photos: Path, tmp_path: Path, no_decoder: Callable[[], None]
) -> None:
    STEPS.load_cropped(first(photos, tmp_path / "crops"))
    no_decoder()
    other = Preprocessing((24, 20), 28, mean=(0.5, 0.5, 0.5), channels="BGR")
    assert other.load_cropped(first(photos, tmp_path / "crops")).shape == (24, 20, 3)


def test_a_changed_image_gets_its_own_crop(photos: Path, tmp_path: Path) -> None:
    STEPS.load_cropped(first(photos, tmp_path / "crops"))
    (photos / "0.jpg").write_bytes((photos / "1.jpg").read_bytes())
    found = STEPS.load_cropped(first(photos, tmp_path / "crops"))
    np.testing.assert_array_equal(found, STEPS.crop_image(np.asarray(Image.open(photos / "1.jpg"))))


@pytest.mark.parametrize("damage", ["flipped", "short", "long", "empty", "magic"])
def test_a_damaged_file_is_replaced(photos: Path, tmp_path: Path, damage: str) -> None:
    expected = STEPS.load_cropped(first(photos, tmp_path / "crops"))
    (file,) = (tmp_path / "crops").rglob("*.crop")
    whole = file.read_bytes()
    damaged = {
        "flipped": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:],
        "short": whole[:-1],
        "long": whole + b"x",
        "empty": b"",
        "magic": b"x" + whole[1:],
    }
    file.write_bytes(damaged[damage])
    np.testing.assert_array_equal(STEPS.load_cropped(first(photos, tmp_path / "crops")), expected)
    assert file.read_bytes() == whole


def test_a_broken_image_fails_as_without_a_cache(photos: Path, tmp_path: Path) -> None:
    results = [
        adcc.evaluate(classifier_path(), photos, ["gradcam"], device="cpu", cache_crops=cache)
        for cache in (None, tmp_path / "crops", tmp_path / "crops")
    ]
    failures = [[(one.image, one.reason) for one in result.failures] for result in results]
    assert failures[0] == failures[1] == failures[2]
    assert len(failures[0]) == 1


def test_a_full_disk_is_said_once_and_costs_no_result(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(crop_cache, "write_atomically", full)
    with pytest.warns(AdccWarning, match=r"no more crops are kept in .*No space left") as caught:
        records = [*with_crop_cache(open_source(str(photos)), tmp_path / "crops")][:4]
        crops = [STEPS.load_cropped(record) for record in records]
    assert len(caught) == 1 and {crop.shape for crop in crops} == {(24, 20, 3)}


def test_drawings_are_not_kept_and_tensors_are_refused(tmp_path: Path) -> None:
    for record in with_crop_cache(open_source("drawings:2"), tmp_path / "crops"):
        STEPS.load_cropped(record)
    assert not list((tmp_path / "crops").iterdir())
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 3, 4, 4), np.float32))
    with pytest.raises(OptionError, match=r"preprocessed tensors.*leave out.*--cache-crops"):
        with_crop_cache(open_source(str(tmp_path / "x.npz")), tmp_path / "crops")


def test_a_folder_that_cannot_be_written_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"cannot keep crops in .*name a folder"):
        with_crop_cache(open_source("drawings:2"), tmp_path / "file")
