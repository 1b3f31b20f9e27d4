"""From pixels to the tensor a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import ImageError, OptionError, PreprocessingError, did_you_mean
from adcc_onnx.images.pixel_arrays import RGBImage
from adcc_onnx.images.sources.image_source import Record
from adcc_onnx.kernels.arrays import Float32Array

Triple = tuple[float, float, float]

INTERPOLATIONS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "nearest": Image.Resampling.NEAREST,
    }
)
DECODE_MODES = ("full", "reduced")
# How many times larger than what it is resized to a picture stays at least; measured: the smallest
# whole number at which no pixel of photos moves by more than 4/255 (docs/performance.md).
MIN_OVERSAMPLING = 5


@dataclass(frozen=True)
class Preprocessing:
    """x = (pixel / scale - mean) / std, after resizing and cropping.

    Attributes:
        size: (H, W) of the model's input, in pixels.
        resize: what the shorter side is resized to before the crop, in pixels.
        crop: take the center after resizing; if False, resize straight to `size`.
        interpolation: "bilinear", "bicubic" (both antialiased) or "nearest".
        scale: what 0..255 is divided by.
        mean, std: of each channel, in the order of `channels`.
        channels: "RGB" or "BGR".
        decode: "full", or "reduced": large JPEGs at a part of their size, so that pixels differ
            slightly.

    Raises:
        PreprocessingError: a value that makes no sense, or a crop larger than the picture.
    """

    size: tuple[int, int]
    resize: int
    crop: bool = True
    interpolation: str = "bilinear"
    scale: float = 255.0
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    channels: str = "RGB"
    decode: str = "full"

    def __post_init__(self) -> None:
        if min(*self.size, self.resize) < 1:
            raise PreprocessingError("size and resize must be at least 1 pixel")
        if self.crop and self.resize < max(self.size):
            raise PreprocessingError(
                f"resize = {self.resize} is smaller than the size {self.size[0]} x {self.size[1]} "
                "that is cropped from it"
            )
        if self.interpolation not in INTERPOLATIONS:
            known = ", ".join(INTERPOLATIONS)
            raise PreprocessingError(f"no interpolation '{self.interpolation}'; there is {known}")
        if self.channels not in ("RGB", "BGR"):
            raise PreprocessingError(f"channels must be RGB or BGR, not '{self.channels}'")
        check_decode_mode(self.decode)
        if self.scale == 0 or 0 in self.std:
            raise PreprocessingError("scale and std must not be 0")

    @classmethod
    def preset(cls, name: str, size: tuple[int, int]) -> Preprocessing:
        """A preset of `PRESETS` for a model's input size; resizes to 256 for 224, in proportion.

        Raises:
            OptionError: no such preset.
        """
        if name not in PRESETS:
            raise OptionError(f"no preset '{name}'{did_you_mean(name, PRESETS)}")
        return cls(size=size, resize=round(max(size) * 256 / 224), **PRESETS[name])

    def with_size(self, size: tuple[int, int]) -> Preprocessing:
        """The same for another input size, the shorter side resized in proportion."""
        return replace(self, size=size, resize=round(self.resize * max(size) / max(self.size)))

    def __call__(self, image: RGBImage) -> Float32Array:
        """The tensor [3, H, W] of a picture [h, w, 3]."""
        return self.normalize(self.crop_image(image))

    def crop_image(self, image: RGBImage) -> RGBImage:
        """What the model sees of a picture: uint8 [H, W, 3].

        Equals torchvision's Resize(resize, antialias) and CenterCrop(size) on a PIL image.

        Raises:
            ImageError: the picture is so long and thin that resizing it would fill the memory.
        """
        return self._cropped(image, INTERPOLATIONS[self.interpolation])

    def load_cropped(self, record: Record) -> RGBImage:
        """What the model sees of a record's picture, decoded as `decode` says: uint8 [H, W, 3].

        Raises:
            ImageError: as `crop_image`, or the picture cannot be decoded.
        """
        if self.decode == "full" or record.load_downscaled is None:
            return self.crop_image(record.load())
        picture, _ = record.load_downscaled(self.max_downscale)
        return self.crop_image(picture)

    def max_downscale(self, size: tuple[int, int]) -> int:
        """How many times smaller a picture of (height, width) may be before it is resized."""
        # A pixel that is picked, not averaged, would be another one.
        if self.interpolation == "nearest":
            return 1
        width, height = self._resized_to(size)
        return min(size[0] // (MIN_OVERSAMPLING * height), size[1] // (MIN_OVERSAMPLING * width))

    def crop_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What is left of a mask [h, w] of a picture in what the model sees of it: [H, W].

        The geometry of `crop_image`; every pixel takes the nearest one's value.

        Raises:
            ImageError: as `crop_image`.
        """
        return self._cropped(mask.astype(np.uint8), Image.Resampling.NEAREST).astype(bool)

    def normalize(self, image: RGBImage) -> Float32Array:
        """The tensor [3, H, W] of a picture of the model's size."""
        ordered = image if self.channels == "RGB" else image[:, :, ::-1]
        tensor = np.empty((len(self._values), *ordered.shape[:2]), np.float32)
        for channel, values in enumerate(self._values):
            # No index is out of range: "clip" only spares the copy that "raise" makes of `out`.
            np.take(values, ordered[:, :, channel], out=tensor[channel], mode="clip")
        return tensor

    @cached_property
    def _values(self) -> Float32Array:
        """What each value of a pixel becomes in each channel: [3, 256]."""
        pixels = np.arange(256, dtype=np.float32) / np.float32(self.scale)
        mean, std = (np.array(each, np.float32)[:, None] for each in (self.mean, self.std))
        values: Float32Array = (pixels - mean) / std
        return values

    def describe(self) -> dict[str, Any]:
        """Everything that changes a number, for the record of a run."""
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if self.decode == "full":
            del found["decode"]  # as in runs that were kept before there was a choice
        return found

    def _cropped(self, image: RGBImage, method: Image.Resampling) -> RGBImage:
        height, width = self.size
        scaled = _resized(image, self._resized_to(image.shape[:2]), method)
        if not self.crop:
            return scaled
        top = round((scaled.shape[0] - height) / 2.0)
        left = round((scaled.shape[1] - width) / 2.0)
        return scaled[top : top + height, left : left + width]

    def _resized_to(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(width, height) that a picture of (height, width) has before the crop."""
        if not self.crop:
            return self.size[1], self.size[0]
        return _scaled(size[1], size[0], self.resize)


_MOST_PIXELS = 180_000_000

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "torch": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        "tf": {"scale": 127.5, "mean": (1.0, 1.0, 1.0)},
        "caffe": {"scale": 1.0, "mean": (104.0, 117.0, 123.0), "channels": "BGR"},
        "unit": {},
    }
)


def check_decode_mode(name: str) -> None:
    """There must be such a way to decode.

    Raises:
        PreprocessingError: there is none.
    """
    if name not in DECODE_MODES:
        raise PreprocessingError(f"decode must be {' or '.join(DECODE_MODES)}, not '{name}'")


def _resized(image: RGBImage, size: tuple[int, int], method: Image.Resampling) -> RGBImage:
    """To (width, height)."""
    if size[0] * size[1] > _MOST_PIXELS:
        raise ImageError(f"resizing it to {size[0]} x {size[1]} pixels takes too much memory")
    return np.asarray(Image.fromarray(image).resize(size, method))


def _scaled(width: int, height: int, short: int) -> tuple[int, int]:
    """(width, height) with the shorter side `short` and the longer rounded down."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short
