"""Export of timm classifiers to ONNX with cards: `adcc-onnx export timm:NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adcc_onnx.errors import OptionError
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import require_name
from adcc_onnx.exporting.torch_export import load_state, read_state, torch_scores, write_torch
from adcc_onnx.exporting.torchvision_import import import_torchvision
from adcc_onnx.exporting.weights_download import downloading

import_torchvision()  # before the libraries that import it
import timm  # noqa: E402
import timm.data  # noqa: E402
from torchvision import transforms  # noqa: E402


def names() -> list[str]:
    """List the names of the networks, with and without the tags of their weights."""
    return [*timm.list_models(), *timm.list_pretrained()]


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: Name of the network, with or without the tag of its weights, such as "resnet50" or
            "resnet50.a1_in1k".
        weights: "default" (timm's download), "none" (random), or the path of a state dict
            (`.pth` or `.safetensors`) with timm's names.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: There is no such network, it has no classes, or the weights do not fit.
        ModelError: The weights cannot be downloaded.
    """
    require_name("timm", name, names())
    network = timm.create_model(name, pretrained=False)
    config = network.pretrained_cfg
    if not getattr(network, "num_classes", 0):
        raise OptionError(f"timm:{name} computes features, but no class scores")
    if weights == "default":
        file = _published_file(config)
        with downloading(f"timm:{name}", file):
            network = timm.create_model(name, pretrained=True)
    elif weights != "none":
        load_state(network, read_state(Path(weights)), weights, ())
    network.eval()
    steps = timm.data.create_transform(
        **timm.data.resolve_model_data_config(network), is_training=False
    )
    size = tuple(network.pretrained_cfg["input_size"][1:])
    write_torch(network, size, path)
    card = {
        **_preprocessing(steps, size),
        "labels": _labels(network),
        "scores": "logits",
        "about": {
            "source": f"timm {timm.__version__}, {name}",
            "weights": "none (random)" if weights == "none" else _published_file(config)
            if weights == "default" else Path(weights).name,
        },
    }  # fmt: skip
    return ExportedNetwork(card, torch_scores(network), lambda image: steps(image).numpy())


def _preprocessing(steps: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Read the keys of the card from timm's transforms.

    Transforms that a card cannot describe (a crop with borders) leave the defaults; the check of
    the export then warns about the difference.
    """
    height, width = size
    found: dict[str, Any] = {"size": height if height == width else [height, width]}
    for step in steps.transforms:
        if isinstance(step, transforms.Resize):
            squash = not isinstance(step.size, int)
            found |= {"crop": False} if squash else {"resize": step.size}
            found["interpolation"] = str(step.interpolation.value)
        elif isinstance(step, transforms.Normalize):
            found["mean"] = [float(value) for value in step.mean]
            found["std"] = [float(value) for value in step.std]
    if found.get("crop") is not False:
        found.setdefault("resize", max(size))
    return {**found, "scale": 255.0, "channels": "RGB", "layout": "NCHW"}


def _labels(network: Any) -> list[str] | None:
    """Return the names of ImageNet's classes, if the network has these."""
    subset = timm.data.infer_imagenet_subset(network)
    if not subset:
        return None
    info = timm.data.ImageNetInfo(subset)
    return [info.index_to_description(index) for index in range(info.num_classes())]


def _published_file(config: dict[str, Any]) -> str:
    """Return where timm's weights can be found by hand."""
    if config.get("hf_hub_id"):
        file = config.get("hf_hub_filename") or "model.safetensors"
        return f"the file {file} of https://huggingface.co/{config['hf_hub_id']}"
    return str(config.get("url") or "weights of this network")
