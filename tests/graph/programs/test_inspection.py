"""`inspect`: inputs and outputs, layers, the default layer, and unsupported operators."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.input_twins import twin
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import AdccWarning
from adcc_onnx.graph.programs.inspection import inspect
from adcc_onnx.report.inspection_report import inspection_to_text

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


def test_the_file_is_described_and_not_the_prepared_graph() -> None:
    head = """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
      scores = Softmax <axis = 1> (logits) unused = Relu (logits)"""
    model = small(head, opset=11)
    model.graph.input.append(onnx.helper.make_tensor_value_info("kernel", 1, [4, 3, 3, 3]))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    found = inspect(model)
    assert (found["opset"], found["domains"], found["nodes"]) == (11, {}, len(model.graph.node))
    # A size of -1 is unknown, and weights are no inputs.
    assert found["inputs"] == [{"name": "image", "type": "float", "shape": [None, 3, 8, 8]}]
    assert found["notes"] == []


def test_map_outputs_are_described_as_in_the_file() -> None:
    head = """flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)
      soft = Softmax <axis = 1> (logits)
      scores = ai.onnx.ml.ZipMap <classlabels_strings = ["a", "b", "c", "d", "e"]> (soft)"""
    model = small(head)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 1))
    kind = onnx.helper.make_map_type_proto(
        onnx.TensorProto.STRING, onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    model.graph.output[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(kind))
    found = inspect(model)
    assert found["outputs"] == [
        {"name": "scores", "type": "sequence(map(string, float))", "shape": None}
    ]
    assert (found["domains"], found["nodes"]) == ({"ai.onnx.ml": 1}, len(model.graph.node))
    assert found["scores"]["output"] == "soft"
    text = inspection_to_text(found)
    assert "opset 18, ai.onnx.ml 1: 7 nodes" in text
    assert "output scores: sequence(map(string, float))" in text


def test_a_path_a_proto_and_a_loaded_model_have_one_description(tmp_path: Path) -> None:
    onnx.save(small("softmax", batch=1, opset=12), tmp_path / "net.onnx")
    found = adcc.inspect(tmp_path / "net.onnx")
    assert found == adcc.inspect(onnx.load(tmp_path / "net.onnx"))
    loaded = adcc.inspect(adcc.load(tmp_path / "net.onnx", device="cpu"))
    shapes = [layer.pop("shape")[1:] for layer in loaded["layers"]]
    assert shapes == [layer.pop("shape")[1:] for layer in found["layers"]]
    assert loaded == found
    assert found["opset"] == 12


MLP = """<ir_version: 8, opset_import: ["" : 17]>
mlp (float[n, 3, 8, 8] image) => (float[n, 5] scores) {
  flat = Flatten (image) scores = MatMul (flat, weights)
}"""


@pytest.mark.parametrize("size", ["8, 8", "h, w"])
def test_a_model_without_a_feature_map_is_described(size: str) -> None:
    model = onnx.parser.parse_model(MLP.replace("8, 8", size))
    weights = np.ones((192, 5), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    found = inspect(model)
    (note,) = found["notes"]
    text = inspection_to_text(found)
    assert f"note: {note}" in text
    if size == "8, 8":
        assert (found["default"]["name"], found["default"]["guess"]) == ("image", True)
        assert "the scores depend on no feature map" in note
    else:
        assert found["default"] is None and "--size HxW" in note
        assert "methods on pixels need no layer" in note and "* default layer" not in text
    json.dumps(found)


def test_warnings_and_choices_become_notes(tmp_path: Path) -> None:
    head = """dropped, mask = Dropout (pooled, ratio, training) flat = Flatten (dropped)
      scores = Gemm <transB = 1> (flat, weights) other = Gemm <transB = 1> (flat, weights)"""
    model = small(head)
    for name, value in (("ratio", np.float32(0.5)), ("training", np.array(True))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    model.graph.output.append(onnx.helper.make_tensor_value_info("other", 1, ["batch", 5]))
    onnx.save(model, tmp_path / "net.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = inspect(tmp_path / "net.onnx")
    assert any("in training mode" in note for note in found["notes"])
    assert any("--scores-output NAME chooses" in note for note in found["notes"])
    result = CliRunner().invoke(main, ["inspect", str(tmp_path / "net.onnx")])
    assert [line for line in result.stdout.splitlines() if line.startswith("note: ")] == [
        f"note: {note}" for note in found["notes"]
    ]
    assert result.stderr == ""
    with pytest.warns(AdccWarning, match="1 operator is in training mode"):
        loaded = adcc.load(tmp_path / "net.onnx", device="cpu")
    assert sorted(adcc.inspect(loaded)["notes"]) == sorted(found["notes"])


def test_flattened_pixels_are_listed_under_the_name_of_the_users_input() -> None:
    model = twin("float[batch,48] x", "pixels = Reshape (x, nchw)")
    found = inspect(model, size=(8, 6))
    assert found["image"]["name"] == found["layers"][0]["name"] == "x"
    assert "adcc" not in json.dumps(found)
    assert "adcc" not in inspection_to_text(found)
    loaded = adcc.load(model, device="cpu", size=(8, 6), layers="x")
    assert (loaded.layers[0].name, loaded.layers[0].grid) == ("x", (8, 6))


@pytest.mark.parametrize("layout", [None, "NHWC"])
def test_a_guessed_layout_is_noted_and_the_card_decides(layout: str | None, tmp_path: Path) -> None:
    text = MLP.replace("3, 8, 8", "4, 4, 4").replace("Flatten (image)", "Flatten (tall)")
    text = text.replace("flat =", "tall = Relu (image) flat =")
    model = onnx.parser.parse_model(text)
    weights = np.ones((64, 5), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    onnx.save(model, tmp_path / "net.onnx")
    if layout is not None:
        (tmp_path / "net.toml").write_text(f'layout = "{layout}"\n')
    found = adcc.inspect(tmp_path / "net.onnx")
    assert found["image"]["layout"] == (layout or "NCHW")
    guessed = [note for note in found["notes"] if "is a guess" in note]
    assert len(guessed) == (layout is None)


def test_the_card_fixes_an_open_size(tmp_path: Path) -> None:
    model = small()
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, tmp_path / "net.onnx")
    assert adcc.inspect(tmp_path / "net.onnx")["default"] is None
    (tmp_path / "net.toml").write_text('size = [8, 8]\nlayer = "features"\n')
    assert adcc.inspect(tmp_path / "net.onnx")["default"]["name"] == "active"
    exposed = adcc.expose(tmp_path / "net.onnx")
    assert exposed.graph.output[-1].name == "features.gradient"


def test_pixels_of_integers_have_no_gradient() -> None:
    text = """wide = Cast <to = 1> (image) features = Conv (wide, kernel) active = Relu (features)
      pooled = GlobalAveragePool (active)"""
    model = small()
    head = onnx.parser.parse_graph(
        f"g (uint8[n, 3, 8, 8] image) => (float[n, 5] scores) {{ {text} flat = Flatten (pooled) "
        "scores = Gemm <transB = 1> (flat, weights) }"
    )
    head.initializer.extend(model.graph.initializer)
    model.graph.CopyFrom(head)
    marked = {layer["name"]: layer["differentiable"] for layer in inspect(model)["layers"]}
    assert (marked["image"], marked["features"], marked["active"]) == (False, True, True)
