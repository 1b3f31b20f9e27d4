"""Names, kinds and grids of layers, and the default layer of each family of models."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.shared_models import shared_model
from helpers.small_models import small
from onnx import numpy_helper

from adcc_onnx.errors import LayerShapeError, UnknownLayerError
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.image_classifier import Classifier, read_classifier
from adcc_onnx.graph.classifier.layer_lookup import find_value, module_paths
from adcc_onnx.graph.classifier.layers import read_layer
from adcc_onnx.graph.passes.prepare import prepare

# The kind, layout, channels, grid and prefix tokens of each default layer.
SHARED = {
    "mobilenet_v2": ("feature_map", "NCHW", 1280, (7, 7), 0),
    "bvlc_googlenet": ("feature_map", "NCHW", 1024, (7, 7), 0),
    "mobilenet_v2_tf2": ("feature_map", "NCHW", 1280, (7, 7), 0),
    "mobilenet_v1_025_keras": ("feature_map", "NCHW", 256, (7, 7), 0),
    "squeezenet1.1_mxnet": ("feature_map", "NCHW", 512, (13, 13), 0),
    "SqueezeNet_fp16": ("feature_map", "NCHW", 512, (13, 13), 0),
    "deit_tiny_patch16_224": ("tokens", "NTC", 192, (14, 14), 1),
}
TOKENS = """
<ir_version: 8, opset_import: ["" : 18]>
vit (float[batch,3,12,16] image) => (float[batch,5] scores) {
  flat = Constant <value = int64[3] {0, 6, -1}> ()
  first = Constant <value = int64 {0}> ()
  patches = Conv <strides = [4, 4]> (image, patch)
  columns = Reshape (patches, flat)
  rows = Transpose <perm = [0, 2, 1]> (columns)
  one = Shape <end = 1> (rows)
  rest = Constant <value = int64[2] {2, 6}> ()
  many = Concat <axis = 0> (one, rest)
  prefix = Expand (extra, many)
  tokens = Concat <axis = 1> (prefix, rows)
  active = Tanh (tokens)
  chosen = Gather <axis = 1> (active, first)
  scores = MatMul (chosen, head)
}
"""


def add_weights(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, name))


def classifier(model: onnx.ModelProto) -> Classifier:
    return read_classifier(prepare(ir.from_proto(model)))


def exported(network: Any, size: int, dynamo: bool = False) -> onnx.ModelProto:
    import torch
    from helpers.architectures import export

    return export(network.eval(), torch.zeros(2, 3, size, size), dynamo)


@pytest.mark.parametrize("name", SHARED)
def test_default_layer_of_the_shared_models(name: str, data: Path) -> None:
    found = default_layer(shared_model(data, name).classifier)
    kind, layout, channels, grid, prefix = SHARED[name]
    assert (found.kind, found.layout, found.channels) == (kind, layout, channels)
    assert (found.grid, found.prefix_tokens) == (grid, prefix)


def test_default_layer_without_global_pooling(torchvision: ModuleType) -> None:
    layer = default_layer(classifier(exported(torchvision.models.alexnet(), 224)))
    assert (layer.channels, layer.grid) == (256, (6, 6))


def test_default_layer_is_never_a_map_whose_channels_are_the_classes() -> None:
    """If class maps are pooled, the default is the input of the convolution that makes them."""
    model = small(
        "maps = Conv (active, class_kernel) mean = GlobalAveragePool (maps) scores = Flatten (mean)"
    )
    add_weights(model, "class_kernel", (5, 4, 1, 1))
    assert default_layer(classifier(model)).name == "active"


def test_token_layers_have_the_patch_grid_without_prefix_tokens() -> None:
    model = onnx.parser.parse_model(TOKENS)
    for name, shape in {"patch": (6, 3, 4, 4), "extra": (1, 2, 6), "head": (6, 5)}.items():
        add_weights(model, name, shape)
    layer = read_layer(classifier(model), "active")
    assert (layer.kind, layer.prefix_tokens, layer.grid, layer.channels) == ("tokens", 2, (3, 4), 6)


@pytest.mark.parametrize("dynamo", [False, True])
def test_module_paths_of_both_torch_exporters(dynamo: bool, torchvision: ModuleType) -> None:
    found = classifier(exported(torchvision.models.resnet18(), 64, dynamo))
    for path, grid in (("layer4", (2, 2)), ("layer2.1", (8, 8)), ("layer3.0", (4, 4))):
        layer = read_layer(found, path)
        assert (layer.name, layer.grid) == (path, grid)
    assert find_value(found.model, "layer4") is default_layer(found).value


def test_malformed_metadata_gives_no_module_paths() -> None:
    for recorded in ("__import__('os')", "[1, 2", "[[], 3]"):
        node = ir.node("Relu", [None], metadata_props={"pkg.torch.onnx.name_scopes": recorded})
        assert list(module_paths(node)) == []


def test_a_layer_that_is_no_map_is_an_error() -> None:
    with pytest.raises(LayerShapeError, match="layer 'flat' has shape"):
        read_layer(classifier(small()), "flat")
    with pytest.raises(UnknownLayerError, match="did you mean 'features'"):
        read_layer(classifier(small()), "feature")


def test_shapes_that_depend_on_the_batch_are_resolved(data: Path) -> None:
    """The sizes of the transformer's reshapes are computed from its batch; they become constant."""
    found = shared_model(data, "deit_tiny_patch16_224").classifier
    reshapes = [node for node in found.model.graph if node.op_type == "Reshape"]
    assert all(node.inputs[1].const_value is not None for node in reshapes)
    norms = [node for node in found.model.graph if node.op_type == "LayerNormalization"]
    assert {dims_of(node.outputs[0]) for node in norms} == {("batch", 197, 192)}
