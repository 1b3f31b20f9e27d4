"""The networks of published scores: their weights, and the layers that were explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# Layers that are found by the structure of the graph, whatever its names are.
BEFORE_POOLING = "before pooling"
LAST_ACTIVATION = "last activation"
LAST_CONVOLUTION = "last convolution"
FIRST_ACTIVATION = "first activation"  # of the last residual block
_TORCH_FILES = "https://download.pytorch.org/models/"


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of published scores.

    Attributes:
        name: The name in `scores.csv`.
        export: The network for `adcc_onnx.export`; None if its weights were not published.
        weights: The weights as the framework names them.
        address: The address of the file with the weights; empty if the framework knows it alone.
        layers: The explained layers as `scores.csv` names them, each mapped to a rule of this
            module or to a module path.
        normalized: Whether batch normalization follows the convolutions in the original network.
    """

    name: str
    export: str | None
    weights: str
    address: str
    layers: Mapping[str, str]
    normalized: bool = True


def _torchvision(
    name: str, model: str, file: str, usual: str = BEFORE_POOLING, normalized: bool = True
) -> PublishedNetwork:
    layers = {
        "": usual,
        BEFORE_POOLING: BEFORE_POOLING,
        LAST_CONVOLUTION: LAST_CONVOLUTION,
        FIRST_ACTIVATION: FIRST_ACTIVATION,
    }
    address = f"{_TORCH_FILES}{file}"
    return PublishedNetwork(
        name, f"torchvision:{model}", "IMAGENET1K_V1", address, layers, normalized
    )


def _timm(name: str, model: str, layers: Mapping[str, str]) -> PublishedNetwork:
    return PublishedNetwork(name, f"timm:{model}", "timm's pretrained weights", "", layers, False)


# The scripts of the logs name the first normalization of the last block "last conv", and the
# normalization before pooling "before avgpool".
_SWIN = {"": "layers.3.blocks.1.norm1", BEFORE_POOLING: "norm"}
_SWIN[LAST_CONVOLUTION] = _SWIN[""]
_VIT = dict.fromkeys(("", BEFORE_POOLING, LAST_CONVOLUTION), BEFORE_POOLING)
_NETWORKS = (
    _torchvision("resnet18", "resnet18", "resnet18-f37072fd.pth"),
    _torchvision("resnet50", "resnet50", "resnet50-0676ba61.pth"),
    _torchvision("resnet101", "resnet101", "resnet101-63fe2227.pth"),
    _torchvision("resnet152", "resnet152", "resnet152-394f9c45.pth"),
    _torchvision("resnext50", "resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth"),
    _torchvision("resnext101", "resnext101_32x8d", "resnext101_32x8d-8ba56ff5.pth"),
    _torchvision("vgg16", "vgg16", "vgg16-397923af.pth", LAST_ACTIVATION, normalized=False),
    _torchvision("mobilenetv2", "mobilenet_v2", "mobilenet_v2-b0353104.pth"),
    _torchvision("efficientnetb0", "efficientnet_b0", "efficientnet_b0_rwightman-7f5810bc.pth"),
    _timm("swint_t", "swin_tiny_patch4_window7_224", _SWIN),
    _timm("swint_s", "swin_small_patch4_window7_224", _SWIN),
    _timm("swint_b", "swin_base_patch4_window7_224", _SWIN),
    _timm("swint_l", "swin_large_patch4_window7_224", _SWIN),
    _timm("vit", "deit_base_patch16_224", _VIT),
    _timm("deit_base", "deit_base_patch16_224", _VIT),
    _timm("deit_small", "deit_small_patch16_224", _VIT),
    _timm("deit_tiny", "deit_tiny_patch16_224", _VIT),
    PublishedNetwork("resnet50_cub200", None, "trained by the authors", "", {"": BEFORE_POOLING}),
)
NETWORKS: Mapping[str, PublishedNetwork] = MappingProxyType({n.name: n for n in _NETWORKS})

# Methods of the publications whose names here differ; None where adcc-onnx has no such method.
_METHODS: Mapping[str, str | None] = MappingProxyType(
    {
        "RISE": "rise",
        "vit-reciprocam 3x3": "reciprocam",
        "vit-reciprocam": None,  # without the Gaussian
        "randomcam": None,  # random weights of the channels
        "AISE": None,
        "activation map": None,
    }
)


def method_name(published: str) -> str | None:
    """Return the name of a published method in adcc-onnx; None if it is known to be missing.

    Args:
        published: The name in `scores.csv`.

    Example:
        >>> method_name("gradcam++"), method_name("RISE"), method_name("randomcam")
        ('gradcam++', 'rise', None)
    """
    return _METHODS.get(published, published)
