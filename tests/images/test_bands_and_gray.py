"""Luminance, bands, and presets and cards for other numbers of channels than three."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.input_twins import twin
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.errors import ImageError, PreprocessingError
from adcc_onnx.images.cards import read_card
from adcc_onnx.images.decoding.band_files import decode_bands, read_npy, rgb_of_npy
from adcc_onnx.images.model_preprocessing import ImageInput, model_preprocessing
from adcc_onnx.images.preprocessing import Preprocessing, luminance
from adcc_onnx.images.sources.open_images import open_source

RNG = np.random.default_rng(1)
PHOTO = RNG.integers(0, 256, (32, 24, 3), dtype=np.uint8)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_luminance_is_itu_r_601() -> None:
    every = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    exact = every @ np.array([0.299, 0.587, 0.114])
    assert np.abs(luminance(every) - exact).max() <= 0.51
    np.testing.assert_array_equal(luminance(every), np.asarray(Image.fromarray(every).convert("L")))


@pytest.mark.parametrize(
    ("name", "scale", "mean", "std"),
    [
        ("torch", 255, 0.449, 0.226),
        ("tf", 127.5, 1, 1),
        ("caffe", 1, 114.66666667, 1),
        ("unit", 255, 0, 1),
        ("raw", 1, 0, 1),
    ],
)
def test_a_gray_preset_uses_the_mean_of_its_constants(
    name: str, scale: float, mean: float, std: float
) -> None:
    steps = Preprocessing.preset(name, (28, 28), depth=1)
    gray = Image.fromarray(PHOTO).convert("L").resize((32, 42), Image.Resampling.BILINEAR)
    pixels = np.asarray(gray)[7:35, 2:30].astype(np.float64)
    found = steps(PHOTO)
    assert found.shape == (1, 28, 28) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], (pixels / scale - mean) / std, atol=2e-6 * 255 / scale)
    np.testing.assert_allclose(steps.black(), [-mean / std], rtol=1e-6)
    np.testing.assert_array_equal(
        steps.to_pixels(found), np.repeat(pixels.astype(np.uint8)[:, :, None], 3, axis=2)
    )


@pytest.mark.parametrize(
    ("text", "depth", "channels", "mean"),
    [
        ("mean = 0.1307\nstd = 0.3081", 1, "L", (0.1307,)),
        ('channels = "L"\nmean = [0.5]', 1, "L", (0.5,)),
        ("mean = 0.5", 3, "RGB", (0.5, 0.5, 0.5)),
        ("mean = 0.5\nstd = 0.5", 4, "bands", (0.5,) * 4),
        ('channels = "bands"\nmean = [1, 2]', 2, "bands", (1.0, 2.0)),
        ('preset = "tf"', 6, "bands", (1.0,) * 6),
        ('preset = "torch"\nchannels = "bands"', 3, "bands", (0.485, 0.456, 0.406)),
    ],
)
def test_a_card_follows_the_number_of_channels(
    tmp_path: Path, text: str, depth: int, channels: str, mean: tuple[float, ...]
) -> None:
    (tmp_path / "net.toml").write_text(text)
    card = read_card(tmp_path / "net.toml")
    steps = model_preprocessing(None, card, ImageInput((8, 8), depth))
    assert steps is not None
    assert (steps.channels, steps.mean) == (channels, mean)


@pytest.mark.parametrize(
    ("text", "depth", "words"),
    [
        ("mean = [1, 2, 3]", 1, "mean has 3 numbers, but channels = L has 1"),
        ('channels = "RGB"', 1, 'gives 3 channels .RGB., the model takes 1: use channels = "L"'),
        ('channels = "L"', 3, "gives 1 channels"),
        ('channels = "bands"\nmean = [1, 2]', 4, "mean has 2 numbers, but channels = bands has 4"),
        ('preset = "torch"', 4, r"constants for three colors.*\.npz"),
    ],
)
def test_a_card_for_other_channels_is_refused(
    tmp_path: Path, text: str, depth: int, words: str
) -> None:
    (tmp_path / "net.toml").write_text(text)
    with pytest.raises(PreprocessingError, match=words):
        model_preprocessing(None, read_card(tmp_path / "net.toml"), ImageInput((8, 8), depth))


def test_uint8_inputs_take_raw_pixels_by_default() -> None:
    image = ImageInput((8, 8), 3, takes_bytes=True)
    raw = model_preprocessing(None, None, image)
    assert raw == Preprocessing.preset("raw", (8, 8))
    np.testing.assert_array_equal(
        raw.normalize(PHOTO[:8, :8]), np.moveaxis(PHOTO[:8, :8], 2, 0).astype(np.float32)
    )
    swapped = Preprocessing((8, 8), 8, scale=1.0, channels="BGR")
    assert model_preprocessing(swapped, None, image) is swapped
    for preset in ("torch", "tf", "caffe", "unit"):
        with pytest.raises(PreprocessingError, match="give --preprocess raw"):
            model_preprocessing(preset, None, image)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_have_their_bands_last_or_first(order: Any) -> None:
    bands = RNG.integers(0, 999, (5, 7, 4)).astype(np.uint16)
    last = np.array(bands, order=order)
    first = np.array(np.moveaxis(bands, 2, 0), order=order)
    for array in (last, first):
        np.testing.assert_array_equal(decode_bands(npy(array), "a.npy", 4), bands)
    one = decode_bands(npy(bands[:, :, 0]), "a.npy", 1)
    np.testing.assert_array_equal(one[:, :, 0], bands[:, :, 0])
    with pytest.raises(ImageError, match=r"a\.npy: the array uint16 \[5 x 7 x 4\] is neither"):
        decode_bands(npy(last), "a.npy", 6)


def test_a_tiff_has_a_band_per_page_and_rgba_has_four() -> None:
    planes = RNG.random((6, 9, 8)).astype(np.float32)
    pages = [Image.fromarray(plane) for plane in planes]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    found = decode_bands(stream.getvalue(), "a.tif", 6)
    np.testing.assert_array_equal(found, np.moveaxis(planes, 0, 2))
    with pytest.raises(ImageError, match="has 6 bands, the model takes 4"):
        decode_bands(stream.getvalue(), "a.tif", 4)
    rgba = RNG.integers(0, 256, (9, 8, 4), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rgba).save(stream, "PNG")
    np.testing.assert_array_equal(decode_bands(stream.getvalue(), "a.png", 4), rgba)


def test_damaged_arrays_fail_before_anything_is_allocated() -> None:
    good = npy(np.zeros((4, 5, 2), np.float32))
    huge = good.replace(b"(4, 5, 2)", b"(9999999999, 9999999999, 2)".ljust(9))
    for data, words in {
        good[:-1]: "its size does not fit its shape",
        huge: "damaged .npy file",
        good[:20]: "damaged .npy file",
        npy(np.array([["a", "b"]])): "no image of numbers",
        npy(np.zeros((2, 2, 2, 2))): "no image of numbers",
        npy(np.zeros((0, 2))): "no image of numbers",
    }.items():
        with pytest.raises(ImageError, match=words):
            read_npy(data, "a.npy")
    stream = io.BytesIO()
    np.save(stream, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ImageError, match="Python objects are not read"):
        read_npy(stream.getvalue(), "a.npy")


def test_a_uint8_array_serves_as_a_photo(tmp_path: Path) -> None:
    np.testing.assert_array_equal(rgb_of_npy(npy(PHOTO), "a.npy"), PHOTO)
    gray = rgb_of_npy(npy(PHOTO[:, :, 0]), "a.npy")
    np.testing.assert_array_equal(gray[:, :, 2], PHOTO[:, :, 0])
    with pytest.raises(ImageError, match=r"float32.*is not uint8"):
        rgb_of_npy(npy(PHOTO.astype(np.float32)), "a.npy")
    np.save(tmp_path / "a.npy", PHOTO)
    for spec in (tmp_path, tmp_path / "a.npy"):
        (record,) = open_source(spec)
        np.testing.assert_array_equal(record.load(), PHOTO)
    Image.fromarray(PHOTO).save(tmp_path / "b.png")
    assert list(open_source(tmp_path).names) == ["b.png"]


NHWC = "pixels = Transpose <perm = [0, 3, 1, 2]> (x)"
BYTES = "real = Cast <to = 1> (x) pixels = Div (real, byte)"


@pytest.mark.parametrize(
    ("inputs", "adapt", "kind", "preset"),
    [
        ("float[batch,8,6,3] x", NHWC, "float", "unit"),
        ("double[batch,3,8,6] x", "pixels = Cast <to = 1> (x)", "float", "unit"),
        ("float16[batch,3,8,6] x", "pixels = Identity (x)", "float16", "unit"),
        ("uint8[batch,3,8,6] x", BYTES, "float", None),
        ("uint8[batch,8,6,3] x", f"c = {NHWC[9:]} real = Cast <to = 1> (c) "
         "pixels = Div (real, byte)", "float", None),
    ],
)  # fmt: skip
def test_photos_reach_inputs_of_every_type_and_layout(
    inputs: str, adapt: str, kind: str, preset: str | None
) -> None:
    model = twin(inputs, adapt, channels=3, kind=kind)
    reference = twin("float[batch,3,8,6] x", channels=3)
    images = [PHOTO, PHOTO[::-1].copy()]
    found = adcc.explain(model, images, preprocessing=preset, layers="active", device="cpu")
    wanted = adcc.explain(reference, images, preprocessing="unit", layers="active", device="cpu")
    tolerance = 2e-3 if kind == "float16" else 1e-6
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=tolerance)
    np.testing.assert_allclose(found.maps, wanted.maps, atol=20 * tolerance)


def many_bands(count: int, dtype: str = "uint16") -> np.ndarray:
    return RNG.integers(0, 250, (20, 24, count)).astype(dtype)


@pytest.mark.parametrize("count", [5, 6, 8])
@pytest.mark.parametrize("options", [
    {"planarconfig": "contig"}, {"planarconfig": "separate"},
    {"planarconfig": "contig", "compression": "zlib"},
    {"planarconfig": "contig", "tile": (16, 16)},
], ids=str)  # fmt: skip
def test_tiff_files_with_many_bands_per_pixel(count: int, options: dict[str, Any]) -> None:
    tifffile = pytest.importorskip("tifffile")
    bands, stream = many_bands(count), io.BytesIO()
    apart = options.get("planarconfig") == "separate"
    written = np.moveaxis(bands, 2, 0) if apart else bands
    tifffile.imwrite(stream, written, photometric="minisblack", **options)
    np.testing.assert_array_equal(decode_bands(stream.getvalue(), "sat.tif", count), bands)
    with pytest.raises(ImageError, match=r"sat.tif: the array uint16 .* is neither"):
        decode_bands(stream.getvalue(), "sat.tif", count + 1)
    for cut in (8, 60, len(stream.getvalue()) // 2):
        with pytest.raises(ImageError, match=r"sat.tif: "):
            decode_bands(stream.getvalue()[:cut], "sat.tif", count)


def test_a_huge_tiff_is_refused_before_it_is_allocated() -> None:
    tifffile = pytest.importorskip("tifffile")
    stream = io.BytesIO()
    tifffile.imwrite(stream, many_bands(5), photometric="minisblack", planarconfig="contig")
    data = bytearray(stream.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        tag = file.pages[0].tags["ImageLength"]
    data[tag.valueoffset : tag.valueoffset + 4] = (2**31 - 1).to_bytes(4, "little")
    with pytest.raises(ImageError, match=r"more than 180,000,000 values|damaged"):
        decode_bands(bytes(data), "sat.tif", 5)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_uint8_arrays_of_an_npz_are_images(tmp_path: Path, channels: int, layout: str) -> None:
    pixels = RNG.integers(0, 256, (3, 20, 24, channels), dtype=np.uint8)
    x = np.moveaxis(pixels, 3, 1) if layout == "NCHW" else pixels
    np.savez(tmp_path / "x.npz", x=x, label=np.array([0, 1, 2]))
    model = adcc.load(
        twin(f"float[batch,{channels},8,6] x", channels=channels), "unit", device="cpu"
    )
    found = adcc.explain(model, tmp_path / "x.npz", "gradcam")
    wanted = adcc.explain(model, list(pixels), "gradcam")
    np.testing.assert_array_equal(found.maps, wanted.maps)
    result = adcc.evaluate(model, tmp_path / "x.npz", "gradcam")
    assert (result.images, result.failed) == (3, 0) and result.top1 is not None


def test_uint8_arrays_of_an_npz_reach_a_model_of_uint8_pixels(tmp_path: Path) -> None:
    model = twin("uint8[batch,3,8,6] x", "pixels = Cast <to = 1> (x)", channels=3)
    pixels = RNG.integers(0, 256, (2, 8, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=pixels)
    steps = Preprocessing((8, 6), 8, crop=False, scale=1.0)
    found = adcc.explain(adcc.load(model, steps, device="cpu"), tmp_path / "x.npz")
    ready = np.moveaxis(pixels, 3, 1).astype(np.float32)
    np.testing.assert_array_equal(found.maps, adcc.explain(model, ready, device="cpu").maps)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_arrays_in_memory_have_as_many_bands_as_the_model(channels: int) -> None:
    pixels = RNG.integers(0, 256, (8, 6, channels), dtype=np.uint8)
    model = twin(f"float[batch,{channels},8,6] x", channels=channels)
    kind = "L" if channels == 1 else "bands"
    steps = Preprocessing((8, 6), 8, crop=False, scale=1.0, mean=(0.0,) * channels, channels=kind)
    loaded = adcc.load(model, steps, device="cpu")
    ready = np.moveaxis(pixels, 2, 0)[None].astype(np.float32)
    wanted = adcc.explain(loaded, ready).maps
    given: list[Any] = [pixels, [pixels], pixels[None]]
    if channels == 1:
        given.append(pixels[:, :, 0])
    for images in given:
        np.testing.assert_array_equal(adcc.explain(loaded, images).maps, wanted)
    other = np.zeros((8, 6, channels + 4), np.uint8)
    result = adcc.evaluate(loaded, [pixels, other], "gradcam")
    assert result.failed == 1 and "uint8 [8 x 6 x " in result.failures[0].reason


def test_preprocessing_fixes_the_size_that_a_model_leaves_open() -> None:
    model = twin("float[batch,3,h,w] x", channels=3)
    loaded = adcc.load(model, Preprocessing.preset("unit", (16, 12)), device="cpu")
    assert loaded.size == (16, 12)
    assert adcc.explain(loaded, PHOTO).maps.shape == (1, 16, 12)
