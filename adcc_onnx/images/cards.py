"""The card beside a model, `model.toml` beside `model.onnx`: how images become its tensors."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adcc_onnx.errors import PreprocessingError, did_you_mean
from adcc_onnx.images.class_names import read_class_names
from adcc_onnx.images.preprocessing import DECODE_MODES, PRESETS, Preprocessing

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
    "decode": DECODE_MODES,
    "layout": ("NCHW", "NHWC"),
    "scores": ("logits", "probabilities", "log-probabilities", "sigmoid"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "resize": (int,),
    "crop": (bool,),
    "interpolation": (str,),
    "scale": (int, float),
    "channels": (str,),
    "layer": (str,),
    "about": (dict,),
}


@dataclass(frozen=True)
class ModelCard:
    """What a card fixes; None where it is silent.

    Attributes:
        pixels: the keys of `Preprocessing` that it gives.
        preset: the preset that those override.
        size: (H, W) of the input.
        layout: "NCHW" or "NHWC".
        labels: the names of the classes.
        layer: the layer to explain.
        scores: what the model's output holds.
    """

    pixels: dict[str, Any]
    preset: str | None = None
    size: tuple[int, int] | None = None
    layout: str | None = None
    labels: list[str] | None = None
    layer: str | None = None
    scores: str | None = None

    def preprocessing(self, size: tuple[int, int]) -> Preprocessing | None:
        """Preprocessing for an input of this size; None if the card says nothing of pixels."""
        if self.preset is None and not self.pixels:
            return None
        base = Preprocessing.preset(self.preset or "unit", size)
        return replace(base, **self.pixels)


def card_beside(model: Path) -> ModelCard | None:
    """The card `model.toml` beside `model.onnx`, if there is one."""
    path = model.with_suffix(".toml")
    return read_card(path) if path.is_file() else None


def read_card(path: Path) -> ModelCard:
    """Read a card.

    Raises:
        PreprocessingError: missing or malformed, an unknown key, a value of the wrong kind, or a
            labels file that is missing or lies outside the card's folder.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = ", ".join(PRESETS)
        raise PreprocessingError(
            f"no preset and no card '{path}'; the presets are {known}"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PreprocessingError(f"the card {path} cannot be read: {error}") from error
    try:
        return _card(given, path)
    except (TypeError, ValueError) as error:
        raise PreprocessingError(f"the card {path}: {error}") from error


def _card(given: dict[str, Any], path: Path) -> ModelCard:
    for key, value in given.items():
        if key not in _KEYS:
            raise ValueError(f"no key '{key}'{did_you_mean(key, _KEYS)}")
        _check(key, value)
    pixels = {key: given[key] for key in _PIXEL_KEYS if key in given}
    for key in ("mean", "std"):
        if key in pixels:
            pixels[key] = _triple(key, pixels[key])
    return ModelCard(
        pixels,
        given.get("preset"),
        _size(given["size"]) if "size" in given else None,
        given.get("layout"),
        _labels(given["labels"], path) if "labels" in given else None,
        given.get("layer"),
        given.get("scores"),
    )


def _check(key: str, value: Any) -> None:
    if key in _CHOICES and value not in _CHOICES[key]:
        raise ValueError(f"{key} must be one of {', '.join(_CHOICES[key])}, not {value!r}")
    wanted = _TYPES.get(key)
    if wanted and (
        not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)
    ):
        raise TypeError(f"{key} must be of type {wanted[-1].__name__}, not {value!r}")


def _triple(key: str, value: Any) -> tuple[float, float, float]:
    numbers = [value] * 3 if isinstance(value, int | float) else value
    if not isinstance(numbers, list) or len(numbers) != 3:
        raise TypeError(f"{key} must be one number or three, not {value!r}")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise TypeError(f"{key} must hold numbers, not {value!r}")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _size(value: Any) -> tuple[int, int]:
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list) or len(pair) != 2 or not all(type(n) is int for n in pair):
        raise TypeError(f"size must be a whole number or [height, width], not {value!r}")
    if min(pair) < 1:
        raise ValueError(f"size must be at least 1 pixel, not {value!r}")
    return pair[0], pair[1]


def _labels(value: Any, card: Path) -> list[str]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    if not isinstance(value, str):
        raise TypeError(f"labels must be a file name or a list of names, not {value!r}")
    folder = card.parent.resolve()
    path = (folder / value).resolve()
    if not path.is_relative_to(folder):
        raise ValueError(f"labels = '{value}' lies outside the card's folder")
    return read_class_names(path)
