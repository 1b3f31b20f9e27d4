"""Operators of ai.onnx.ml on flattened pixels, as scikit-learn models have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import AdccWarning, ModelError

RNG = np.random.default_rng(6)
X = RNG.random((3, 1, 4, 4)).astype(np.float32)
WEIGHTS = RNG.standard_normal((3, 16)).astype(np.float32)
OFFSETS = [0.1, -0.2, 0.3]
LINEAR = {
    "coefficients": WEIGHTS.reshape(-1).tolist(),
    "intercepts": OFFSETS,
    "classlabels_ints": [0, 1, 2],
}
TREE: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [5, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0],
    "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
    "nodes_missing_value_tracks_true": [0, 0, 0], "class_treeids": [0, 0, 0, 0],
    "class_nodeids": [1, 1, 2, 2], "class_ids": [0, 1, 1, 2],
    "class_weights": [0.75, 0.25, 0.4, 0.6],
    "post_transform": "NONE", "classlabels_int64s": [0, 1, 2],
}  # fmt: skip


def pipeline(*steps: tuple[str, dict[str, Any]], zipmap: bool = False) -> onnx.ModelProto:
    """Return steps of ai.onnx.ml one after the other; classifiers give labels, too."""
    nodes, value = [], "x"
    for number, (operator, attributes) in enumerate(steps):
        inputs = [value, "columns"] if operator == "ArrayFeatureExtractor" else [value]
        value = f"value{number}"
        outputs = ["label", value] if operator.endswith("Classifier") else [value]
        nodes.append(helper.make_node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes))
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, None)
    if zipmap:
        names = ["cat", "dog", "owl"]
        nodes.append(
            helper.make_node(
                "ZipMap", [value], ["probabilities"], domain="ai.onnx.ml", classlabels_strings=names
            )
        )
        scores = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        kind = helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.STRING, scores)
        )
        result = helper.make_value_info("probabilities", kind)
    else:
        nodes.append(helper.make_node("Identity", [value], ["probabilities"]))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]), result],
        [numpy_helper.from_array(np.array([[3, 0, 5, 15] * 4], np.int64), "columns")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, output: str, **feeds: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run([output], feeds)[0])


PIPELINES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "softmax": (("LinearClassifier", {**LINEAR, "post_transform": "SOFTMAX"}),),
    "normalized softmax": (
        ("LinearClassifier", {**LINEAR, "post_transform": "SOFTMAX"}),
        ("Normalizer", {"norm": "L1"}),
    ),
    "normalized sigmoids": (
        ("LinearClassifier", {**LINEAR, "post_transform": "LOGISTIC"}),
        ("Normalizer", {"norm": "L1"}),
    ),
    "scaled": (
        ("Scaler", {"offset": X.mean((0, 1)).reshape(-1).tolist(), "scale": [1.5] * 16}),
        ("LinearClassifier", {**LINEAR, "post_transform": "SOFTMAX"}),
    ),
    "normalized pixels": (
        ("Normalizer", {"norm": "L2"}),
        ("LinearClassifier", {**LINEAR, "post_transform": "SOFTMAX"}),
    ),
    "selected pixels": (
        ("ArrayFeatureExtractor", {}),
        ("LinearClassifier", {**LINEAR, "post_transform": "SOFTMAX"}),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_scores_and_gradients(name: str) -> None:
    """The scores equal those of onnxruntime; the gradients equal central differences of them."""
    model = pipeline(*PIPELINES[name])
    rows = X.reshape(3, 16)
    wanted = run(model, "probabilities", x=rows)
    found = adcc.explain(model, X, "saliency", target=1, device="cpu", size=(4, 4))
    np.testing.assert_allclose(found.probabilities, wanted[:, 1], rtol=1e-4)
    exposed = adcc.expose(model, "x", scores="probabilities", size=(4, 4))
    gradient = run(exposed, "x.gradient", x=rows, target=np.array([1, 1, 1]))
    step = np.float32(1e-2)
    for pixel in (0, 5, 15):
        moved = [rows.copy(), rows.copy()]
        moved[0][:, pixel] += step
        moved[1][:, pixel] -= step
        up, down = (run(model, "probabilities", x=one)[:, 1] for one in moved)
        np.testing.assert_allclose(gradient[:, pixel], (up - down) / (2 * step), atol=2e-3)


def test_a_tree_is_explained_without_gradients() -> None:
    model = pipeline(("TreeEnsembleClassifier", TREE), zipmap=True)
    loaded = adcc.load(model, device="cpu", size=(4, 4))
    assert loaded.labels == ("cat", "dog", "owl")
    with pytest.warns(AdccWarning, match="gradcam, saliency .*ai.onnx.ml.TreeEnsembleClassifier"):
        result = adcc.evaluate(loaded, X, ["gradcam", "saliency", "rise(masks=8)"], controls=False)
    assert [one.failed for one in result.methods.values()] == [3, 3, 0]
    found = adcc.explain(loaded, X, "rise(masks=8)")
    leaves = np.where(X[:, 0, 1, 1] <= 0.5, 0.75, 0.6)
    np.testing.assert_allclose(found.probabilities, leaves, rtol=1e-5)
    with pytest.raises(ModelError, match=r"TreeEnsembleClassifier .* cannot be differentiated"):
        adcc.expose(model, "x", size=(4, 4))


def test_a_linear_model_with_one_row_for_two_classes_names_its_operator() -> None:
    one = {
        "coefficients": WEIGHTS[0].tolist(),
        "intercepts": [0.5],
        "classlabels_ints": [0, 1],
        "post_transform": "LOGISTIC",
    }
    model = pipeline(("LinearClassifier", one))
    model.graph.output[1].CopyFrom(
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])
    )
    with pytest.raises(ModelError, match=r"ai\.onnx\.ml\.LinearClassifier"):
        adcc.explain(model, X, "gradcam", device="cpu", size=(4, 4))
    assert adcc.explain(model, X, "rise(masks=8)", device="cpu", size=(4, 4)).maps.shape[0] == 3
