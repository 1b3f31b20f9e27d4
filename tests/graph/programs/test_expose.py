"""The contract of `expose`: outputs and their order, target, precision, and no unused nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.selected import slow_except
from helpers.small_models import small
from onnx import numpy_helper

from adcc_onnx.errors import NoGradientPathError, OptionError, UnknownLayerError
from adcc_onnx.graph.loading.saving import save
from adcc_onnx.graph.programs.expose import expose

onnxruntime.set_default_logger_severity(3)

IMAGES = np.random.default_rng(3).standard_normal((3, 3, 8, 8)).astype(np.float32)
MODELS = {
    "mobilenet_v2": "/features/features.18/features.18.1/Clip_output_0",
    "bvlc_googlenet": "inception_5b/output",
    "mobilenet_v2_tf2": None,
    "mobilenet_v1_025_keras": "mobilenet_0.25_224/conv_pw_13_relu/Relu6:0",
    "squeezenet1.1_mxnet": "squeezenet0_dropout0_fwd",
    "SqueezeNet_fp16": "fire9/concat_2",
    "deit_tiny_patch16_224": "/blocks/blocks.11/norm1/LayerNormalization_output_0",
}
DEFAULT = ("mobilenet_v2", "SqueezeNet_fp16", "squeezenet1.1_mxnet")


def run(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], optimize: bool = True
) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def closed_form(model: onnx.ModelProto, targets: np.ndarray, pixels: int) -> np.ndarray:
    """The gradient before global average pooling and a linear layer: w[target] / (h w)."""
    return weights_of(model)["weights"][targets] / pixels


def test_outputs_and_their_order() -> None:
    exposed = expose(small("softmax"), ["active", "features"])
    onnx.checker.check_model(exposed, full_check=True)
    assert [value.name for value in exposed.graph.input] == ["image", "target"]
    assert [value.name for value in exposed.graph.output] == [
        "scores",
        "active.activation",
        "active.gradient",
        "features.activation",
        "features.gradient",
    ]
    assert {opset.domain for opset in exposed.opset_import} == {""}
    assert exposed.graph.input[1].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_gradient_is_of_each_samples_own_target() -> None:
    model, targets = small("softmax"), np.array([4, 0, 2])
    outputs = run(expose(model, ["active"]), {"image": IMAGES, "target": targets})
    wanted = closed_form(model, targets, 64)[:, :, None, None]
    np.testing.assert_allclose(
        outputs["active.gradient"], np.broadcast_to(wanted, (3, 4, 8, 8)), rtol=1e-6
    )


def test_minus_one_is_the_predicted_class() -> None:
    exposed = expose(small(), ["active"])
    predicted = run(exposed, {"image": IMAGES, "target": np.array([-1, -1, -1])})
    chosen = predicted["scores"].argmax(axis=1)
    named = run(exposed, {"image": IMAGES, "target": chosen})
    np.testing.assert_array_equal(predicted["active.gradient"], named["active.gradient"])


@pytest.mark.parametrize("head", ["logits", "softmax"])
def test_probabilities_are_differentiated_through_the_softmax(head: str) -> None:
    model, targets = small(head), np.array([1, 3, 3])
    feeds = {"image": IMAGES, "target": targets}
    outputs = run(expose(model, ["active"], scores="probabilities"), feeds)
    weights = weights_of(model)["weights"].astype(np.float64)
    logits = run(small("logits"), {"image": IMAGES})["scores"].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = p[np.arange(3), targets][:, None]
    wanted = chosen * (weights[targets] - p @ weights) / 64
    np.testing.assert_allclose(outputs["active.gradient"][:, :, 0, 0], wanted, rtol=1e-4, atol=1e-7)


def test_half_precision_models_have_float32_gradients() -> None:
    model, targets = small("logits", kind="float16"), np.array([0, 1, 2])
    outputs = run(
        expose(model, ["active"]), {"image": IMAGES.astype(np.float16), "target": targets}
    )
    assert outputs["active.activation"].dtype == np.float16
    assert outputs["active.gradient"].dtype == np.float32
    wanted = closed_form(model, targets, 64).astype(np.float32)
    np.testing.assert_allclose(outputs["active.gradient"][:, :, 0, 0], wanted, rtol=1e-6)


def test_no_unused_nodes_and_no_duplicate_weights() -> None:
    exposed = expose(small("softmax"), ["features"])
    used = {name for node in exposed.graph.node for name in node.input}
    needed = used | {value.name for value in exposed.graph.output}
    assert all(set(node.output) & needed for node in exposed.graph.node)
    contents = [
        (t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes())
        for t in exposed.graph.initializer
    ]
    assert len(contents) == len(set(contents))
    assert {t.name for t in exposed.graph.initializer} <= used


def test_a_saved_model_is_the_same(tmp_path: Path) -> None:
    exposed = expose(small(), ["active"])
    save(exposed, tmp_path / "out.onnx")
    feeds = {"image": IMAGES, "target": np.array([1, 2, 3])}
    again = run(onnx.load(tmp_path / "out.onnx"), feeds)
    for name, value in run(exposed, feeds).items():
        np.testing.assert_array_equal(again[name], value)


def test_wrong_arguments_are_errors_that_name_them() -> None:
    with pytest.raises(UnknownLayerError, match="did you mean 'active'"):
        expose(small(), ["activ"])
    with pytest.raises(OptionError, match="log-probabilities or rest, not 'odds'"):
        expose(small(), scores="odds")
    with pytest.raises(NoGradientPathError, match="do not depend on 'aside'"):
        expose(
            small(
                "aside = Relu (image) flat = Flatten (pooled) "
                "scores = Gemm <transB = 1> (flat, weights)"
            ),
            ["aside"],
        )


@pytest.mark.parametrize("name", slow_except(DEFAULT, MODELS))
def test_shared_models_keep_their_outputs_and_find_their_layer(name: str, data: Path) -> None:
    path = data / "models" / f"{name}.onnx"
    original, exposed = onnx.load(path), expose(path)
    onnx.checker.check_model(exposed, full_check=True)
    own = original.graph.output[0].name
    layer = exposed.graph.output[1].name.removesuffix(".activation")
    assert MODELS[name] in (None, layer)
    image = next(v for v in original.graph.input if v.name == exposed.graph.input[0].name)
    kind = onnx.helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type)
    shape = [d.dim_value or 2 for d in image.type.tensor_type.shape.dim]
    images = np.random.default_rng(0).standard_normal(shape).astype(kind)
    feeds = {image.name: images}
    targets = {"target": np.full(shape[0], -1)}
    for optimize, bar in ((False, 0.0), (True, 1e-5)):
        plain = run(original, feeds, optimize)[own].astype(np.float64)
        kept = run(exposed, feeds | targets, optimize)[own].astype(np.float64)
        # CPUs emulate float16, and where onnxruntime rounds depends on which values are outputs.
        atol = 2**-10 if kind == np.float16 else bar * np.abs(plain).max()
        np.testing.assert_allclose(kept, plain, rtol=0, atol=atol)
