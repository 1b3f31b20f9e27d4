"""Gradients of whole models against torch autograd, at the default layer and a middle layer."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("torch")

from helpers import architectures
from helpers.selected import slow_except

# Name: input size. Small images bring few ReLU inputs near 0 and take less time, but VGG's adaptive
# pool exports for 224 pixels only.
MODELS = {
    "resnet18": 64,
    "mobilenet_v3_small": 64,
    "densenet121": 96,
    "googlenet": 64,
    "squeezenet1_1": 64,
    "efficientnet_b0": 64,
    "shufflenet_v2_x0_5": 96,
    "regnet_x_400mf": 96,
    "mobilenet_v2": 96,
    "mnasnet0_5": 96,
    "resnext50_32x4d": 96,
    "vgg11_bn": 224,
}
DEFAULT = ("resnet18", "mobilenet_v3_small", "squeezenet1_1")


@pytest.mark.parametrize("name", slow_except(DEFAULT, MODELS))
def test_gradients_equal_torch_autograd(name: str, torchvision: ModuleType) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    # The three images of the batch have different target classes.
    share = 0.75 if name == "vgg11_bn" else 0.5
    for layer, _, error in architectures.worst_errors(
        architectures.randomize(model), MODELS[name], share
    ):
        assert error < 1e-4, f"{name} at {layer}: {error:.1e}"
