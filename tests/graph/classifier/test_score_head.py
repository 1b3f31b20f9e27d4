"""Every kind of output that published classifiers end in."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from onnx import TensorProto, helper, numpy_helper

import adcc_onnx as adcc
from adcc_onnx.errors import AdccWarning, ModelError, NoClassScoresError
from adcc_onnx.graph.programs.tensor_names import GRADIENTS, IMAGE, LOGITS, TARGET
from adcc_onnx.model import Model
from adcc_onnx.report.text_table import results_to_table
from adcc_onnx.runtime.passes import Pass

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((4, 3, 8, 8)).astype(np.float32)
LOGITS_TEXT = "flat = Flatten (pooled) logits = Gemm <transB = 1> (flat, weights)"


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_head(
    head: str, shape: list[object], classes: int = 5, name: str = "scores"
) -> onnx.ModelProto:
    """Return the small model with another head, whose output has another shape."""
    model = small(head)
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    model.graph.output[0].CopyFrom(output)
    weights = np.random.default_rng(1).standard_normal((classes, 4)).astype(np.float32)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(weights, "weights"))
    return model


def add_output(model: onnx.ModelProto, name: str, shape: list[object]) -> None:
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def loaded(model: onnx.ModelProto, folder: Path, card: str = "", **options: object) -> Model:
    onnx.save(model, folder / "net.onnx")
    (folder / "net.toml").unlink(missing_ok=True)
    if card:
        (folder / "net.toml").write_text(card)
    return adcc.load(folder / "net.onnx", device="cpu", **options)  # type: ignore[arg-type]


def torch_features(model: onnx.ModelProto) -> tuple[object, object]:
    """The layer `active` of the small model in torch in float64, and its logits."""
    weights = {name: torch.from_numpy(array).double() for name, array in weights_of(model).items()}
    images = torch.from_numpy(IMAGES).double()
    active = torch.nn.functional.conv2d(images, weights["kernel"], padding=1).relu()
    active.requires_grad_()
    return active, active.mean((2, 3)) @ weights["weights"].T


# The end of the model, the shape of its output, and its card.
BINARY = {
    "logit_n1": ("scores = Identity (logits)", ["n", 1], ""),
    "logit_n": ("scores = Reshape (logits, flat_shape)", ["n"], ""),
    "sigmoid_n1": ("scores = Sigmoid (logits)", ["n", 1], ""),
    "sigmoid_n": ("p = Sigmoid (logits) scores = Reshape (p, flat_shape)", ["n"], ""),
    "squeezed_sigmoid": ("z = Reshape (logits, flat_shape) scores = Sigmoid (z)", ["n"], ""),
    "sigmoid_n111": (
        "p = Sigmoid (logits) scores = Reshape (p, tall_shape)",
        ["n", 1, 1, 1],
        "",
    ),
    "probability_by_card": (
        "minus = Neg (logits) power = Exp (minus) more = Add (power, unit) "
        "scores = Div (unit, more)",
        ["n", 1],
        'scores = "probabilities"\n',
    ),
}


def binary_model(kind: str) -> onnx.ModelProto:
    end, shape, _ = BINARY[kind]
    model = with_head(f"{LOGITS_TEXT} {end}", shape, classes=1)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    constants = {
        "flat_shape": np.array([-1]),
        "tall_shape": np.array([-1, 1, 1, 1]),
        "unit": np.float32(1),
    }
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in constants.items())
    return model


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.filterwarnings("ignore:.*without a sigmoid:adcc_onnx.errors.AdccWarning")
def test_a_binary_model(kind: str, tmp_path: Path) -> None:
    """z explains class 1, -z class 0, and p(1) = sigmoid(z)."""
    proto = binary_model(kind)
    model = loaded(proto, tmp_path, BINARY[kind][2], layers="active")
    assert model.classifier.binary and model.classifier.classes == 2
    active, logits = torch_features(proto)
    z = logits[:, 0]
    (slope,) = torch.autograd.grad(z.sum(), active)
    for target, sign in ((1, 1.0), (0, -1.0)):
        feeds = {IMAGE: IMAGES, TARGET: np.full(len(IMAGES), target)}
        found = model.pool.session(Pass.GRADIENTS).run(feeds)
        np.testing.assert_allclose(found[GRADIENTS], sign * slope.numpy(), rtol=1e-4, atol=1e-7)
    z = z.detach().numpy()
    for target, p in ((1, 1 / (1 + np.exp(-z))), (0, 1 / (1 + np.exp(z)))):
        explained = adcc.explain(model, IMAGES, "gradcam", target=target)
        np.testing.assert_array_equal(explained.predicted, (z > 0).astype(int))
        np.testing.assert_allclose(explained.probabilities, p, rtol=1e-5)
    assert not adcc.evaluate(model, IMAGES, ["gradcam", "scorecam"]).failures


def test_a_binary_model_without_a_sigmoid_may_be_a_regression(tmp_path: Path) -> None:
    with pytest.warns(AdccWarning, match="one number without a sigmoid, which may be a regress"):
        loaded(binary_model("logit_n1"), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdccWarning)
        loaded(binary_model("sigmoid_n1"), tmp_path)


@pytest.mark.parametrize(
    ("end", "outputs"),
    [
        ("scores, places = TopK (soft, three)", {"scores": ["n", 3]}),
        ("scores, places = TopK (logits, three)", {"scores": ["n", 3]}),
        (
            "best = ArgMax <axis = 1, keepdims = 0> (soft) scores = Cast <to = 1> (best)",
            {"scores": ["n"]},
        ),
        ("best = ArgMax <axis = 1> (logits) scores = Cast <to = 1> (best)", {"scores": ["n", 1]}),
    ],
)
def test_scores_come_from_before_the_decision(
    end: str, outputs: dict[str, list[object]], tmp_path: Path
) -> None:
    head = f"{LOGITS_TEXT} soft = Softmax <axis = 1> (logits) {end}"
    proto = with_head(head, outputs["scores"])
    proto.graph.initializer.append(numpy_helper.from_array(np.array([3]), "three"))
    model = loaded(proto, tmp_path, layers="active")
    assert model.classifier.classes == 5
    taken = end.partition("(")[2].partition(")")[0].partition(",")[0]
    assert (
        f"the scores are '{taken}', before the decision in 'scores'"
        == model.classifier.scores_reason
    )
    _, logits = torch_features(proto)
    found = model.pool.session(Pass.FORWARD).run({IMAGE: IMAGES})[LOGITS]
    np.testing.assert_allclose(found, logits.detach().numpy(), rtol=1e-4, atol=1e-5)


def zipmap_model() -> onnx.ModelProto:
    """Return a classifier that ends like those of Azure Custom Vision."""
    model = small(f"{LOGITS_TEXT} scores = Softmax <axis = 1> (logits)")
    names = ["ant", "bee", "cat", "dog", "elk"]
    node = helper.make_node(
        "ZipMap", ["scores"], ["loss"], domain="ai.onnx.ml", classlabels_strings=names
    )
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    kind = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    del model.graph.output[:]
    value = helper.make_value_info("loss", helper.make_sequence_type_proto(kind))
    model.graph.output.append(value)
    return model


def test_a_zipmap_names_the_classes(tmp_path: Path) -> None:
    model = loaded(zipmap_model(), tmp_path)
    assert model.labels == ("ant", "bee", "cat", "dog", "elk")
    assert model.classifier.scores_kind == "probabilities"
    plain = loaded(small(f"{LOGITS_TEXT} scores = Softmax <axis = 1> (logits)"), tmp_path)
    for target in ("cat", 2):
        found = adcc.explain(model, IMAGES, "gradcam", target=target)
        np.testing.assert_array_equal(
            found.maps, adcc.explain(plain, IMAGES, "gradcam", target=2).maps
        )
    card = loaded(zipmap_model(), tmp_path, 'labels = ["a", "b", "c", "d", "e"]\n')
    assert card.labels == ("a", "b", "c", "d", "e")
    onnx.checker.check_model(adcc.expose(zipmap_model(), ["active"]), full_check=True)


def test_an_integer_zipmap_and_a_sequence_beside_the_scores(tmp_path: Path) -> None:
    model = zipmap_model()
    model.graph.node[-1].CopyFrom(
        helper.make_node(
            "ZipMap", ["scores"], ["loss"], domain="ai.onnx.ml", classlabels_int64s=[*range(5)]
        )
    )
    found = loaded(model, tmp_path)
    assert found.labels is None and found.classifier.classes == 5
    model = small(f"{LOGITS_TEXT} scores = Identity (logits) list = SequenceConstruct (logits)")
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    model.graph.output.append(helper.make_value_info("list", helper.make_sequence_type_proto(kind)))
    assert loaded(model, tmp_path).classifier.classes == 5


def several_heads() -> onnx.ModelProto:
    head = f"""{LOGITS_TEXT} embedding = Relu (flat)
      aux_logits = Gemm <transB = 1> (embedding, weights)
      scores = Softmax <axis = 1> (logits)"""
    model = with_head(head, ["batch", 4], name="embedding")
    add_output(model, "aux_logits", ["batch", 5])
    add_output(model, "scores", ["batch", 5])
    return model


def test_the_choice_between_heads_is_explained(tmp_path: Path) -> None:
    model = loaded(several_heads(), tmp_path)
    assert model.classifier.scores.name == "scores"
    reason = (
        "output 'scores' was chosen because it ends in a softmax; other candidates are "
        "'aux_logits', 'embedding' (--scores-output NAME chooses)"
    )
    assert model.classifier.scores_reason == reason
    result = adcc.evaluate(model, IMAGES, ["gradcam"], out=tmp_path / "run.db")
    assert result.scores_reason == reason
    assert reason in results_to_table([result]).splitlines()[0]
    said: list[str] = []
    adcc.evaluate(tmp_path / "net.onnx", IMAGES, ["fakecam"], device="cpu", notify=said.append)
    assert any(reason in line for line in said)
    named = loaded(several_heads(), tmp_path, scores_output="aux_logits")
    assert named.classifier.scores_reason == ""
    assert named.describe()["scores_output"] == "aux_logits"
    with pytest.raises(adcc.StoreError, match="scores_output: 'scores' -> 'aux_logits'"):
        adcc.evaluate(named, IMAGES, ["gradcam"], out=tmp_path / "run.db", resume=True)


NORMALIZED = {
    "operator": "scores = LpNormalization <axis = 1> (logits)",
    "clipped": """norm = ReduceL2 <axes = [1]> (logits) safe = Clip (norm, tiny)
      sizes = Shape (logits) wide = Expand (safe, sizes) scores = Div (logits, wide)""",
    "plain": "norm = ReduceL2 <axes = [1]> (logits) scores = Div (logits, norm)",
    "squares": """square = Mul (logits, logits) sum = ReduceSum (square, one) norm = Sqrt (sum)
      scores = Div (logits, norm)""",
}


@pytest.mark.parametrize("kind", NORMALIZED)
def test_embeddings_are_refused(kind: str) -> None:
    text = NORMALIZED[kind].replace("ReduceL2 <axes = [1]> (logits)", "ReduceL2 (logits, one)")
    model = with_head(f"{LOGITS_TEXT} {text}", ["batch", 5])
    for name, value in {"one": np.array([1]), "tiny": np.float32(1e-12)}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    with pytest.raises(NoClassScoresError, match="is an embedding of length 1"):
        adcc.load(model, device="cpu")


@pytest.mark.parametrize(
    ("name", "classes", "doubt"),
    [
        ("embedding", 5, "its name is that of an embedding"),
        ("bbox_deltas", 4, "its name is that of a regression"),
        ("landmarks", 4, "its name is that of a regression"),
    ],
)
def test_doubtful_outputs_are_warned_about(name: str, classes: int, doubt: str) -> None:
    head = LOGITS_TEXT.replace("logits = ", f"{name} = ")
    model = with_head(head, ["batch", classes], classes, name)
    with pytest.warns(AdccWarning, match=doubt):
        adcc.load(model, device="cpu")


def test_fewer_rows_than_images_are_refused() -> None:
    head = f"""{LOGITS_TEXT} clips = Reshape (logits, clip_shape)
      scores = ReduceMean (clips, one)"""
    model = with_head(head, ["clips", 5])
    for name, value in {"one": [1], "clip_shape": [-1, 4, 5]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    # ReduceMean at opset 18 keeps the axis: [clips, 1, 5].
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(NoClassScoresError, match="2 rows of scores for 8 images"):
        adcc.load(model, device="cpu")


def test_another_number_of_rows_at_run_time_is_a_model_error(tmp_path: Path) -> None:
    """Only the run shows that the positive rows alone are kept."""
    head = f"""{LOGITS_TEXT} best = ReduceMax (logits, one) row = Squeeze (best, one)
      sign = Greater (row, large) scores = Compress <axis = 0> (logits, sign)"""
    model = with_head(head, ["batch", 5])
    for name, value in {"one": np.array([1]), "large": np.float32(1e9)}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, tmp_path / "net.onnx")
    found = adcc.load(tmp_path / "net.onnx", device="cpu")
    with pytest.raises(ModelError, match="gives 0 rows of 'logits' for 4 images"):
        adcc.evaluate(found, IMAGES, ["scorecam"])


# A softmax as exporters wrote it before opset 13, and shares of other positive numbers.
DECOMPOSED = {
    "exponentials": """e = Exp (logits) sum = ReduceSum <keepdims = 1> (e, one)
        scores = Div (e, sum)""",
    "shifted": """top = ReduceMax <axes = [1], keepdims = 1> (logits) low = Sub (logits, top)
        e = Exp (low) sum = ReduceSum <keepdims = 1> (e, one) scores = Div (e, sum)""",
    "normalized": """soft = Softmax <axis = 1> (logits) sum = ReduceL1 <axes = [1]> (soft)
        scores = Div (soft, sum)""",
}


@pytest.mark.parametrize("kind", DECOMPOSED)
def test_a_softmax_in_parts_has_the_gradients_of_its_logits(kind: str) -> None:
    model = small(f"{LOGITS_TEXT} {DECOMPOSED[kind]}", opset=13)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    scores = adcc.inspect(model)["scores"]
    assert (scores["kind"], scores["logits"]) == ("probabilities", "logits")
    found = adcc.explain(model, IMAGES, device="cpu")
    wanted = adcc.explain(small("softmax"), IMAGES, device="cpu")
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-5)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, rtol=1e-5)


def test_shares_of_sigmoids_are_probabilities() -> None:
    head = """own = Sigmoid (logits) sum = ReduceSum <keepdims = 1> (own, one)
      scores = Div (own, sum)"""
    model = small(f"{LOGITS_TEXT} {head}", opset=13)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    found = adcc.explain(model, IMAGES, device="cpu")
    _, logits = torch_features(model)
    own = logits.sigmoid()
    wanted = (own / own.sum(1, keepdim=True)).max(1).values
    np.testing.assert_allclose(found.probabilities, wanted.detach(), rtol=1e-5)


SEQUENCES = {
    "constructed": "scores = SequenceConstruct (logits)",
    "several": "scores = SequenceConstruct (pooled, logits)",
    "inserted": "none = SequenceEmpty () scores = SequenceInsert (none, logits)",
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_scores_in_a_sequence(kind: str) -> None:
    model = small(f"{LOGITS_TEXT} {SEQUENCES[kind]}")
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch", 5])
    model.graph.output[0].CopyFrom(
        helper.make_value_info("scores", helper.make_sequence_type_proto(tensor))
    )
    found = adcc.explain(model, IMAGES, device="cpu")
    np.testing.assert_array_equal(found.maps, adcc.explain(small(), IMAGES, device="cpu").maps)


def test_scores_that_are_returned_as_integers() -> None:
    model = small(f"{LOGITS_TEXT} scores = QuantizeLinear (logits, step, zero)")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    for name, value in {"step": np.float32(0.1), "zero": np.uint8(128)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    found = adcc.explain(model, IMAGES, device="cpu")
    np.testing.assert_array_equal(found.maps, adcc.explain(small(), IMAGES, device="cpu").maps)
