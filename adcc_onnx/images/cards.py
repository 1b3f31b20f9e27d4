"""Model cards: `model.toml` next to `model.onnx` describes how images become input tensors."""

from __future__ import annotations

import math
import os
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

from adcc_onnx.errors import PreprocessingError, did_you_mean, first_line
from adcc_onnx.images.class_names import read_class_names
from adcc_onnx.images.preprocessing import CHANNELS, DECODE_MODES, PRESETS, Preprocessing
from adcc_onnx.images.text_files import read_text

_MAX_CARD_BYTES = 4 * 2**20
_MAX_SIDE = 8192  # pixels; the tensor of one image of this size has 800 MB

_KEYS = (
    "preset",
    "size",
    "resize",
    "crop",
    "interpolation",
    "scale",
    "mean",
    "std",
    "channels",
    "decode",
    "layout",
    "labels",
    "layer",
    "scores",
    "about",
)
_PIXEL_KEYS = ("resize", "crop", "interpolation", "scale", "mean", "std", "channels", "decode")
_CHOICES = {
    "preset": tuple(PRESETS),
    "channels": CHANNELS,
    "decode": DECODE_MODES,
    "layout": ("NCHW", "NHWC"),
    "scores": ("logits", "probabilities", "log-probabilities", "sigmoid"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "resize": (int,),
    "crop": (bool,),
    "interpolation": (str,),
    "scale": (int, float),
    "layer": (str,),
    "about": (dict,),
}


@dataclass(frozen=True)
class ModelCard:
    """Content of a model card; None for keys that it does not set.

    Attributes:
        pixels: Fields of `Preprocessing` that the card sets.
        preset: Name of the preset whose values `pixels` override.
        size: Height and width of the model's input in pixels.
        layout: Layout of the model's input, "NCHW" or "NHWC".
        labels: Class names in the order of the scores.
        layer: Target layer to explain.
        scores: Kind of the model's output: "logits", "probabilities", "log-probabilities" or
            "sigmoid".
    """

    pixels: dict[str, Any]
    preset: str | None = None
    size: tuple[int, int] | None = None
    layout: str | None = None
    labels: list[str] | None = None
    layer: str | None = None
    scores: str | None = None

    def preprocessing(self, size: tuple[int, int], depth: int = 3) -> Preprocessing | None:
        """Build the preprocessing that the card describes.

        Args:
            size: Height and width of the model's input in pixels.
            depth: Number of channels of the model's input. Unless the card sets `channels`, one
                channel gets the luminance, and other numbers than 3 get the bands of files.

        Returns:
            The preprocessing; None if the card sets no key about pixels.

        Raises:
            PreprocessingError: `mean` or `std` has another number of values than the channels.
        """
        if self.preset is None and not self.pixels:
            return None
        channels = self.pixels.get("channels")
        # The preset's constants are replaced, so they need not fit the number of channels.
        own = {"mean", "std"} <= self.pixels.keys()
        name = "unit" if self.preset is None or (own and depth not in (1, 3)) else self.preset
        own_depth = {"L": 1, "RGB": 3, "BGR": 3}.get(str(channels), depth)
        base = Preprocessing.preset(name, size, own_depth)
        fields = dict(self.pixels)
        if (channels or base.channels) == "bands":
            for key in {"mean", "std"} & fields.keys():
                fields[key] *= depth if len(fields[key]) == 1 else 1
        return replace(base, **fields)


def card_beside(model: Path) -> ModelCard | None:
    """Read the card `model.toml` next to `model.onnx`, if it exists.

    Args:
        model: The ONNX file.

    Returns:
        The card; None if there is no such file.

    Raises:
        PreprocessingError: The card cannot be read; see `read_card`.
    """
    path = model.with_suffix(".toml")
    return read_card(path) if os.path.lexists(path) else None


def read_card(path: Path) -> ModelCard:
    """Read a model card.

    Args:
        path: The TOML file.

    Returns:
        The content of the card.

    Raises:
        PreprocessingError: The card is missing or malformed, has an unknown key or a value of a
            wrong type, or names a labels file that is missing or outside the card's folder.
    """
    if not os.path.lexists(path):
        known = ", ".join(PRESETS)
        raise PreprocessingError(
            f"there is neither a preset nor a card '{path}'; the presets are {known}"
        )
    try:
        text = read_text(path, f"the card {path}", _MAX_CARD_BYTES)
    except ValueError as error:
        raise PreprocessingError(str(error)) from error
    try:
        content = tomllib.loads(text)
    except RecursionError as error:
        raise PreprocessingError(f"the card {path} is nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise PreprocessingError(f"the card {path} cannot be read: {first_line(error)}") from error
    except ValueError as error:  # Python limits the digits of integers
        raise PreprocessingError(f"the card {path} has an integer of too many digits") from error
    try:
        return _parse_card(content, path)
    except (TypeError, ValueError, OverflowError, RuntimeError, OSError) as error:
        raise PreprocessingError(f"the card {path}: {first_line(error)}") from error


def _parse_card(content: dict[str, Any], path: Path) -> ModelCard:
    for key, value in content.items():
        if key not in _KEYS:
            raise ValueError(f"unknown key {short(key)}{did_you_mean(key, _KEYS)}")
        _check_value(key, value)
    pixels = {key: content[key] for key in _PIXEL_KEYS if key in content}
    for key in ("mean", "std"):
        if key in pixels:
            pixels[key] = _numbers(key, pixels[key], pixels.get("channels") == "bands")
    return ModelCard(
        pixels,
        content.get("preset"),
        _size(content["size"]) if "size" in content else None,
        content.get("layout"),
        _labels(content["labels"], path) if "labels" in content else None,
        content.get("layer"),
        content.get("scores"),
    )


def _check_value(key: str, value: Any) -> None:
    if key in _CHOICES and value not in _CHOICES[key]:
        raise ValueError(f"{key} must be one of {', '.join(_CHOICES[key])}, not {short(value)}")
    wanted = _TYPES.get(key)
    if wanted and (
        not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)
    ):
        raise TypeError(f"{key} must have the type {wanted[-1].__name__}, not {short(value)}")
    _check_range(key, value)


def _check_range(key: str, value: Any) -> None:
    """Check the numbers of a value, which may be a number or a list."""
    for number in value if isinstance(value, list) else [value]:
        if key in ("size", "resize") and isinstance(number, int) and number > _MAX_SIDE:
            raise ValueError(f"{key} must be at most {_MAX_SIDE} pixels, not {short(number)}")
        if key in ("scale", "mean", "std") and isinstance(number, int | float):
            if not math.isfinite(number):
                raise ValueError(f"{key} must be finite, not {number}")
            if number == 0 and key != "mean":
                raise ValueError(f"{key} must not be 0")


def _numbers(key: str, value: Any, bands: bool) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or (len(numbers) not in (1, 3) and not bands):
        hint = "" if bands else ' (one per band with channels = "bands")'
        raise TypeError(f"{key} must be one number or three{hint}, not {short(value)}")
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError(f"{key} must hold numbers, not {short(value)}")
    return tuple(float(number) for number in numbers)


def _size(value: Any) -> tuple[int, int]:
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int for n in pair):
        raise TypeError(f"size must be an integer or [height, width], not {short(value)}")
    if min(pair) < 1:
        raise ValueError(f"size must be at least 1 pixel, not {short(value)}")
    return pair[0], pair[1]


def _labels(value: Any, card: Path) -> list[str]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    if not isinstance(value, str):
        raise TypeError(f"labels must be a file name or a list of names, not {short(value)}")
    folder = card.parent.resolve()
    path = (folder / value).resolve()
    if not path.is_relative_to(folder):
        raise ValueError(f"labels = {short(value)} is outside the card's folder")
    try:
        return read_class_names(path)
    except PreprocessingError as error:
        raise PreprocessingError(f"{error}; the card {card.name} names it as labels") from error
