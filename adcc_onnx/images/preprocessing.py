"""Preprocessing: from decoded pixels to the normalized input tensor of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adcc_onnx.errors import ImageError, OptionError, PreprocessingError, did_you_mean
from adcc_onnx.images.pixel_arrays import BandImage, RGBImage
from adcc_onnx.images.sources.image_source import Record
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.kernels.resized_crop import (
    FILTER_RADIUS,
    MAX_SIDE,
    resized_crop,
    resizes_rows_first,
)
from adcc_onnx.kernels.tabulated import tabulated

Numbers = tuple[float, ...]

INTERPOLATIONS: Mapping[str, Image.Resampling] = MappingProxyType(
    {
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "nearest": Image.Resampling.NEAREST,
    }
)
DECODE_MODES = ("full", "reduced")
# RGB and BGR are color, L is luminance, and "bands" are the bands of the file in their own order.
CHANNELS = ("RGB", "BGR", "L", "bands")
# A JPEG is decoded at a reduced size only if it stays at least this many times larger than the
# resized image. Measured: the smallest integer at which no pixel of photos changes by more than
# 4/255 (docs/results/performance.md).
MIN_OVERSAMPLING = 5


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input tensor of a model.

    The image is resized so that its shorter side has `resize` pixels, the central `size` is
    cropped, and every pixel value becomes x = (pixel / scale - mean) / std. Resizing and cropping
    equal torchvision's `Resize(resize, antialias=True)` and `CenterCrop(size)` on a Pillow image.

    `Preprocessing.preset` builds the usual ones:

    - "torch": RGB / 255, minus mean (0.485, 0.456, 0.406), over std (0.229, 0.224, 0.225).
    - "tf": RGB / 127.5 - 1.
    - "caffe": BGR - (104, 117, 123).
    - "unit": RGB / 255.
    - "raw": RGB 0..255, for models with their preprocessing inside.

    Args:
        size: Height and width of the model's input in pixels, each at least 1.
        resize: Length of the shorter side after resizing, in pixels; at least `max(size)` if `crop`
            is True. Ignored otherwise.
        crop: Whether to crop the center after resizing. If False, the image is resized directly
            to `size`, whatever its aspect ratio.
        interpolation: "bilinear", "bicubic" (both antialiased) or "nearest".
        scale: Divisor of the pixel values 0..255, not 0.
        mean: Value subtracted from each channel after the division, in the order of `channels`:
            one number per channel, or one for all color channels.
        std: Divisor of each channel after the subtraction, likewise; not 0.
        channels: "RGB" or "BGR" for color, "L" for the luminance (ITU-R 601, as Pillow's
            `convert("L")`), or "bands" for the bands of `.npy` and TIFF files in their own order,
            as many as `mean` has numbers.
        decode: "full", or "reduced": decode large JPEGs at a reduced size, which is faster and
            changes pixels by at most 4 of 255 on photos.

    Raises:
        PreprocessingError: A value is out of its range, or the crop is larger than the resized
            image.

    Example:
        >>> preprocessing = Preprocessing.preset("torch", (224, 224))
        >>> preprocessing.resize
        256
        >>> preprocessing(np.zeros((480, 640, 3), np.uint8)).shape
        (3, 224, 224)
        >>> own = Preprocessing((96, 96), resize=96, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> own(np.full((96, 96, 3), 255, np.uint8)).max()
        np.float32(1.0)
    """

    size: tuple[int, int]
    resize: int
    crop: bool = True
    interpolation: str = "bilinear"
    scale: float = 255.0
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)
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
            known = " or ".join(INTERPOLATIONS)
            raise PreprocessingError(f"interpolation must be {known}, not '{self.interpolation}'")
        if self.channels not in CHANNELS:
            known = ", ".join(CHANNELS)
            raise PreprocessingError(f"channels must be one of {known}, not '{self.channels}'")
        check_decode_mode(self.decode)
        for name in ("mean", "std"):
            object.__setattr__(self, name, self._one_per_channel(name, getattr(self, name)))
        if self.scale == 0 or 0 in self.std:
            raise PreprocessingError("scale and std must not be 0")

    @property
    def depth(self) -> int:
        """The number of channels of the input tensor."""
        return len(self.mean)

    @classmethod
    def preset(cls, name: str, size: tuple[int, int], depth: int = 3) -> Preprocessing:
        """Build one of the named presets for a model's input size.

        Args:
            name: "torch", "tf", "caffe", "unit" or "raw".
            size: Height and width of the model's input in pixels.
            depth: Number of channels of the model's input. A single channel gets the luminance
                and the mean of the preset's constants.

        Returns:
            The preprocessing; `resize` is 256 for an input of 224 and in proportion otherwise.

        Raises:
            OptionError: There is no such preset.
            PreprocessingError: The preset has a constant for each color, and `depth` is neither
                1 nor 3.

        Example:
            >>> Preprocessing.preset("tf", (299, 299)).resize
            342
            >>> gray = Preprocessing.preset("torch", (28, 28), depth=1)
            >>> gray.channels, round(gray.mean[0], 3)
            ('L', 0.449)
        """
        if name not in PRESETS:
            raise OptionError(f"no preset '{name}'{did_you_mean(name, PRESETS)}")
        fields = _for_depth(name, PRESETS[name], depth)
        return cls(size=size, resize=round(max(size) * 256 / 224), **fields)

    def with_size(self, size: tuple[int, int]) -> Preprocessing:
        """Return the same preprocessing for another input size.

        Args:
            size: Height and width of the model's input in pixels.

        Returns:
            A copy with the new size; `resize` changes in proportion.

        Example:
            >>> Preprocessing.preset("unit", (224, 224)).with_size((112, 112)).resize
            128
        """
        return replace(self, size=size, resize=round(self.resize * max(size) / max(self.size)))

    def __call__(self, image: RGBImage) -> Float32Array:
        """Convert an image to an input tensor.

        Args:
            image: RGB pixels, uint8 [h, w, 3], of any size.

        Returns:
            The normalized tensor, float32 [C, H, W].

        Raises:
            ImageError: The resized image would need too much memory.
        """
        return self.normalize(self.crop_image(image))

    def crop_image(self, image: RGBImage) -> RGBImage:
        """Resize and crop an image, without normalizing it.

        Args:
            image: RGB pixels, uint8 [h, w, 3].

        Returns:
            The pixels that the model gets, uint8 [H, W, 3]; three times the luminance if
            `channels` is "L".

        Raises:
            ImageError: The resized image would need too much memory: its aspect ratio is extreme.
        """
        method = INTERPOLATIONS[self.interpolation]
        if self.channels == "L":
            return np.repeat(self._cropped(luminance(image), method)[:, :, None], 3, axis=2)
        return self._cropped(image, method)

    def load_cropped(self, record: Record) -> BandImage:
        """Decode the image of a record as `decode` says, then resize and crop it.

        If the source has a cache of crops, an image that is in it is not decoded.

        Args:
            record: Record of a source of images (not of preprocessed tensors).

        Returns:
            The pixels that the model gets, uint8 [H, W, 3], or [H, W, C] of the file's type if
            `channels` is "bands".

        Raises:
            ImageError: The image cannot be decoded, has another number of bands, or would need
                too much memory when resized.
        """
        if self.channels == "bands":
            return self._load_bands(record)
        if record.crops is None or record.encoded is None:
            return self._decode_and_crop(record)
        make = partial(self._decode_and_crop, record)
        return record.crops(record.encoded(), self._geometry, self.size, make)

    @property
    def _geometry(self) -> dict[str, Any]:
        """The settings that the pixels of a crop depend on."""
        names = ("size", "resize", "crop", "interpolation", "decode")
        return {**{name: getattr(self, name) for name in names}, "gray": self.channels == "L"}

    def _decode_and_crop(self, record: Record) -> RGBImage:
        if self.decode == "full" or record.load_downscaled is None:
            return self.crop_image(record.load())
        image, _ = record.load_downscaled(self.max_downscale)
        return self.crop_image(image)

    def max_downscale(self, size: tuple[int, int]) -> int:
        """Compute by which factor an image may be downscaled before it is resized.

        Args:
            size: (height, width) of the full image in pixels.

        Returns:
            The largest factor that keeps pixels within the documented tolerance; below 2 where
            the full image is needed.
        """
        # Nearest-neighbor interpolation would pick other pixels.
        if self.interpolation == "nearest":
            return 1
        width, height = self._resized_to(size)
        return min(size[0] // (MIN_OVERSAMPLING * height), size[1] // (MIN_OVERSAMPLING * width))

    def crop_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Resize and crop a mask with the geometry of `crop_image` and nearest-neighbor sampling.

        Args:
            mask: Mask of an image, bool [h, w].

        Returns:
            The mask of the cropped image, bool [H, W].

        Raises:
            ImageError: The resized mask would need too much memory.
        """
        return self._cropped(mask.astype(np.uint8), Image.Resampling.NEAREST).astype(bool)

    def crop_box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Locate what the model sees of an image.

        Args:
            size: (height, width) of the image in pixels.

        Returns:
            The edges (left, top, right, bottom) of the crop in the image's own pixels, which are
            fractional because the image is cropped after resizing.

        Example:
            >>> Preprocessing.preset("unit", (224, 224)).crop_box((512, 1024))
            (288.0, 32.0, 736.0, 480.0)
        """
        width, height = self._resized_to(size)
        top, left = self._corner((height, width))
        x, y = size[1] / width, size[0] / height  # pixels of the image per resized pixel
        return left * x, top * y, (left + self.size[1]) * x, (top + self.size[0]) * y

    def normalize(self, image: BandImage) -> Float32Array:
        """Scale and normalize an image that has been cropped.

        Args:
            image: RGB pixels, uint8 [H, W, 3], of the model's input size; or bands [H, W, C].

        Returns:
            The normalized tensor, float32 [C, H, W].
        """
        if image.dtype != np.uint8:
            scaled = np.moveaxis(image, 2, 0).astype(np.float32) / np.float32(self.scale)
            mean, std = self._constants
            return (scaled - mean[:, :, None]) / std[:, :, None]
        return tabulated(self._ordered(image), self._values)

    @cached_property
    def _values(self) -> Float32Array:
        """Tabulate the normalized value of each pixel value in each channel, [3, 256]."""
        pixels = np.arange(256, dtype=np.float32) / np.float32(self.scale)
        mean, std = self._constants
        values: Float32Array = (pixels - mean) / std
        return values

    @property
    def _constants(self) -> tuple[Float32Array, Float32Array]:
        """The mean and the standard deviation, [C, 1]."""
        return np.array(self.mean, np.float32)[:, None], np.array(self.std, np.float32)[:, None]

    def black(self) -> Float32Array:
        """Compute the normalized value of black in each channel, float32 [C]."""
        return self._values[:, 0]

    def keeps_bytes(self) -> bool:
        """Whether all normalized values are integers in 0..255, as a uint8 input needs."""
        whole = np.round(self._values).clip(0, 255)
        return bool((whole == self._values).all())

    def to_pixels(self, tensor: Float32Array) -> RGBImage:
        """Convert an input tensor back to pixels, to draw it.

        Args:
            tensor: The normalized tensor, float32 [C, H, W].

        Returns:
            RGB pixels, uint8 [H, W, 3]; grayscale if the tensor is not in color.

        Example:
            >>> steps = Preprocessing.preset("caffe", (2, 2))
            >>> image = np.full((2, 2, 3), (250, 120, 3), np.uint8)
            >>> steps.to_pixels(steps.normalize(image))[0, 0].tolist()
            [250, 120, 3]
        """
        mean, std = (constants[:, :, None] for constants in self._constants)
        pixels = np.round((tensor * std + mean) * np.float32(self.scale)).clip(0, 255)
        image = np.moveaxis(pixels, 0, 2).astype(np.uint8)
        if self.channels in ("RGB", "BGR"):
            return image if self.channels == "RGB" else np.ascontiguousarray(image[:, :, ::-1])
        gray = np.round(image.mean(axis=2, keepdims=True)).astype(np.uint8)
        return np.repeat(gray, 3, axis=2)

    def _ordered(self, image: BandImage) -> BandImage:
        """Return the channels of an image in the order of `channels`."""
        if self.channels == "L":
            return luminance(image)[:, :, None]
        return image[:, :, ::-1] if self.channels == "BGR" else image

    def _one_per_channel(self, name: str, values: Numbers) -> Numbers:
        """Return one number per channel of `mean` or `std`."""
        wanted = {"L": 1, "bands": max(len(self.mean), len(self.std))}.get(self.channels, 3)
        if len(values) not in (1, wanted):
            raise PreprocessingError(
                f"{name} has {len(values)} numbers, but channels = {self.channels} has {wanted}"
            )
        return tuple(values) * (wanted // len(values))

    def _load_bands(self, record: Record) -> BandImage:
        """Decode, resize and crop the bands of a record."""
        if record.load_bands is None:
            raise ImageError(f"{record.name}: the image does not have {self.depth} bands")
        bands = record.load_bands(self.depth)
        if bands.dtype != np.uint8:
            bands = bands.astype(np.float32)
        method = INTERPOLATIONS[self.interpolation]
        planes = [np.ascontiguousarray(bands[:, :, band]) for band in range(self.depth)]
        return np.stack([self._cropped(plane, method) for plane in planes], axis=2)

    def describe(self) -> dict[str, Any]:
        """List all settings that change results, for the record of a run.

        Returns:
            The fields by name, JSON-compatible; `decode` only if it is not "full".
        """
        found = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        if self.decode == "full":
            del found["decode"]  # runs stored before this option existed lack the key
        return found

    def _cropped(self, image: BandImage, method: Image.Resampling) -> BandImage:
        width, height = self._resized_to(image.shape[:2])
        if width * height > _MAX_PIXELS:
            raise ImageError(f"resizing it to {width} x {height} pixels needs too much memory")
        top, left = self._corner((height, width))
        if _crops_first(image, (height, width), method):
            pixels = image if image.ndim == 3 else image[:, :, None]
            name = method.name.lower()
            crop = resized_crop(pixels, (height, width), (top, left), self.size, name)
            return crop if image.ndim == 3 else crop[:, :, 0]
        scaled = np.asarray(Image.fromarray(image).resize((width, height), method))
        return scaled[top : top + self.size[0], left : left + self.size[1]]

    def _corner(self, resized: tuple[int, ...]) -> tuple[int, int]:
        """Compute the (top, left) of the crop in a resized image of (height, width)."""
        return round((resized[0] - self.size[0]) / 2.0), round((resized[1] - self.size[1]) / 2.0)

    def _resized_to(self, size: tuple[int, ...]) -> tuple[int, int]:
        """Compute the (width, height) before the crop of an image of (height, width)."""
        if not self.crop:
            return self.size[1], self.size[0]
        return _scaled(size[1], size[0], self.resize)


_MAX_PIXELS = 180_000_000

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "torch": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
        "tf": {"scale": 127.5, "mean": (1.0, 1.0, 1.0)},
        "caffe": {"scale": 1.0, "mean": (104.0, 117.0, 123.0), "channels": "BGR"},
        "unit": {},
        "raw": {"scale": 1.0},
    }
)


def luminance(image: RGBImage) -> NDArray[np.uint8]:
    """Compute the luminance of an image (ITU-R 601), as Pillow's `convert("L")`.

    Args:
        image: RGB pixels, uint8 [H, W, 3].

    Returns:
        The luminance, uint8 [H, W].

    Example:
        >>> luminance(np.array([[[255, 0, 0], [0, 255, 0], [7, 7, 7]]], np.uint8)).tolist()
        [[76, 150, 7]]
    """
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))


def check_decode_mode(name: str) -> None:
    """Check the name of a decode mode.

    Args:
        name: "full" or "reduced".

    Raises:
        PreprocessingError: It is neither.
    """
    if name not in DECODE_MODES:
        raise PreprocessingError(f"decode must be {' or '.join(DECODE_MODES)}, not '{name}'")


def _for_depth(name: str, preset: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return the fields of a preset for a number of channels."""
    if depth == 3:
        return dict(preset)
    fields = {key: value for key, value in preset.items() if key != "channels"}
    for key in ("mean", "std"):
        values = preset.get(key, (0.0,) if key == "mean" else (1.0,))
        if depth != 1 and len(set(values)) > 1:
            raise PreprocessingError(
                f"the preset '{name}' has constants for three colors, but the model takes {depth} "
                f'channels: use a card with channels = "bands" and a mean and std of {depth} '
                "numbers, or ready tensors (.npz)"
            )
        mean = sum(values) / len(values)
        fields[key] = (mean,) * depth
    return {**fields, "channels": "L" if depth == 1 else "bands"}


def _crops_first(image: BandImage, resized: tuple[int, int], method: Image.Resampling) -> bool:
    """Return whether only the pixels of the crop need to be resized, with the same result."""
    return (
        method.name.lower() in FILTER_RADIUS
        and image.dtype == np.uint8
        and max(image.shape) <= MAX_SIDE
        and resizes_rows_first(image.shape[:2], resized)
    )


def _scaled(width: int, height: int, short: int) -> tuple[int, int]:
    """Scale (width, height) to a shorter side of `short`; the longer side is rounded down."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short
