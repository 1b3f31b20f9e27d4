"""Finer-CAM against both peers that have it, which differ in the shares of the similar classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.cam_oracles import minmax
from helpers.torch_twin import TARGETS, Array, at_layer, ours

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.model import Model


@pytest.fixture(scope="module")
def middle(data: Path) -> Model:
    return at_layer(data, 13)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("finercam", {}),
        ("finercam(comparisons=1, alpha=0.5)", {"comparison_categories": [1], "alpha": 0.5}),
    ],
)
def test_finercam_equals_pytorch_grad_cam(
    text: str, options: dict[str, Any], middle: Model, images: Array, twin: Any
) -> None:
    """The whole peer, from the similar classes that it chooses to the map at the image's size.

    For the predicted class: the peer adds 1e-9 to the sum of the similar classes' probabilities,
    which is more than the sum itself around unlikely classes. It normalizes upsampled maps again.
    """
    package = pytest.importorskip("pytorch_grad_cam")
    network = twin.double()
    with package.FinerCAM(network, [network.features[13]]) as cam:
        wanted = cam(torch.from_numpy(images[:2]).double().requires_grad_(), **options)
    twin.float()
    found = [minmax(one) for one in adcc.explain(middle, images[:2], text).maps]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_finercam_with_equal_shares_equals_torchcam(
    middle: Model, images: Array, twin: Any
) -> None:
    methods = pytest.importorskip("torchcam.methods")
    network = twin.double()
    with methods.FinerCAM(network, network.features[13], gamma=0.6, num_references=3) as cam:
        scores = network(torch.from_numpy(images).double().requires_grad_())
        wanted = cam([int(target) for target in TARGETS], scores)[0].detach().numpy()
    twin.float()
    found = ours(middle, images, "finercam(alpha=0.6, shares=equal)")
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_without_comparison_it_is_gradcam(middle: Model, images: Array) -> None:
    found = ours(middle, images, "finercam(alpha=0)")
    np.testing.assert_allclose(found, ours(middle, images, "gradcam"), atol=1e-6)


def test_options_out_of_range() -> None:
    for text in ("finercam(comparisons=0)", "finercam(alpha=-1)"):
        with pytest.raises(OptionError, match="must be at least"):
            get_method(text)
