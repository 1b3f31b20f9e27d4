"""The architectures of the built-in classifiers: images [N, 3, 112, 112] to logits [N, 10].

Their sizes are chosen so that training takes about 15 minutes on two CPU cores and the ONNX file
has less than 2 MB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.outlines import CLASSES

_STEM = (16, 32, 64)  # channels of the first convolutions, each of stride 2
_BLOCKS = 2  # residual blocks
_GRID, _CHANNELS, _HEADS, _DEPTH, _EXPANSION = 7, 96, 3, 3, 2
_TOKENS = 1 + _GRID**2  # the class token, and one per patch


def convolution(inputs: int, outputs: int, stride: int = 1) -> Any:
    """Build a 3 x 3 convolution followed by batch normalization.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride in pixels.

    Returns:
        The two layers as one module.
    """
    kernel = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Residual block of two convolutions: relu(x + second(relu(first(x)))).

    Args:
        first: The first convolution, with its normalization if it has one.
        second: The second one.
    """

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Any) -> Any:
        """Apply the block to a feature map, [N, C, H, W]."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def convolutional_network() -> Any:
    """Build the convolutional network.

    Returns:
        The module with random weights; its last feature map is 64 x 14 x 14.
    """
    layers: list[Any] = []
    for inputs, outputs in zip((3, *_STEM), _STEM, strict=False):
        layers += [convolution(inputs, outputs, stride=2), nn.ReLU()]
    width = _STEM[-1]
    for _ in range(_BLOCKS):
        layers.append(ResidualBlock(convolution(width, width), convolution(width, width)))
    head = nn.Linear(width, len(CLASSES))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def trained_body() -> Any:
    """Build the convolutional network up to its last feature map, with its trained weights.

    Returns:
        The module, [N, 3, 112, 112] to [N, 64, 14, 14]. Batch normalization is folded into the
        weights of the built-in classifier, from which they are read.
    """
    graph = onnx.load(classifier_path("cnn")).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions: list[Any] = []
    for node in (node for node in graph.node if node.op_type == "Conv"):
        weight, bias = (torch.from_numpy(np.array(values[name])) for name in node.input[1:])
        stride = 2 if len(convolutions) < len(_STEM) else 1
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, padding=1)
        layer.weight.data, layer.bias.data = weight, bias
        convolutions.append(layer)
    stem, blocks = convolutions[: len(_STEM)], convolutions[len(_STEM) :]
    layers = [layer for one in stem for layer in (one, nn.ReLU())]
    layers += [ResidualBlock(*blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    return nn.Sequential(*layers)


class Attention(nn.Module):
    """Multi-head self-attention, written with an explicit softmax, as most exporters do.

    Args:
        channels: Number of channels of a token.
        heads: Number of heads; divides `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, channels // heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: Any) -> Any:
        """Apply the attention to tokens, [N, T, C]."""
        parts = self.qkv(x).reshape(-1, _TOKENS, 3, self.heads, self.width)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((queries * self.width**-0.5) @ keys.transpose(2, 3)).softmax(dim=-1)
        joined = (weights @ values).transpose(1, 2).reshape(-1, _TOKENS, self.heads * self.width)
        return self.projection(joined)


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: attention, then a perceptron, each with a residual connection.

    Args:
        channels: Number of channels of a token.
        heads: Number of attention heads.
        expansion: Ratio of the perceptron's hidden units to the channels.
    """

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(channels), Attention(channels, heads)
        self.norm2, hidden = nn.LayerNorm(channels), expansion * channels
        self.perceptron = nn.Sequential(
            nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels)
        )

    def forward(self, x: Any) -> Any:
        """Apply the block to tokens, [N, T, C]."""
        x = x + self.attention(self.norm1(x))
        return x + self.perceptron(self.norm2(x))


class VisionTransformer(nn.Module):
    """Hybrid vision transformer: a convolutional body, a class token, and transformer blocks.

    Hybrids learn from far fewer images than transformers on patches of pixels (Dosovitskiy et al.,
    An Image is Worth 16x16 Words, ICLR 2021, section 3.1). The body is that of the built-in
    convolutional network and stays as it is; all else is trained.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = trained_body().requires_grad_(False)
        self.patches = nn.Conv2d(_STEM[-1], _CHANNELS, 2, 2)
        self.class_token = nn.Parameter(torch.zeros(1, 1, _CHANNELS))
        self.positions = nn.Parameter(torch.randn(1, _TOKENS, _CHANNELS) * 0.02)
        blocks = (TransformerBlock(_CHANNELS, _HEADS, _EXPANSION) for _ in range(_DEPTH))
        self.blocks, self.norm = nn.Sequential(*blocks), nn.LayerNorm(_CHANNELS)
        self.head = nn.Linear(_CHANNELS, len(CLASSES))

    def forward(self, x: Any) -> Any:
        """Compute the logits, [N, classes], of images, [N, 3, 112, 112]."""
        patches = self.patches(self.body(x)).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], dim=1)
        return self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])
