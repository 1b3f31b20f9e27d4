"""Attributes and divisors that no operator allows are refused before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from onnx import helper, numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import ModelError
from adcc_onnx.graph.loading import attribute_limits

# Operator, its further inputs, possible attributes, and the one that is made impossible.
NODES: dict[str, tuple[str, list[str], dict[str, Any], list[str]]] = {
    "Conv": (
        "",
        ["kernel"],
        {"group": 1, "strides": [1, 1], "dilations": [1, 1], "kernel_shape": [3, 3]},
        [],
    ),
    "ConvTranspose": (
        "",
        ["kernel"],
        {"group": 1, "strides": [1, 1], "dilations": [1, 1], "kernel_shape": [3, 3]},
        [],
    ),
    "MaxPool": ("", [], {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [1, 1]}, []),
    "AveragePool": ("", [], {"kernel_shape": [2, 2], "strides": [1, 1]}, []),
    "LpPool": ("", [], {"kernel_shape": [2, 2], "strides": [1, 1]}, []),
    "SpaceToDepth": ("", [], {"blocksize": 2}, []),
    "DepthToSpace": ("", [], {"blocksize": 1}, []),
    "LRN": ("", [], {"size": 3}, []),
    "GroupNormalization": ("", ["row", "row"], {"num_groups": 1}, []),
    "LSTM": ("", ["row", "row"], {"hidden_size": 2}, []),
    "Split": ("", [], {"num_outputs": 2}, []),
    "MultiHeadAttention": ("com.microsoft", ["row", "row"], {"num_heads": 2}, []),
    "GroupQueryAttention": (
        "com.microsoft",
        ["row", "row", "row", "row", "row", "row"],
        {"num_heads": 2, "kv_num_heads": 2},
        [],
    ),
}
CASES = [
    (operator, attribute, bad)
    for operator, (_, _, attributes, _) in NODES.items()
    for attribute in attributes
    for bad in (0, -1, -(2**31), -(2**63))
]


@pytest.mark.parametrize(("operator", "attribute", "bad"), CASES)
def test_impossible_attributes_are_refused(operator: str, attribute: str, bad: int) -> None:
    domain, inputs, attributes, _ = NODES[operator]
    possible = attributes[attribute]
    wrong = [1, bad] if isinstance(possible, list) else bad
    model = small()
    node = helper.make_node(
        operator, ["active", *inputs], ["other"], domain=domain, **{**attributes, attribute: wrong}
    )
    model.graph.node.append(node)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "row"))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    with pytest.raises(ModelError, match=f"operator {operator} .*attribute {attribute} is"):
        adcc.load(model, device="cpu")
    with pytest.raises(ModelError, match=f"attribute {attribute} is"):
        adcc.expose(model, ["active"])


def test_every_limited_attribute_is_tested() -> None:
    tested = {attribute for _, attribute, _ in CASES}
    known = attribute_limits._AT_LEAST_ONE
    assert known - tested <= {"block_size", "q_num_heads"}


def divided(operator: str, divisor: str, **attributes: Any) -> onnx.ModelProto:
    """Return the small model with an integer division on the way to its scores."""
    model = small(
        f"""whole = Cast <to = 7> (active) part = {operator} (whole, {divisor})
        real = Cast <to = 1> (part) sum = Add (active, real) pool = GlobalAveragePool (sum)
        flat = Flatten (pool) scores = Gemm <transB = 1> (flat, weights)"""
    )
    values = {"zero": [0], "minus": [-1], "mixed": [3, -1, 2, 5, 7, 0, 1, 9], "three": [3]}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(v, np.int64), n) for n, v in values.items()
    )
    return model


@pytest.mark.parametrize("operator", ["Div", "Mod"])
@pytest.mark.parametrize(
    ("divisor", "reason"),
    [
        ("zero", "it divides integers by 0"),
        ("minus", "it divides integers by -1"),
        ("mixed", "it divides integers by 0"),
        ("whole", "by a number that depends on the image"),
    ],
)
def test_divisions_that_end_the_process_are_refused(
    operator: str, divisor: str, reason: str
) -> None:
    with pytest.raises(ModelError, match=f"cannot be run safely: operator {operator} .*{reason}"):
        adcc.load(divided(operator, divisor), device="cpu")


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_other_integer_divisions_run(operator: str) -> None:
    images = np.ones((1, 3, 8, 8), np.float32)
    model = adcc.load(divided(operator, "three"), device="cpu")
    assert len(adcc.explain(model, images, "gradcam")) == 1
