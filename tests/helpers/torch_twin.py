"""The shared mobilenet_v2 in torch, with the ONNX file's own weights, and maps of ours."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.evaluation.plan import make_plan
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.kernels.min_max_normalize import min_max_normalize
from adcc_onnx.model import Model
from helpers.shared_models import shared_model

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
    return shared_model(data, "mobilenet_v2").with_layers(LAYERS[block])


def stages(twin: Any, layer: int) -> tuple[list[Any], list[Any]]:
    """The modules up to a layer, and those between it and the pooling."""
    blocks = list(twin.features)
    if layer == 17:
        blocks[17:18] = blocks[17].conv
        layer = 17 + 1
    return blocks[: layer + 1], blocks[layer + 1 :]


def features(twin: Any, layer: int, images: Array, targets: Array) -> tuple[Array, Array]:
    """(A, g) at the output of a module, by torch autograd: the part after it is in float64."""
    prefix, suffix = stages(twin, layer)
    values = torch.from_numpy(images)
    with torch.no_grad():
        for stage in prefix:
            values = stage(values)
    activations = values.double().requires_grad_()
    twin.double()
    values = activations
    for stage in suffix:
        values = stage(values)
    scores = twin.classifier(values.mean((2, 3)))
    score = scores[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    (gradient,) = torch.autograd.grad(score, activations)
    twin.float()
    return activations.detach().numpy(), gradient.numpy()
