"""Export of torchvision classifiers to ONNX with cards: `adcc-onnx export torchvision:NAME`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch


def _import_torchvision() -> Any:
    """Import torchvision, even a build without its compiled operators: no classifier needs them."""
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(f"{name}{boxes}")
        _LIBRARIES.append(library)
    import torchvision

    return torchvision


_LIBRARIES: list[Any] = []  # keeps the declared operators registered
torchvision = _import_torchvision()

# Last convolutional stage: the target layer of these models in the CAM literature.
LAYERS = {
    "vgg16": "features.29",
    "resnet18": "layer4",
    "resnet50": "layer4",
    "resnet101": "layer4",
    "resnext50_32x4d": "layer4",
    "resnext101_32x8d": "layer4",
}
# Published scores refer to these weights, even where torchvision has better ones by now.
PUBLISHED_WEIGHTS = "IMAGENET1K_V1"


def names() -> list[str]:
    """List the names of the available classifiers."""
    models = torchvision.models
    return [str(name) for name in models.list_models(module=models)]


def export(name: str, weights: str, path: Path) -> dict[str, Any]:
    """Export a classifier and return the content of its model card.

    Args:
        name: Name of the classifier, one of `names()`.
        weights: "default" (those of the literature), "none" (random), torchvision's name of the
            weights, or the path of a state dict.
        path: ONNX file to write.

    Returns:
        The keys of the model card.

    Raises:
        ValueError: There are no such weights, or the state dict belongs to another model.
    """
    known = torchvision.models.get_model_weights(name)
    chosen = _choose_weights(name, weights, known)
    model = torchvision.models.get_model(name, weights=None, **_options(name, known, chosen))
    if isinstance(chosen, Path):
        _load(model, torch.load(chosen, map_location="cpu", weights_only=True), str(chosen))
    elif chosen is not None:
        _load(model, chosen.get_state_dict(progress=True, check_hash=True), chosen.name)
    described = (
        chosen if chosen is not None and not isinstance(chosen, Path) else known[PUBLISHED_WEIGHTS]
    )
    transforms = described.transforms()
    size = transforms.crop_size[0]
    _write(model.eval(), size, path)
    return {
        "size": size,
        "resize": transforms.resize_size[0],
        "interpolation": str(transforms.interpolation.value),
        "scale": 255.0,
        "mean": [float(value) for value in transforms.mean],
        "std": [float(value) for value in transforms.std],
        "channels": "RGB",
        "layout": "NCHW",
        "labels": list(described.meta["categories"]),
        "layer": LAYERS.get(name),
        "scores": "logits",
        "about": {
            "source": f"torchvision {torchvision.__version__}, {name}",
            "weights": _weights_name(chosen),
        },
    }


def _choose_weights(name: str, weights: str, known: Any) -> Any:
    """Return a member of torchvision's weights enum, a path, or None for random weights."""
    if weights == "none":
        return None
    if weights == "default":
        return known.__members__.get(PUBLISHED_WEIGHTS, known.DEFAULT)
    if weights in known.__members__:
        return known[weights]
    if Path(weights).is_file():
        return Path(weights)
    names = ", ".join(known.__members__)
    raise ValueError(f"no weights '{weights}' for {name}: give none, default, {names}, or a file")


def _options(name: str, known: Any, chosen: Any) -> dict[str, Any]:
    """Return constructor options: no auxiliary heads, which only training needs."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": chosen is None}
        options |= {"transform_input": False}
    return options


def _load(model: torch.nn.Module, state: Any, source: str) -> None:
    own = model.state_dict()
    # The model has no auxiliary heads, so their weights are dropped.
    kept = {key: value for key, value in state.items() if not key.startswith(("aux", "AuxLogits"))}
    missing = sorted(own.keys() - kept.keys())
    if missing:
        raise ValueError(f"{source} is not a state dict of this model: it lacks '{missing[0]}'")
    try:
        model.load_state_dict(kept, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise ValueError(f"{source} is not a state dict of this model: {first}") from error


def _write(model: torch.nn.Module, size: int, path: Path) -> None:
    image = torch.zeros(2, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (image,),
            dynamo=True,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)


def _weights_name(chosen: Any) -> str:
    if chosen is None:
        return "none (random)"
    return chosen.name if isinstance(chosen, Path) else f"{chosen.name}, {chosen.url}"
