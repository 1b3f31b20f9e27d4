"""What several tests hold maps against: pieces of the papers' formulas, and of other packages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
F = torch.nn.functional


def minmax(values: Array) -> Array:
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low))


def up(masks: Any) -> Any:
    """Masks [M, h, w] at 224 x 224, [M, 1, 224, 224]."""
    return F.interpolate(masks[:, None], (224, 224), mode="bilinear", align_corners=False)


def normalized(activations: Any) -> Any:
    """Each channel [K, h, w] in [0, 1]; zeros where it is constant."""
    low, high = activations.amin((1, 2), keepdim=True), activations.amax((1, 2), keepdim=True)
    return torch.where(high > low, (activations - low) / (high - low), 0.0)


def weighted(activations: Any, weights: Any) -> Array:
    """ReLU(sum_k w_k A_k) in [0, 1], for A [K, h, w]."""
    return minmax(F.relu(torch.tensordot(weights.to(activations.dtype), activations, 1)).numpy())


def plus_plus(activations: Array, first: Array, second: Array, third: Array) -> Array:
    """Grad-CAM++ written out for one image, [K, h, w] each."""
    total = np.zeros(activations.shape[1:])
    for a, g1, g2, g3 in zip(activations, first, second, third, strict=True):
        bottom = 2 * g2 + a.sum() * g3
        alpha = np.divide(g2, bottom, out=np.zeros_like(g2), where=bottom != 0)
        total += (alpha * np.maximum(g1, 0)).sum() * a
    return minmax(np.maximum(total, 0))


def pytorch_grad_cam(name: str, network: Any, layer: Any, a: Array, g: Array) -> Array:
    """The map of a method of pytorch-grad-cam from A and g, [N, K, h, w] each."""
    package = pytest.importorskip("pytorch_grad_cam")
    with getattr(package, name)(model=network, target_layers=[layer]) as cam:
        raw = cam.get_cam_image(torch.zeros(1), layer, None, a, g, False)
    return np.stack([minmax(one) for one in np.maximum(raw, 0.0)])


def first_component(values: Array) -> Array:
    """pytorch-grad-cam's projection on the first component, with our sign, [N, K, h, w]."""
    package = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations")
    pairs = zip(package.get_2d_projection(values), values.sum(axis=1), strict=True)
    return np.stack(
        [minmax(p * np.sign(np.corrcoef(p.ravel(), s.ravel())[0, 1])) for p, s in pairs]
    )
