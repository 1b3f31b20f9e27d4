"""`inspect`: inputs and outputs, layers, the default layer, and unsupported operators."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

from adcc_onnx.cli.command_group import main
from adcc_onnx.graph.programs.inspection import inspect

BLOCKED = """own = unknown.Blend (active) late = Conv <pads = [1, 1, 1, 1]> (own, second)
  mean = GlobalAveragePool (late) flat = Flatten (mean)
  scores = Gemm <transB = 1> (flat, weights)"""
DIAGONAL = """four = Constant <value = int64[3] {-1, 4, 4}> ()
  cut = AveragePool <kernel_shape = [5, 5]> (active) mean = ReduceMean <keepdims = 0> (cut, first)
  squares = Reshape (mean, four) bent = Einsum <equation = "bii->bi"> (squares)
  scores = Gemm <transB = 1> (bent, weights)"""


def test_a_small_classifier() -> None:
    found = inspect(small("softmax"))
    assert found["image"] == {"name": "image", "layout": "NCHW", "size": [8, 8]}
    assert found["scores"] == {
        "output": "scores",
        "kind": "probabilities",
        "logits": "logits",
        "classes": 5,
    }
    assert found["inputs"] == [{"name": "image", "type": "float", "shape": ["batch", 3, 8, 8]}]
    names = [layer["name"] for layer in found["layers"]]
    assert names == ["image", "features", "active"]
    active = found["layers"][-1]
    assert (active["kind"], active["layout"]) == ("feature_map", "NCHW")
    assert (active["channels"], active["grid"], active["differentiable"]) == (4, [8, 8], True)
    assert found["default"]["name"] == "active"
    assert found["unsupported_operators"] == []
    json.dumps(found)


def test_layers_before_an_operator_without_a_rule_are_marked() -> None:
    model = small(BLOCKED)
    model.graph.initializer.append(
        onnx.helper.make_tensor("second", onnx.TensorProto.FLOAT, [4, 4, 3, 3], [0.1] * 144)
    )
    # The output shape of a custom operator is known from the file only.
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("own", onnx.TensorProto.FLOAT, ["batch", 4, 8, 8])
    )
    found = inspect(model, scores_output="scores")
    marked = {layer["name"]: layer["differentiable"] for layer in found["layers"]}
    assert (marked["active"], marked["late"]) == (False, True)
    assert found["unsupported_operators"] == [
        {"node": "own", "operator": "unknown.Blend", "reason": "it has no gradient rule"}
    ]


def test_a_node_that_its_rule_rejects_is_unsupported() -> None:
    model = small(DIAGONAL)
    model.graph.initializer.append(
        onnx.helper.make_tensor("first", onnx.TensorProto.INT64, [1], [1])
    )
    found = inspect(model)
    assert [o["operator"] for o in found["unsupported_operators"]] == ["Einsum"]
    assert "diagonal" in found["unsupported_operators"][0]["reason"]


@pytest.mark.parametrize("kind", ["text", "json"])
def test_the_command(kind: str, tmp_path: Path) -> None:
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    words = ["inspect", str(tmp_path / "net.onnx"), *(["--json"] if kind == "json" else [])]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.stderr
    if kind == "json":
        assert json.loads(result.stdout) == inspect(tmp_path / "net.onnx")
    else:
        assert "scores: scores, probabilities of 5 classes; logits: logits" in result.stdout
        (default,) = [line for line in result.stdout.splitlines() if line.startswith("*  ")]
        assert default.split()[1:] == ["feature_map", "NCHW", "4", "8", "x", "8", "yes", "active"]
