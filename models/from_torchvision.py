"""Export of torchvision classifiers to ONNX with cards: `adcc-onnx export torchvision:NAME`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adcc_onnx.errors import OptionError
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import require_name
from adcc_onnx.exporting.torch_export import load_state, read_state, torch_scores, write_torch
from adcc_onnx.exporting.torchvision_import import import_torchvision
from adcc_onnx.exporting.weights_download import downloading

torchvision = import_torchvision()

# The target layer of these families in the CAM literature; the default layer serves for the others.
_LAYERS = ((r"(wide_)?resne(t|xt)\d", "layer4"),)
# Published scores refer to these weights, even where torchvision has better ones by now.
PUBLISHED_WEIGHTS = "IMAGENET1K_V1"
# Heads that only training needs.
_AUXILIARY = ("aux", "AuxLogits")


def names() -> list[str]:
    """List the names of the available classifiers."""
    models = torchvision.models
    return [str(name) for name in models.list_models(module=models)]


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: Name of the classifier, one of `names()`.
        weights: "default" (those of the literature), "none" (random), torchvision's name of the
            weights, or the path of a state dict.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: There are no such weights, or the state dict belongs to another model.
        ModelError: The weights cannot be downloaded.
    """
    require_name("torchvision", name, names())
    known = torchvision.models.get_model_weights(name)
    chosen = _choose_weights(name, weights, known)
    network = torchvision.models.get_model(name, weights=None, **_options(name, known, chosen))
    if isinstance(chosen, Path):
        load_state(network, read_state(chosen), str(chosen), _AUXILIARY)
    elif chosen is not None:
        load_state(network, _downloaded(name, chosen), chosen.name, _AUXILIARY)
    described = chosen if isinstance(chosen, known) else _published(known)
    transforms = described.transforms()
    network.eval()
    write_torch(network, (transforms.crop_size[0],) * 2, path)
    source = f"torchvision {torchvision.__version__}, {name}"
    card = {
        **_preprocessing(transforms),
        "labels": list(described.meta["categories"]),
        "layer": layer(name, network),
        "scores": "logits",
        "about": {"source": source, "weights": _weights_name(chosen)},
    }
    preprocess = lambda image: transforms(image).numpy()  # noqa: E731
    return ExportedNetwork(card, torch_scores(network), preprocess)


def layer(name: str, network: Any) -> str | None:
    """Return the module path of the target layer in the CAM literature.

    Args:
        name: Name of the classifier.
        network: The classifier.

    Returns:
        The path; None if the default layer of adcc-onnx is the one of the literature.
    """
    if name.startswith(("alexnet", "vgg")):
        # The last convolution with its activation, before the last max pooling.
        last = [i for i, module in enumerate(network.features) if isinstance(module, nn.ReLU)][-1]
        return f"features.{last}"
    return next((path for family, path in _LAYERS if re.match(family, name)), None)


def _preprocessing(transforms: Any) -> dict[str, Any]:
    """Read the keys of the card from torchvision's transforms of the weights."""
    return {
        "size": transforms.crop_size[0],
        "resize": transforms.resize_size[0],
        "interpolation": str(transforms.interpolation.value),
        "scale": 255.0,
        "mean": [float(value) for value in transforms.mean],
        "std": [float(value) for value in transforms.std],
        "channels": "RGB",
        "layout": "NCHW",
    }


def _published(known: Any) -> Any:
    return known.__members__.get(PUBLISHED_WEIGHTS, known.DEFAULT)


def _choose_weights(name: str, weights: str, known: Any) -> Any:
    """Return a member of torchvision's weights enum, a path, or None for random weights."""
    if weights == "none":
        return None
    if weights == "default":
        return _published(known)
    if weights in known.__members__:
        return known[weights]
    if Path(weights).is_file():
        return Path(weights)
    members = ", ".join(known.__members__)
    raise OptionError(
        f"no weights '{weights}' for {name}: give none, default, {members}, or a file"
    )


def _downloaded(name: str, chosen: Any) -> Any:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    with downloading(f"torchvision:{name}", chosen.url, str(folder)):
        return chosen.get_state_dict(progress=True, check_hash=True)


def _options(name: str, known: Any, chosen: Any) -> dict[str, Any]:
    """Return constructor options: no auxiliary heads, which only training needs."""
    if name in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": chosen is None, "transform_input": False}
    return {}


def _weights_name(chosen: Any) -> str:
    if chosen is None:
        return "none (random)"
    return chosen.name if isinstance(chosen, Path) else f"{chosen.name}, {chosen.url}"
