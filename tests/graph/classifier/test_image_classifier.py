"""Reading a graph as a classifier: logits, layout, and the errors of unusable models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
from helpers.small_models import HEADS, small

from adcc_onnx.errors import ModelError, NoClassScoresError, NoImageInputError
from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.classifier.opening import fix_size, open_classifier
from adcc_onnx.graph.passes.prepare import prepare


@pytest.mark.parametrize("head", HEADS)
def test_logits_are_found_before_the_softmax(head: str) -> None:
    kinds = {"log_softmax": "log-probabilities"}
    expected = kinds.get(head, "probabilities" if "soft" in head else "logits")
    model = prepare(ir.from_proto(small(head, batch=1)))
    classifier = read_classifier(model)
    assert classifier.scores_kind == expected
    assert classifier.logits.name == ("logits" if "soft" in head else "scores")
    assert (classifier.classes, classifier.layout, classifier.size) == (5, "NCHW", (8, 8))


@pytest.mark.parametrize("model", [None, 7, b"onnx", ir.from_proto(small())])
def test_a_model_of_another_type_is_a_type_error(model: Any) -> None:
    with pytest.raises(TypeError, match=r"model must be a path or an onnx\.ModelProto, not "):
        open_classifier(model)


def test_a_path_and_a_model_in_memory_are_read_alike(tmp_path: Path) -> None:
    onnx.save(small("softmax"), tmp_path / "net.onnx")
    for model in (small("softmax"), tmp_path / "net.onnx", str(tmp_path / "net.onnx")):
        classifier = open_classifier(model)
        assert (classifier.image.name, classifier.logits.name) == ("image", "logits")


def _with_any_size() -> onnx.ModelProto:
    model = small()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[2].dim_param, dims[3].dim_param = "height", "width"
    return model


def test_the_image_size_is_fixed_once() -> None:
    classifier = open_classifier(_with_any_size())
    assert classifier.size is None
    with pytest.raises(ModelError, match="does not fix the image size; give --size HxW"):
        _ = classifier.fixed_size
    fix_size(classifier, (16, 12))
    assert classifier.size == classifier.fixed_size == (16, 12)
    with pytest.raises(ModelError, match="images of 16 x 12 pixels, not of 8 x 8"):
        fix_size(classifier, (8, 8))


def test_unusable_inputs_and_outputs_are_listed() -> None:
    model = small()
    model.graph.input[0].name = model.graph.node[0].input[0] = "picture"
    model.graph.input.append(onnx.helper.make_tensor_value_info("extra", 1, [1]))
    model.graph.node.append(onnx.helper.make_node("Add", ["extra", "scores"], ["more"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("more", 1, ["batch", 5]))
    with pytest.raises(NoImageInputError, match=r"inputs 'extra' float \[1\]: .*--set extra=0"):
        read_classifier(prepare(ir.from_proto(model)))
    with pytest.raises(NoClassScoresError, match="no output 'score'; did you mean 'scores'"):
        open_classifier(small(), scores_output="score")
