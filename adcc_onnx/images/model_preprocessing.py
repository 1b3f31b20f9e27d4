"""The preprocessing of a model: the user's, its card's or the default one, checked to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from adcc_onnx.errors import PreprocessingError
from adcc_onnx.images.cards import ModelCard
from adcc_onnx.images.preprocessing import PRESETS, Preprocessing, check_decode_mode


@dataclass(frozen=True)
class ImageInput:
    """What a model's input takes.

    Attributes:
        size: Height and width in pixels.
        depth: Number of channels.
        takes_bytes: Whether it takes uint8 pixels.
    """

    size: tuple[int, int]
    depth: int
    takes_bytes: bool = False


def model_preprocessing(
    chosen: str | Path | Preprocessing | ModelCard | None,
    card: ModelCard | None,
    image: ImageInput,
    decode: str | None = None,
) -> Preprocessing | None:
    """Choose the preprocessing of a model.

    Args:
        chosen: The user's preset or preprocessing; the card's if None, a card or its path.
        card: The model's card.
        image: What the model's input takes.
        decode: "full" or "reduced"; as the preprocessing says if None.

    Returns:
        The preprocessing; for an input of uint8 pixels, the preset "raw" by default. None if it is
        not known.

    Raises:
        PreprocessingError: The preprocessing does not fit the model.

    Example:
        >>> model_preprocessing("unit", None, ImageInput((28, 28), depth=1)).channels
        'L'
    """
    if decode is not None:
        check_decode_mode(decode)
    steps = _chosen(chosen, card, image)
    if steps is None:
        return None
    _require_fit(steps, image)
    return steps if decode is None else replace(steps, decode=decode)


def _chosen(
    chosen: str | Path | Preprocessing | ModelCard | None, card: ModelCard | None, image: ImageInput
) -> Preprocessing | None:
    if isinstance(chosen, Preprocessing):
        return chosen
    if isinstance(chosen, str | Path) and str(chosen) in PRESETS:
        return Preprocessing.preset(str(chosen), image.size, image.depth)
    steps = None if card is None else card.preprocessing(image.size, image.depth)
    if steps is None and image.takes_bytes:
        return Preprocessing.preset("raw", image.size, image.depth)
    return steps


def _require_fit(steps: Preprocessing, image: ImageInput) -> None:
    if steps.size != image.size:
        raise PreprocessingError(
            f"the preprocessing gives images of {steps.size[0]} x {steps.size[1]} pixels, "
            f"the model takes {image.size[0]} x {image.size[1]}"
        )
    if steps.depth != image.depth:
        hint = {1: 'channels = "L"', 3: 'channels = "RGB"'}.get(image.depth, 'channels = "bands"')
        raise PreprocessingError(
            f"the preprocessing gives {steps.depth} channels ({steps.channels}), the model takes "
            f"{image.depth}: use {hint}, with a mean and std of one or {image.depth} numbers"
        )
    if image.takes_bytes and not steps.keeps_bytes():
        raise PreprocessingError(
            "the model takes uint8 pixels 0..255 and preprocesses them itself, so its images must "
            "not be normalized: give --preprocess raw"
        )
