"""JPEGs decoded at a reduced size are close to the full ones; other images are decoded in full."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import ImageError, PreprocessingError
from adcc_onnx.explanation.samples import samples, tensor_of, truth_of
from adcc_onnx.images.annotations.ground_truth import with_ground_truth
from adcc_onnx.images.decoding.decode import decode_downscaled, decode_image
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.images.sources.encoded_images import encoded_record
from adcc_onnx.images.sources.image_source import Record
from adcc_onnx.images.sources.open_images import open_arrays, open_source
from adcc_onnx.results.store import Store

HEIGHT, WIDTH = 768, 1024
# Inputs for which a picture of that size is decoded at a half, a quarter and an eighth.
TIMES = {2: (64, 73), 4: (32, 37), 8: (16, 19)}
MOST, MEAN = 4, 0.5  # of 255
METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@cache
def scene(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Shapes and shades of every size, and the noise of a camera."""
    rng = np.random.default_rng(0)
    picture = np.zeros((height, width, 3))
    for sigma in (4, 16, 64):
        shades = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
        picture += shades / shades.std()
    picture = 128 + 40 * picture
    for _ in range(30):
        x, y, r = (int(n) for n in rng.integers(0, (width, height, 90)))
        cv2.circle(picture, (x, y), r, rng.uniform(0, 255, 3).tolist(), -1)
    picture = cv2.GaussianBlur(picture, (0, 0), 1) + 4 * rng.standard_normal(picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray | Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **{"quality": 90, "subsampling": 2, **options})
    return stream.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def steps_for(times: int, **options: Any) -> Preprocessing:
    size, resize = TIMES[times]
    return Preprocessing((size, size), resize, **{"decode": "reduced", **options})


def record_of(data: bytes) -> Record:
    return encoded_record("x", None, lambda: data)


def times_of(data: bytes, steps: Preprocessing) -> int:
    return decode_downscaled(data, "x", steps.max_downscale)[1]


def by_pillow(data: bytes, steps: Preprocessing) -> np.ndarray:
    """The whole picture, resized and cropped by Pillow alone."""
    image, (height, width) = Image.open(io.BytesIO(data)).convert("RGB"), steps.size
    if not steps.crop:
        return np.asarray(image.resize((width, height), METHODS[steps.interpolation]))
    share = steps.resize / min(image.size)
    size = tuple(int(side * share + 1e-9) for side in image.size)
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    resized = image.resize(size, METHODS[steps.interpolation])
    return np.asarray(resized.crop((left, top, left + width, top + height)))


def require_close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape and found.dtype == np.uint8
    distance = np.abs(found.astype(int) - wanted)
    assert distance.max() <= MOST and distance.mean() <= MEAN


@pytest.mark.parametrize("options", [{}, {"interpolation": "bicubic"}, {"crop": False}])
@pytest.mark.parametrize("coding", [{}, {"quality": 75}, {"subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("times", [2, 4, 8])
def test_reduced_decoding_is_close_to_full_decoding(
    times: int, coding: dict, options: dict
) -> None:
    data, steps = jpeg(scene(), **coding), steps_for(times, **options)
    assert times_of(data, steps) == times
    found = steps.load_cropped(record_of(data))
    require_close(found, by_pillow(data, steps))
    assert not np.array_equal(found, by_pillow(data, steps))


@cache
def enlarged_photos(folder: Path, step: int) -> list[bytes]:
    """Photos enlarged to 8 megapixels with added noise, as JPEGs of several qualities."""
    rng, found = np.random.default_rng(1), []
    for i, path in enumerate(sorted(folder.iterdir())[::step]):
        large = Image.open(path).convert("RGB").resize((3200, 2400), Image.Resampling.BICUBIC)
        noise = rng.standard_normal((2400, 3200, 1), np.float32) * 5
        pixels = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
        found.append(jpeg(pixels, quality=(75, 90, 97)[i % 3], subsampling=(2, 0)[i % 2]))
    return found


@pytest.mark.parametrize("step", [34, pytest.param(16, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("size", "times"), [(192, 2), (96, 4), (48, 8)])
def test_photos_keep_the_tolerance(data: Path, size: int, times: int, step: int) -> None:
    for photo in enlarged_photos(data / "photos", step):
        steps = Preprocessing((size, size), round(size * 8 / 7), decode="reduced")
        assert times_of(photo, steps) == times
        require_close(steps.load_cropped(record_of(photo)), by_pillow(photo, steps))


def test_max_downscale() -> None:
    steps = Preprocessing.preset("torch", (224, 224))
    assert [steps.max_downscale((5 * side, 9999)) for side in (255, 256, 1023, 1024)] == [
        0,
        1,
        3,
        4,
    ]
    assert steps.max_downscale((9999, 5 * 512)) == steps.max_downscale((5 * 512, 5 * 512)) == 2
    straight = Preprocessing((100, 200), 200, crop=False)
    assert straight.max_downscale((2000, 2000)) == 2 and straight.max_downscale((1000, 4000)) == 2
    assert Preprocessing((8, 8), 8, interpolation="nearest").max_downscale((9999, 9999)) == 1


def whole_ones() -> list[Any]:
    tight = {"decode": "reduced", "size": (154, 154), "resize": 154}  # 768 < 5 * 154
    odd = {"decode": "reduced", "size": (32, 32), "resize": 37}
    picked = {"interpolation": "nearest"}
    return [
        pytest.param(jpeg(scene()), Preprocessing(**tight), id="no margin"),
        pytest.param(jpeg(scene()[:-1]), Preprocessing(**odd), id="an odd height"),
        pytest.param(jpeg(scene()[:, :-1]), Preprocessing(**odd), id="an odd width"),
        pytest.param(jpeg(scene(), subsampling=1), steps_for(4), id="4:2:2"),
        pytest.param(jpeg(scene()), steps_for(4, **picked), id="nearest"),
        pytest.param(jpeg(scene(), "PNG"), steps_for(4), id="PNG"),
        pytest.param(jpeg(scene(), "WEBP"), steps_for(4), id="WebP"),
        pytest.param(jpeg(scene(), "PNG", exif=turned(6)), steps_for(4), id="a turned PNG"),
    ]


@pytest.mark.parametrize(("data", "steps"), whole_ones())
def test_images_that_cannot_be_downscaled_are_decoded_in_full(
    data: bytes, steps: Preprocessing
) -> None:
    assert times_of(data, steps) == 1
    np.testing.assert_array_equal(
        steps.load_cropped(record_of(data)), steps.crop_image(decode_image(data, "x"))
    )


def test_by_default_images_are_decoded_at_full_size() -> None:
    data, steps = jpeg(scene()), steps_for(4, decode="full")
    assert Preprocessing((32, 32), 37) == steps
    found = steps.load_cropped(record_of(data))
    np.testing.assert_array_equal(found, steps.crop_image(decode_image(data, "x")))
    np.testing.assert_array_equal(found, by_pillow(data, steps))


def test_the_factor_divides_height_and_width() -> None:
    for height, width, times in ((760, 1024, 8), (764, 1024, 4), (760, 1018, 2), (760, 1019, 1)):
        assert times_of(jpeg(scene()[:height, :width]), steps_for(8)) == times


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("crop", [True, False])
def test_images_are_rotated_upright(orientation: int, crop: bool) -> None:
    data = jpeg(scene(), exif=turned(orientation))
    steps = Preprocessing((60, 32), 64, crop=crop, decode="reduced")
    asked = []
    _, times = decode_downscaled(
        data, "x", lambda size: asked.append(size) or steps.max_downscale(size)
    )
    upright = (WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH)
    assert asked == [upright] and times == 2
    require_close(steps.load_cropped(record_of(data)), steps.crop_image(decode_image(data, "x")))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk(mode: str) -> None:
    data, steps = jpeg(Image.fromarray(scene()).convert(mode), subsampling=0), steps_for(4)
    assert times_of(data, steps) == 4
    require_close(steps.load_cropped(record_of(data)), by_pillow(data, steps))


def test_the_first_image_of_an_mpo_is_taken() -> None:
    other = [Image.new("RGB", (WIDTH, HEIGHT))]
    data, steps = jpeg(scene(), "MPO", save_all=True, append_images=other), steps_for(4)
    assert Image.open(io.BytesIO(data)).format == "MPO" and times_of(data, steps) == 4
    require_close(steps.load_cropped(record_of(data)), by_pillow(data, steps))


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.98])
@pytest.mark.parametrize("coding", [{}, {"progressive": True}])
def test_a_truncated_image_is_rejected(kept: float, coding: dict) -> None:
    data = jpeg(scene(), **coding)
    cut = data[: int(kept * len(data))]
    messages = []
    for steps in (steps_for(8), steps_for(8, decode="full")):
        with pytest.raises(ImageError, match=r"^x: ") as caught:
            steps.load_cropped(record_of(cut))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_an_oversized_image_is_rejected_before_decoding() -> None:
    data = bytearray(jpeg(scene()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    with pytest.raises(ImageError, match="more than 180,000,000 pixels"):
        steps_for(8).load_cropped(record_of(bytes(data)))


def in_folder(path: Path, data: bytes) -> Path:
    path.mkdir()
    (path / "1.jpg").write_bytes(data)
    return path


def in_list(path: Path, data: bytes) -> Path:
    in_folder(path, data)
    (path / "list.csv").write_text("1.jpg,3\n")
    return path / "list.csv"


def in_tar(path: Path, data: bytes) -> Path:
    path = path.with_suffix(".tar")
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("1.jpg")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path


def in_parquet(path: Path, data: bytes) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = path.with_suffix(".parquet")
    parquet.write_table(pyarrow.table({"image": [data]}), path)
    return path


@pytest.mark.parametrize("place", [in_folder, in_list, in_tar, in_parquet])
def test_every_source_of_image_files(tmp_path: Path, place: Callable[..., Path]) -> None:
    data, steps = jpeg(scene()), steps_for(4)
    record = next(iter(open_source(place(tmp_path / "a", data))))
    np.testing.assert_array_equal(steps.load_cropped(record), steps.load_cropped(record_of(data)))
    np.testing.assert_array_equal(record.load(), decode_image(data, "x"))


def loaded(path: Path, **options: Any) -> adcc.Model:
    """A model of 8 x 8 pixels."""
    onnx.save(small("softmax"), path / "net.onnx")
    return adcc.load(path / "net.onnx", preprocessing="unit", device="cpu", **options)


def test_tensors_and_drawings_are_not_downscaled(tmp_path: Path) -> None:
    model = loaded(tmp_path, decode="reduced")
    assert model.preprocessing is not None
    x = np.random.default_rng(2).random((2, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(np.stack([s.tensor for s in samples(open_arrays(x), model)]), x)
    for record in open_source("drawings:2"):
        found = tensor_of(record, False, model)
        np.testing.assert_array_equal(found, model.preprocessing(record.load()))


def test_masks_have_the_full_size(tmp_path: Path) -> None:
    """What is seen of a painted picture and of its mask part company along the edge only."""
    mask = np.zeros((1536, 2048), bool)
    mask[200:1035, 461:1603] = True
    data = jpeg(np.where(mask, 255, 0).astype(np.uint8), exif=turned(6))
    photos, masks = in_folder(tmp_path / "photos", data), tmp_path / "masks"
    masks.mkdir()
    Image.fromarray(np.rot90(mask, -1)).save(masks / "1.png")
    model = adcc.load(classifier_path(), decode="reduced", device="cpu")
    assert model.preprocessing is not None and times_of(data, model.preprocessing) == 2
    (record,) = with_ground_truth(open_source(photos), masks)
    tensor, truth = tensor_of(record, False, model), truth_of(record, False, model)
    assert record.truth is not None and truth is not None
    np.testing.assert_array_equal(record.truth(), np.rot90(mask, -1))
    np.testing.assert_array_equal(truth, model.preprocessing.crop_mask(np.rot90(mask, -1)))
    edge = cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    np.testing.assert_array_equal((tensor[0] > 0)[edge == 0], truth[edge == 0])


def test_an_annotated_image_is_decoded_once(tmp_path: Path) -> None:
    reads = []
    picture = encoded_record("1.jpg", None, lambda: reads.append(1) or jpeg(scene()))
    source = open_source(in_folder(tmp_path / "photos", jpeg(scene())))
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    (boxes / "1.xml").write_text(
        f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    counted = type(source)(source.names, source.labels, lambda positions: iter([picture]))
    (record,) = with_ground_truth(counted, boxes)
    steps_for(8).load_cropped(record)
    assert record.truth is not None and record.truth().sum() == 81
    assert len(reads) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 8 x 8 pixels, its card, and a photo that may be decoded at an eighth."""
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    (tmp_path / "net.toml").write_text('preset = "unit"\ndecode = "reduced"\n')
    in_folder(tmp_path / "photos", jpeg(scene()))
    return tmp_path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def decoding_of(path: Path) -> str:
    with Store.open(path) as store:
        return store.run(1).config["preprocessing"].get("decode", "full")


def evaluated(folder: Path, name: str, *words: str) -> tuple[str, dict]:
    """(the decoding in the run's record, the run's figures)."""
    kept = folder / name
    net, photos = folder / "net.onnx", folder / "photos"
    result = run("evaluate", net, "--images", photos, "--method", "gradcam", "-o", kept, *words)
    assert result.exit_code == 0, result.stderr
    report = json.loads(run("report", kept, "--format", "json").stdout)["runs"][0]
    return decoding_of(kept), report["methods"]["gradcam"]


def test_decode_mode_by_card_and_by_option_is_recorded(folder: Path) -> None:
    by_card, reduced = evaluated(folder, "card.sqlite")
    by_option, full = evaluated(folder, "option.sqlite", "--decode", "full")
    by_preset, same = evaluated(folder, "preset.sqlite", "--preprocess", "unit")
    asked, again = evaluated(folder, "asked.sqlite", "--preprocess", "unit", "--decode", "reduced")
    assert (by_card, by_option, by_preset, asked) == ("reduced", "full", "full", "reduced")
    assert reduced == again != full == same
    words = ("--images", folder / "photos", "--method", "gradcam", "--decode", "full")
    resumed = run("evaluate", folder / "net.onnx", *words, "-o", folder / "card.sqlite", "--resume")
    assert resumed.exit_code != 0 and "preprocessing" in resumed.stderr


@pytest.mark.parametrize("command", ["evaluate", "explain", "benchmark", "randomize"])
def test_an_unknown_decode_mode_is_rejected_with_the_choices(folder: Path, command: str) -> None:
    result = run(command, folder / "net.onnx", "--decode", "fast")
    assert result.exit_code != 0 and "'fast' is not one of 'full', 'reduced'" in result.stderr
    result = run("validate-metrics", "--decode", "fast")
    assert result.exit_code != 0 and "'fast' is not one of 'full', 'reduced'" in result.stderr
    for preprocessing in ("unit", None):
        with pytest.raises(PreprocessingError, match="decode must be full or reduced, not 'fast'"):
            adcc.load(folder / "net.onnx", preprocessing, decode="fast", device="cpu")


def test_explain_shows_the_decoded_input(folder: Path) -> None:
    sheets = []
    for decode in ("full", "reduced"):
        out = folder / decode
        words = (folder / "photos" / "1.jpg", "--decode", decode, "-o", out)
        assert run("explain", folder / "net.onnx", *words).exit_code == 0
        (crop,) = out.glob("1.*.gradcam.crop.png")
        sheets.append(crop.read_bytes())
    assert sheets[0] != sheets[1]
