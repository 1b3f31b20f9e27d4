"""Export of Hugging Face image classifiers to ONNX: `adcc-onnx export transformers:NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from adcc_onnx.errors import AdccError, OptionError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import require_name
from adcc_onnx.exporting.torch_export import torch_scores, write_torch
from adcc_onnx.exporting.torchvision_import import import_torchvision
from adcc_onnx.exporting.weights_download import downloading

import_torchvision()  # before the libraries that import it
import transformers  # noqa: E402
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification  # noqa: E402
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES  # noqa: E402
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES  # noqa: E402

_INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_FILES = "config.json, preprocessor_config.json and model.safetensors"
_CONVNEXT_WITHOUT_CROP = 384  # from this size on, its processor resizes without a crop


class _Scores(torch.nn.Module):
    """A classifier of transformers whose output is the tensor of the scores alone.

    Args:
        network: The classifier, which returns an object with the attribute `logits`.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        """Compute the scores, [N, classes], of images, [N, 3, H, W]."""
        return self.network(pixel_values=images).logits


def names() -> list[str]:
    """List the architectures (model types) that classify images."""
    return sorted(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Export a classifier.

    Args:
        name: A checkpoint of the Hugging Face Hub, such as "google/vit-base-patch16-224", or an
            architecture, one of `names()`.
        weights: "default" (the checkpoint's download), "none" (random weights, for an
            architecture), or a folder that `save_pretrained` wrote.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: There is no such architecture or folder, or the folder holds another kind of
            model.
        ModelError: The checkpoint cannot be downloaded.
    """
    network, processor = _network(name, weights)
    scored = _Scores(network).eval()
    keys = _preprocessing(processor)
    size = keys["size"]
    write_torch(scored, (size, size) if isinstance(size, int) else tuple(size), path)
    source = f"transformers {transformers.__version__}, {network.__class__.__name__}, {name}"
    chosen = {"none": "none (random)", "default": f"https://huggingface.co/{name}"}
    card = {
        **keys,
        "labels": _labels(network.config),
        "scores": "logits",
        "about": {"source": source, "weights": chosen.get(weights, Path(weights).name)},
    }

    def preprocess(image: Any) -> Any:
        return processor(image, return_tensors="np")["pixel_values"][0]

    return ExportedNetwork(card, torch_scores(scored), preprocess)


def _network(name: str, weights: str) -> tuple[Any, Any]:
    """Return the classifier and its image processor."""
    if weights == "none":
        if "/" in name:
            raise OptionError(
                f"random weights need an architecture instead of the checkpoint {name}, such as "
                "transformers:vit"
            )
        require_name("transformers", name, names())
        config = AutoConfig.for_model(name)
        return AutoModelForImageClassification.from_config(config), _default_processor(name)
    if weights != "default":
        return _read(Path(weights))
    if "/" not in name:
        require_name("transformers", name, names())
        raise OptionError(
            f"'{name}' is an architecture: give a checkpoint of the Hugging Face Hub, such as "
            "transformers:google/vit-base-patch16-224, or --weights FOLDER or none"
        )
    with downloading(f"transformers:{name}", f"{_FILES} of https://huggingface.co/{name}"):
        return (
            AutoModelForImageClassification.from_pretrained(name, trust_remote_code=False),
            AutoImageProcessor.from_pretrained(name, trust_remote_code=False),
        )


def _read(folder: Path) -> tuple[Any, Any]:
    """Read a folder that `save_pretrained` wrote; its files run no code."""
    for file in ("config.json", "preprocessor_config.json"):
        if not (folder / file).is_file():
            raise OptionError(
                f"there is no file {folder / file}: --weights needs a folder with {_FILES}, as "
                "save_pretrained of the model and of its image processor write them"
            )
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        model, loaded = AutoModelForImageClassification.from_pretrained(
            folder, output_loading_info=True, use_safetensors=True, **options
        )
        processor = AutoImageProcessor.from_pretrained(folder, **options)
    except AdccError:
        raise
    except Exception as error:  # it raises errors of many types
        raise OptionError(f"{folder} holds no image classifier: {first_line(error)}") from error
    if loaded["missing_keys"]:
        missing = sorted(loaded["missing_keys"])[0]
        raise OptionError(f"{folder} holds no trained classifier: the weights lack '{missing}'")
    return model, processor


def _default_processor(architecture: str) -> Any:
    """Return the image processor of an architecture with its default settings."""
    found = IMAGE_PROCESSOR_MAPPING_NAMES.get(architecture)
    name = found.get("torchvision") or found.get("pil") if found else "ViTImageProcessor"
    return getattr(transformers, name)()


def _preprocessing(processor: Any) -> dict[str, Any]:
    """Read the keys of the card from an image processor.

    What a card cannot describe is left out; the check of the export then warns about the
    difference.
    """
    settings = processor.to_dict()
    size = settings.get("size") or {}
    found: dict[str, Any] = {}
    if settings.get("crop_pct") and "shortest_edge" in size:
        edge = size["shortest_edge"]
        direct = edge >= _CONVNEXT_WITHOUT_CROP
        found = {"size": edge, **({"crop": False} if direct else {})}
        found |= {} if direct else {"resize": int(edge / settings["crop_pct"])}
    elif settings.get("do_center_crop"):
        found = {"size": _sides(settings["crop_size"]), "resize": _shorter(size)}
    else:
        found = {"size": _sides(size), "crop": False}
    scale = 1.0 / settings["rescale_factor"] if settings.get("do_rescale") else 1.0
    # 1 / (1 / 255) is not 255 in floating point.
    found["scale"] = float(round(scale)) if abs(scale - round(scale)) < 1e-6 else scale
    if settings.get("do_normalize"):
        found["mean"] = [float(value) for value in settings["image_mean"]]
        found["std"] = [float(value) for value in settings["image_std"]]
    found["interpolation"] = _INTERPOLATIONS.get(int(settings.get("resample") or 2), "bicubic")
    return {**found, "channels": "RGB", "layout": "NCHW"}


def _sides(size: dict[str, int]) -> int | list[int]:
    """Return a size of an image processor as a card writes it."""
    if "height" not in size:
        return _shorter(size)
    height, width = size["height"], size["width"]
    return height if height == width else [height, width]


def _shorter(size: dict[str, int]) -> int:
    return int(size.get("shortest_edge") or min(size["height"], size["width"]))


def _labels(config: Any) -> list[str] | None:
    """Return the class names, unless they are placeholders such as LABEL_0."""
    known = [str(config.id2label[index]) for index in range(config.num_labels)]
    return None if all(name.startswith("LABEL_") for name in known) else known
