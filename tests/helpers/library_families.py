"""One small network of every family of timm and transformers, against the library's own layers.

Each network has random weights. It is exported to ONNX, and three things are compared with torch:
the default layer with the tensor that the library's own code pools or gives to its last attention,
the gradient there with autograd, and a two-image evaluation must end without a failure.

Run in `tests/` as `python -m helpers.library_families timm|transformers [NAME...]`; it prints the
rows of the table in docs/families.md.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import adcc_onnx as adcc
from adcc_onnx.errors import AdccError

# A CPU build of torch lacks two operators that torchvision declares when it is imported.
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

_TOKEN_NORMS = ("norm1", "ln_1", "layernorm_before", "layer_norm1", "pre_norm")


@dataclass(frozen=True)
class Network:
    """A network with the tensors that its own code pools or attends to.

    Attributes:
        name: The family and the name in its library.
        module: The network, in evaluation mode.
        size: (height, width) of its images.
        layers: By module path, what may be the default layer: module and whether its output
            (True) or its input (False) is meant.
    """

    name: str
    module: torch.nn.Module
    size: tuple[int, int]
    layers: dict[str, tuple[torch.nn.Module, bool]]


@dataclass(frozen=True)
class Row:
    """What was found for one network."""

    name: str
    layer: str = ""
    expected: str = ""
    gradient_error: float = float("nan")
    problem: str = ""

    def __str__(self) -> str:
        """One row of the table."""
        error = "" if np.isnan(self.gradient_error) else f"{self.gradient_error:.0e}"
        return f"| {self.name} | {self.layer} | {self.expected} | {error} | {self.problem} |"


def timm_networks(names: list[str]) -> Iterator[Network]:
    """The smallest network of each module of timm, or those of the given names."""
    import timm

    for name in names or sorted(_smallest_of_each_module()):
        module = timm.create_model(name, pretrained=False, num_classes=10).eval()
        _, height, width = module.default_cfg["input_size"]
        yield Network(f"timm:{name}", module, (height, width), _timm_layers(module))


def _smallest_of_each_module() -> Iterator[str]:
    import timm

    for family in timm.list_modules():
        sizes = {}
        for name in timm.list_models(module=family):
            try:
                with torch.device("meta"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    network = timm.create_model(name, pretrained=False, num_classes=10)
            except Exception:
                continue
            sizes[name] = sum(parameter.numel() for parameter in network.parameters())
            if len(sizes) >= 12:
                break
        if sizes:
            yield min(sizes, key=sizes.__getitem__)


def _timm_layers(module: torch.nn.Module) -> dict[str, tuple[torch.nn.Module, bool]]:
    """What is pooled, and what enters the last attention."""
    found: dict[str, tuple[torch.nn.Module, bool]] = {}
    for path, part in module.named_modules():
        if path.rsplit(".", 1)[-1] in ("global_pool", "pool", "avgpool", "head_pool"):
            found[path] = (part, False)
    blocks = [
        (path, part)
        for path, part in module.named_modules()
        if path.rsplit(".", 1)[-1] in _TOKEN_NORMS
    ]
    if blocks:
        path, part = blocks[-1]
        found[path] = (part, True)
    return found


def transformers_networks(names: list[str]) -> Iterator[Network]:
    """A tiny network of each image classification architecture of transformers."""
    from transformers import AutoConfig, AutoModelForImageClassification
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as KNOWN,
    )

    for family in names or sorted(KNOWN):
        for attention in ("eager", "sdpa"):
            try:
                config = _tiny(AutoConfig.for_model(family), attention)
                module = AutoModelForImageClassification.from_config(config).eval()
            except Exception as error:
                print(Row(f"transformers:{family}", problem=f"not built: {_brief(error)}"))
                break
            size = getattr(config, "image_size", 64)
            height, width = (size, size) if isinstance(size, int) else tuple(size)
            yield Network(
                f"transformers:{family} ({attention})",
                _Logits(module),
                (height, width),
                _transformers_layers(module),
            )


def _tiny(config: Any, attention: str) -> Any:
    """A configuration with two layers of 32 channels, where it has such settings."""
    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "patch_size": 16,
        "num_labels": 10,
        "embed_dim": 24,
        "depths": [1, 1, 1, 1],
        "num_channels": 3,
    }
    for name, value in small.items():
        if hasattr(config, name) and isinstance(getattr(config, name), type(value)):
            if name == "depths":
                value = [1] * len(config.depths)
            setattr(config, name, value)
    if hasattr(config, "vision_config"):
        _tiny(config.vision_config, attention)
    config._attn_implementation = attention
    return config


class _Logits(torch.nn.Module):
    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.model = module

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=pixel_values).logits


def _transformers_layers(module: torch.nn.Module) -> dict[str, tuple[torch.nn.Module, bool]]:
    found: dict[str, tuple[torch.nn.Module, bool]] = {}
    for path, part in module.named_modules():
        name = path.rsplit(".", 1)[-1]
        if name in ("pooler", "avgpool", "pooling", "pool"):
            found[path] = (part, False)
        if name in _TOKEN_NORMS:
            last = path, part
            found = {k: v for k, v in found.items() if not k.endswith(name)}
            found[last[0]] = (last[1], True)
    return found


def check(network: Network) -> Row:
    """Compare one network with torch."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *network.size)
    try:
        model = _export(network.module, x)
    except Exception as error:
        return Row(network.name, problem=f"not exported: {_brief(error)}")
    try:
        exposed = adcc.expose(model)
        layer = exposed.metadata_props and _metadata(exposed, "adcc_onnx.layers")
        names = [f"{layer}.activation", f"{layer}.gradient"]
        session = onnxruntime.InferenceSession(exposed.SerializeToString())
        feeds = {session.get_inputs()[0].name: x.numpy(), "target": np.array([1, 3])}
        activation, gradient = session.run(names, feeds)
    except AdccError as error:
        return Row(network.name, problem=str(error))
    path, error = _closest(network, x, activation, gradient)
    return Row(network.name, str(layer), path, error, _evaluate(model, x))


def _export(module: torch.nn.Module, x: torch.Tensor) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            file,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
            opset_version=17,
            dynamo=False,
        )
    return onnx.load_model_from_string(file.getvalue())


def _metadata(model: onnx.ModelProto, key: str) -> str:
    return next(entry.value for entry in model.metadata_props if entry.key == key)


def _closest(
    network: Network, x: torch.Tensor, activation: np.ndarray, gradient: np.ndarray
) -> tuple[str, float]:
    """The library's tensor that equals our default layer, and the error of the gradient there."""
    seen: dict[str, torch.Tensor] = {}
    hooks = []
    for path, (module, output) in network.layers.items():
        hooks.append(_record(module, output, path, seen))
    scores = network.module(x)
    total = scores[[0, 1], [1, 3]].sum()
    for hook in hooks:
        hook.remove()
    for path, tensor in reversed(seen.items()):
        ours = torch.from_numpy(activation)
        for permuted in _layouts(tensor):
            if permuted.shape != ours.shape or not torch.allclose(permuted, ours, atol=1e-3):
                continue
            (wanted,) = torch.autograd.grad(total, tensor, retain_graph=True)
            wanted = next(w for w in _layouts(wanted) if w.shape == ours.shape)
            scale = float(wanted.abs().max()) or 1.0
            return path, float((wanted - torch.from_numpy(gradient)).abs().max()) / scale
    return "DIFFERENT", float("nan")


def _layouts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    yield tensor
    if tensor.ndim == 4:
        yield tensor.permute(0, 3, 1, 2)
        yield tensor.permute(0, 2, 3, 1)
    if tensor.ndim == 3:
        yield tensor.permute(1, 0, 2)


def _record(module: torch.nn.Module, output: bool, path: str, seen: dict[str, torch.Tensor]) -> Any:
    def keep_output(_: Any, __: Any, result: Any) -> None:
        if isinstance(result, torch.Tensor) and result.requires_grad:
            seen[path] = result

    def keep_input(_: Any, inputs: Any) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].requires_grad:
            seen[path] = inputs[0]

    if output:
        return module.register_forward_hook(keep_output)
    return module.register_forward_pre_hook(keep_input)


def _evaluate(model: onnx.ModelProto, x: torch.Tensor) -> str:
    """Evaluate Grad-CAM on two images; returns what went wrong."""
    try:
        result = adcc.evaluate(adcc.load(model, device="cpu"), x.numpy(), ["gradcam"])
    except AdccError as error:
        return f"evaluate: {error}"
    found = result.methods["gradcam"]
    return f"{found.failed} failed" if found.failed else ""


def _brief(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:90]


LIBRARIES: dict[str, Callable[[list[str]], Iterator[Network]]] = {
    "timm": timm_networks,
    "transformers": transformers_networks,
}


def main() -> None:
    """Print the table of one library."""
    library, *names = sys.argv[1:]
    for network in LIBRARIES[library](names):
        start = time.monotonic()
        print(check(network), f"{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
