"""Preprocessing equals torchvision's bit by bit; the presets equal the published ones."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from adcc_onnx.errors import OptionError, PreprocessingError
from adcc_onnx.images.decoding.decode import read_image
from adcc_onnx.images.preprocessing import Preprocessing

SIZES = [(224, 224, 256), (299, 299, 342), (160, 224, 256)]
PICTURES = [(375, 500), (500, 375), (256, 256), (90, 130), (1001, 333)]


def reference(torchvision: ModuleType, pixels: np.ndarray, height: int, width: int, short: int):
    transforms = torchvision.transforms
    steps = [transforms.Resize(short, antialias=True), transforms.CenterCrop((height, width))]
    return np.asarray(transforms.Compose(steps)(Image.fromarray(pixels)))


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(("height", "width", "short"), SIZES)
def test_resize_and_crop_are_torchvisions(
    picture: tuple[int, int], height: int, width: int, short: int, torchvision: ModuleType
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*picture, 3), dtype=np.uint8)
    found = Preprocessing((height, width), short).crop_image(pixels)
    np.testing.assert_array_equal(found, reference(torchvision, pixels, height, width, short))


def test_torch_preset_on_photos_is_torchvisions(torchvision: ModuleType, data: Path) -> None:
    """Within 1/255 of a torchvision pipeline, whichever of its two backends resizes."""
    transforms = torchvision.transforms
    normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    on_pictures = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize]
    )
    on_tensors = transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Resize(256, antialias=True),
            transforms.CenterCrop(224),
            normalize,
        ]
    )
    ours = Preprocessing.preset("torch", (224, 224))
    std = np.array([0.229, 0.224, 0.225])[:, None, None]
    for path in sorted((data / "photos").iterdir())[:10]:
        found, photo = ours(read_image(path)), Image.open(path).convert("RGB")
        np.testing.assert_allclose(found, on_pictures(photo).numpy(), atol=1e-6)
        assert np.abs((found - on_tensors(photo).numpy()) * std).max() <= 1.001 / 255


def test_presets_are_the_published_arithmetic() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    planes = pixels.astype(np.float64).transpose(2, 0, 1)
    mean = np.array([0.485, 0.456, 0.406])[:, None, None]
    std = np.array([0.229, 0.224, 0.225])[:, None, None]
    wanted = {
        "torch": (planes / 255 - mean) / std,
        "tf": planes / 127.5 - 1,
        "caffe": planes[::-1] - np.array([104.0, 117.0, 123.0])[:, None, None],
        "unit": planes / 255,
    }
    for name, values in wanted.items():
        found = Preprocessing.preset(name, (8, 8)).normalize(pixels)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, values, atol=1e-5 if name == "caffe" else 1e-6)


def test_the_shorter_side_is_in_proportion() -> None:
    assert Preprocessing.preset("torch", (224, 224)).resize == 256
    assert Preprocessing.preset("torch", (299, 299)).resize == 342
    assert Preprocessing.preset("tf", (112, 112)).resize == 128


def test_without_a_crop_the_image_is_resized_directly() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    whole = Preprocessing((16, 16), 16, crop=False, interpolation="bicubic")
    wanted = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(whole.crop_image(pixels), np.asarray(wanted))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("picture", [*PICTURES, (224, 224)])
def test_masks_are_cropped_like_images(
    picture: tuple[int, int], crop: bool, interpolation: str
) -> None:
    """A painted picture and its mask part company by no more than the pixels along the edge."""
    rng = np.random.default_rng(3)
    mask = cv2.GaussianBlur(rng.standard_normal(picture), (0, 0), min(picture) / 8) > 0
    mask[: picture[0] // 7] = True
    painted = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)
    steps = Preprocessing((192, 224), 256, crop=crop, interpolation=interpolation)
    found, seen = steps.crop_mask(mask), steps.crop_image(painted)[:, :, 0]
    assert found.shape == (192, 224) and found.dtype == np.bool_
    wanted = seen > 127
    if interpolation == "nearest":
        np.testing.assert_array_equal(found, wanted)
    square = np.ones((3, 3), np.uint8)
    edge = cv2.morphologyEx(wanted.astype(np.uint8), cv2.MORPH_GRADIENT, square).astype(bool)
    np.testing.assert_array_equal(found[~edge], wanted[~edge])
    assert abs(int(found.sum()) - int(wanted.sum())) < 0.01 * wanted.size


def test_a_mask_that_is_not_resized_is_cropped_exactly() -> None:
    mask = np.random.default_rng(4).random((256, 300)) < 0.5
    found = Preprocessing((224, 224), 256).crop_mask(mask)
    np.testing.assert_array_equal(found, mask[16:240, 38:262])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resize": 100}, "smaller than the size"),
        ({"interpolation": "lanczos"}, "bilinear"),
        ({"channels": "RBG"}, "RGB, BGR, L, bands"),
        ({"decode": "fast"}, "decode must be full or reduced, not 'fast'"),
        ({"std": (1.0, 0.0, 1.0)}, "must not be 0"),
        ({"size": (0, 224)}, "at least 1"),
    ],
)
def test_invalid_settings_are_rejected(given: dict, words: str) -> None:
    with pytest.raises(PreprocessingError, match=words):
        Preprocessing(**{"size": (224, 224), "resize": 256, **given})


def test_an_unknown_preset_suggests_a_name() -> None:
    with pytest.raises(OptionError, match="did you mean 'torch'"):
        Preprocessing.preset("torhc", (224, 224))
