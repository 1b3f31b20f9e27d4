"""The default layer of every kind of head and attention, and when it is called a guess."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.small_models import small
from onnx import numpy_helper

from adcc_onnx.graph.classifier.default_layer import DefaultLayer, choose_default
from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.inspection import inspect

# 12 patches of 6 channels behind 2 prefix tokens.
_EMBEDDING = """
  flat = Constant <value = int64[3] {0, 6, -1}> ()
  zero = Constant <value = int64 {0}> ()
  patches = Conv <strides = [4, 4]> (image, patch)
  columns = Reshape (patches, flat)
  rows = Transpose <perm = [0, 2, 1]> (columns)
  one = Shape <end = 1> (rows)
  two_of_six = Constant <value = int64[2] {2, 6}> ()
  many = Concat <axis = 0> (one, two_of_six)
  prefix = Expand (extra, many)
  tokens = Concat <axis = 1> (prefix, rows)
"""
_ATTENTION = """
  normed = LayerNormalization (tokens, scale)
  queries = MatMul (normed, query_weight)
  keys = MatMul (normed, key_weight)
  values = MatMul (normed, value_weight)
  turned = Transpose <perm = [0, 2, 1]> (keys)
  products = MatMul (queries, turned)
  weights = Softmax <axis = -1> (products)
  {guard}
  mixed = MatMul (guarded, values)
  block = Add (mixed, tokens)
"""
_GUARDS = {
    "none": "guarded = Identity (weights)",
    "cast": "guarded = Cast <to = 1> (weights)",
    "nan": """is_nan = IsNaN (weights) nothing = Constant <value = float {0}> ()
  guarded = Where (is_nan, nothing, weights)""",
}
_POOLING = {
    "class token": "pooled = Gather <axis = 1> (block, zero)",
    "all tokens": "pooled = ReduceMean <axes = [1], keepdims = 0> (block)",
    "patch tokens": """
  two = Constant <value = int64[1] {2}> () end = Constant <value = int64[1] {99}> ()
  axis = Constant <value = int64[1] {1}> ()
  without = Slice (block, two, end, axis)
  pooled = ReduceMean <axes = [1], keepdims = 0> (without)""",
    "learned queries": """
  pool_keys = MatMul (block, key_weight)
  pool_values = MatMul (block, value_weight)
  pool_turned = Transpose <perm = [0, 2, 1]> (pool_keys)
  pool_products = MatMul (probe, pool_turned)
  pool_weights = Softmax <axis = -1> (pool_products)
  summed = MatMul (pool_weights, pool_values)
  pooled = Gather <axis = 1> (summed, zero)""",
}
_WEIGHTS = {
    "patch": (6, 3, 4, 4), "extra": (1, 2, 6), "head": (6, 5), "scale": (6,), "probe": (1, 1, 6),
    "query_weight": (6, 6), "key_weight": (6, 6), "value_weight": (6, 6),
    "groups": (2,), "kernel": (6, 6, 3, 3), "wide_head": (12, 5), "pixel_weight": (576, 6),
}  # fmt: skip


def choose(body: str) -> DefaultLayer:
    """The default layer of a network whose `pooled` [batch, channels] a linear head takes."""
    head = "wide_head" if "joined" in body else "head"
    model = onnx.parser.parse_model(f"""
<ir_version: 8, opset_import: ["" : 17]>
network (float[batch,3,12,16] image) => (float[batch,5] scores) {{
  {body}
  scores = MatMul (pooled, {head})
}}""")
    rng = np.random.default_rng(0)
    for name in {value for node in model.graph.node for value in node.input} & _WEIGHTS.keys():
        values = rng.standard_normal(_WEIGHTS[name]).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return choose_default(read_classifier(prepare(ir.from_proto(model))))


@pytest.mark.parametrize("guard", _GUARDS)
@pytest.mark.parametrize("pooling", _POOLING)
def test_tokens_that_enter_the_last_attention(guard: str, pooling: str) -> None:
    body = _EMBEDDING + _ATTENTION.format(guard=_GUARDS[guard]) + _POOLING[pooling]
    found = choose(body)
    assert (found.layer.name, found.guess) == ("normed", False)
    assert (found.layer.grid, found.layer.prefix_tokens) == ((3, 4), 2)


def test_an_attention_with_learned_queries_counts_if_there_is_no_other() -> None:
    body = f"{_EMBEDDING} block = Tanh (tokens) {_POOLING['learned queries']}"
    assert choose(body).layer.name == "block"


def test_linear_attention_normalizes_the_keys() -> None:
    linear = """
  normed = LayerNormalization (tokens, scale)
  queries = MatMul (normed, query_weight)
  keys = MatMul (normed, key_weight)
  values = MatMul (normed, value_weight)
  weights = Softmax <axis = 1> (keys)
  turned = Transpose <perm = [0, 2, 1]> (weights)
  context = MatMul (turned, values)
  mixed = MatMul (queries, context)
  block = Add (mixed, tokens)
"""
    found = choose(_EMBEDDING + linear + _POOLING["class token"])
    assert (found.layer.name, found.guess) == ("normed", False)


def test_group_normalization_before_pooling() -> None:
    found = choose("""
  maps = Conv <strides = [4, 4]> (image, patch)
  rows = Constant <value = int64[3] {0, 2, -1}> ()
  grouped = Reshape (maps, rows)
  level = InstanceNormalization (grouped, groups, groups)
  own_shape = Shape (maps)
  separate = Reshape (level, own_shape)
  active = Relu (separate)
  mean = GlobalAveragePool (active)
  pooled = Flatten (mean)""")
    assert (found.layer.name, found.layer.grid, found.guess) == ("active", (3, 4), False)


def test_branches_that_are_pooled_one_by_one_are_a_guess() -> None:
    found = choose("""
  fine = Conv <strides = [4, 4]> (image, patch)
  left = Relu (fine)
  right = Conv <pads = [0, 0, 0, 0]> (fine, kernel)
  left_mean = GlobalAveragePool (left)
  right_mean = GlobalAveragePool (right)
  joined = Concat <axis = 1> (left_mean, right_mean)
  pooled = Flatten (joined)""")
    assert found.guess
    assert "2 branches" in found.reason
    assert "--layer" in found.reason


def test_tokens_of_which_only_the_class_token_is_taken_are_a_guess() -> None:
    """No attention is found: the patch tokens there have no influence on the scores."""
    found = choose(f"{_EMBEDDING} block = Tanh (tokens) {_POOLING['class token']}")
    assert found.guess
    assert "class token" in found.reason


def test_class_tokens_of_several_branches_are_no_map() -> None:
    """A convolution joins the class tokens; what it gives is no sequence of positions."""
    found = choose(
        _EMBEDDING
        + _ATTENTION.format(guard=_GUARDS["none"])
        + """
  first = Gather <axis = 1> (block, zero)
  second = Gather <axis = 1> (tokens, zero)
  axis = Constant <value = int64[1] {1}> ()
  one_first = Unsqueeze (first, axis)
  one_second = Unsqueeze (second, axis)
  both = Concat <axis = 1> (one_first, one_second)
  joining = Constant <value = float[1,2,1] {0.5, 0.5}> ()
  single = Conv (both, joining)
  pooled = Squeeze (single, axis)"""
    )
    assert found.layer.name == "normed"


def test_a_perceptron_on_pixels_is_explained_at_the_image() -> None:
    found = choose("""
  pixels = Flatten (image)
  hidden = MatMul (pixels, pixel_weight)
  pooled = Relu (hidden)""")
    assert (found.layer.name, found.layer.grid, found.guess) == ("input", (12, 16), True)
    assert "no feature map" in found.reason


def test_as_many_channels_as_classes_are_class_maps_only_if_nothing_mixes_them() -> None:
    """Eight emotions behind eight feature maps, and SqueezeNet's maps of its classes."""
    mixed = small("flat = Flatten (pooled) scores = Gemm <transB = 1> (flat, weights)")
    maps = small("scores = Flatten (pooled)")
    for model in (mixed, maps):
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
        weights = np.ones((4, 4), np.float32)
        model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights, "weights"))
    assert (
        inspect(mixed)["default"]["reason"] == "the last feature map before pooling or flattening"
    )
    del maps.graph.initializer[1]
    assert "whose channels are the classes" in inspect(maps)["default"]["reason"]
