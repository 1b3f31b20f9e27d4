"""Whole models against torch autograd, at the default layer and at one in the middle."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("torch")

from helpers import architectures

# VGG's adaptive pool exports for 224 alone; the others are small, so that few ReLUs lie at a kink.
MODELS = {
    "resnet18": 96,
    "vgg11_bn": 224,
    "mobilenet_v2": 96,
    "mobilenet_v3_small": 96,
    "densenet121": 96,
    "googlenet": 96,
    "squeezenet1_1": 96,
    "efficientnet_b0": 96,
    "shufflenet_v2_x0_5": 96,
    "regnet_x_400mf": 96,
    "resnext50_32x4d": 96,
    "mnasnet0_5": 96,
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_torch_autograd(name: str, torchvision: ModuleType) -> None:
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    # One image in three asks for another class: batch and target are per sample.
    share = 0.75 if name == "vgg11_bn" else 0.5
    for layer, _, error in architectures.worst_errors(
        architectures.randomize(model), MODELS[name], share
    ):
        assert error < 1e-4, f"{name} at {layer}: {error:.1e}"
