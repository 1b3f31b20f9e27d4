"""The models in float32 that correct evaluations in a cheaper precision."""

from __future__ import annotations

from collections.abc import Sequence

from adcc_onnx.api.models import ModelLike
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.run_options import ModelOptions, load_with
from adcc_onnx.model import Model

_FEWEST = 10


def float32_options(options: ModelOptions) -> ModelOptions:
    """Return the options of `load` for the same model in float32.

    Args:
        options: The options of the model in a cheaper precision.
    """
    return {**options, "precision": "fp32"}


def load_anchors(
    models: Sequence[ModelLike],
    loaded: Sequence[Model],
    options: ModelOptions,
    count: int,
    images: int,
) -> list[Model]:
    """Load models a second time, in float32.

    Args:
        models: The models as they were given.
        loaded: The same models as they are evaluated.
        options: The options that these were loaded with.
        count: Number of images that are evaluated in float32.
        images: Number of images of the dataset.

    Returns:
        The models in float32.

    Raises:
        OptionError: There are too few or too many anchors, a model is loaded already, or it is
            evaluated in float32 anyway.
    """
    if not _FEWEST <= count <= images:
        needed = f"at least {_FEWEST} anchors" if count < _FEWEST else f"at most {images} images"
        raise OptionError(
            f"--anchor {count}: the correction needs {needed}, the size of the dataset; to "
            "evaluate all images in float32, give --precision fp32 and no --anchor"
            if count > images
            else f"--anchor {count}: the correction needs {needed} to have an interval"
        )
    found = []
    for given, cheap in zip(models, loaded, strict=True):
        if isinstance(given, Model):
            raise OptionError(
                f"{cheap.name}: anchors load the model a second time, in float32, so give its path "
                "and its precision to evaluate, not a model that is loaded already"
            )
        exact = load_with(given, float32_options(options))
        if exact.precision == cheap.precision:
            raise OptionError(
                f"{cheap.name} is evaluated in float32 already, so anchors have nothing to "
                "correct: add a cheaper precision, such as --precision fp16, bf16 or int8"
            )
        found.append(exact)
    return found
