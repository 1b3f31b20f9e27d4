"""The preprocessings that image classifiers are usually trained with: candidates for a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from adcc_onnx.images.preprocessing import PRESETS, Preprocessing

# Values of pixels that networks of several toolchains take, beyond the presets.
_FURTHER_VALUES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "0..255 minus ImageNet mean": {"scale": 1.0, "mean": (123.0, 117.0, 104.0)},
        "0..255 minus 128": {"scale": 1.0, "mean": (128.0, 128.0, 128.0)},
        "/ 255 - 0.5": {"mean": (0.5, 0.5, 0.5)},
        "/ 255 minus ImageNet mean": {"mean": (0.485, 0.456, 0.406)},
    }
)
_USUAL_BORDER = 32  # pixels that EfficientNet's preprocessing adds to the input size
_SWAPPED = {"RGB": "BGR", "BGR": "RGB"}


@dataclass(frozen=True)
class Candidate:
    """One preprocessing of a search.

    Attributes:
        values: The name of the pixel values: a preset, or a formula.
        geometry: How the image is resized and cropped.
        preprocessing: The preprocessing.
        usual: Whether it is a preset with the usual resizing, or given by the user. Others must be
            significantly better to be preferred.
    """

    values: str
    geometry: str
    preprocessing: Preprocessing
    usual: bool = False

    @property
    def name(self) -> str:
        """The name of the candidate, such as "torch, resize 256, crop 224, bilinear"."""
        return f"{self.values}, {self.geometry}, {self.preprocessing.interpolation}"


def candidates_of_values(
    size: tuple[int, int], depth: int, takes_bytes: bool = False
) -> Iterator[Candidate]:
    """List the usual pixel values in both orders of the colors, with the usual resizing.

    Args:
        size: Height and width of the model's input in pixels.
        depth: Number of channels of the model's input.
        takes_bytes: Whether it takes uint8 pixels, which are never normalized.

    Returns:
        The candidates, the presets first.

    Example:
        >>> [one.values for one in candidates_of_values((224, 224), 3)][:4]
        ['torch', 'torch with BGR', 'tf', 'tf with BGR']
        >>> [one.values for one in candidates_of_values((28, 28), 1)]
        ['torch', 'tf', 'caffe', 'unit', 'raw', '0..255 minus 128', '/ 255 - 0.5']
    """
    found: dict[Preprocessing, Candidate] = {}
    for name in (*PRESETS, *_FURTHER_VALUES):
        if takes_bytes and name != "raw":
            continue
        steps = _with_values(name, size, depth)
        if steps is None:
            continue
        usual = name in PRESETS
        found.setdefault(steps, Candidate(name, _geometry(steps), steps, usual))
        if depth == 3:
            other = _swapped(steps)
            label = f"{name} with {other.channels}"
            found.setdefault(other, Candidate(label, _geometry(other), other))
    return iter(found.values())


def candidates_of_geometry(best: Candidate) -> Iterator[Candidate]:
    """List the usual ways to resize and crop, with three interpolations.

    Args:
        best: The candidate whose pixel values are kept.

    Returns:
        The candidates, without `best` itself.

    Example:
        >>> (torch, *_) = candidates_of_values((240, 240), 3)
        >>> geometries = dict.fromkeys(one.geometry for one in candidates_of_geometry(torch))
        >>> list(geometries)[:3]
        ['resize 274, crop 240', 'resize 272, crop 240', 'resize 252, crop 240']
    """
    steps, sides = best.preprocessing, best.preprocessing.size
    longer = max(sides)
    resizes = dict.fromkeys(
        (round(longer * 256 / 224), longer + _USUAL_BORDER, int(longer / 0.95), longer)
    )
    shapes = [replace(steps, resize=resize, crop=True) for resize in resizes]
    shapes.append(replace(steps, resize=longer, crop=False))
    for shape in shapes:
        for interpolation in ("bilinear", "bicubic", "nearest"):
            chosen = replace(shape, interpolation=interpolation)
            if chosen != steps:
                yield Candidate(best.values, _geometry(chosen), chosen)


def named_candidate(name: str, steps: Preprocessing) -> Candidate:
    """Describe a given preprocessing, such as that of a card, as a candidate.

    Args:
        name: The name of its pixel values, used if they are not among the usual ones.
        steps: The preprocessing.

    Example:
        >>> steps = Preprocessing.preset("tf", (224, 224))
        >>> named_candidate("card", steps).name
        'tf, resize 256, crop 224, bilinear'
    """
    for one in candidates_of_values(steps.size, steps.depth):
        same = one.preprocessing
        usual = replace(
            steps, resize=same.resize, crop=True, interpolation=same.interpolation, decode="full"
        )
        if usual == same:
            return Candidate(one.values, _geometry(steps), steps)
    return Candidate(name, _geometry(steps), steps)


def _with_values(name: str, size: tuple[int, int], depth: int) -> Preprocessing | None:
    """Return the usual resizing with the pixel values of a name; None if they need colors."""
    if name in PRESETS:
        colored = len(set(PRESETS[name].get("mean", (0.0,)))) > 1
        if depth not in (1, 3) and colored:
            return None
        return Preprocessing.preset(name, size, depth)
    fields = dict(_FURTHER_VALUES[name])
    base = Preprocessing.preset("unit", size, depth)
    if depth != 3:
        if len(set(fields["mean"])) > 1:
            return None  # for one channel, it hardly differs from another candidate
        fields["mean"] = (fields["mean"][0],) * depth
    return replace(base, **fields)


def _swapped(steps: Preprocessing) -> Preprocessing:
    """Return the same preprocessing with the other order of the colors."""
    return replace(
        steps, channels=_SWAPPED[steps.channels], mean=steps.mean[::-1], std=steps.std[::-1]
    )


def _geometry(steps: Preprocessing) -> str:
    height, width = steps.size
    size = str(height) if height == width else f"{height} x {width}"
    if steps.crop:
        return f"resize {steps.resize}, crop {size}"
    return f"squeeze to {height} x {width}"
