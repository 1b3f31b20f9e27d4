"""The shared mobilenet_v2 in torch, with the ONNX file's own weights, and maps of ours."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.model import Model

Array = np.ndarray
# Not the predicted class: a target of one's own must reach both sides.
TARGETS = np.array([7, 281, 500, 950])
# Outputs of blocks of torchvision's model (in 17, of its last ReLU6), as the file calls them.
LAYERS = {
    6: "/features/features.6/Add_output_0",
    13: "/features/features.13/Add_output_0",
    17: "/features/features.17/conv/conv.1/conv.1.1/Clip_output_0",
    18: "/features/features.18/features.18.1/Clip_output_0",
}


def ours(model: Model, images: Array, text: str, targets: Array = TARGETS) -> Array:
    method = get_method(text)
    keys = [make_plan().key(str(i)) for i in range(len(images))]
    seen = BatchContext(run_images(model, images, targets, method.needs, keys))
    maps, _ = min_max_normalize(method.raw_maps(seen))
    return maps


@cache
def at_layer(data: Path, block: int) -> Model:
    path = data / "models" / "mobilenet_v2.onnx"
    return adcc.load(path, preprocessing="torch", layers=LAYERS[block], device="cpu")


def module_at(twin: Any, layer: int) -> Any:
    block = twin.features[layer]
    return block.conv[1] if layer == 17 else block


def features(twin: Any, layer: int, images: Array, targets: Array) -> tuple[Array, Array]:
    """(A, g) at the output of a module in float64, by torch autograd."""
    double = twin.double()
    kept: list[Any] = []

    def start_here(module: Any, given: Any, made: Any) -> Any:
        kept.append(made.detach().requires_grad_())
        return kept[0]

    handle = module_at(double, layer).register_forward_hook(start_here)
    source = torch.from_numpy(images).double()
    score = double(source)[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    (gradient,) = torch.autograd.grad(score, kept[0])
    handle.remove()
    activations = kept[0].detach().numpy()
    twin.float()
    return activations, gradient.numpy()
