"""Image inputs of other ranks, types and layouts, and inputs besides the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.input_twins import declare, forget_shape, twin

import adcc_onnx as adcc
from adcc_onnx.errors import NoImageInputError, OptionError, StoreError
from adcc_onnx.graph.classifier.fixed_inputs import parse_input

RNG = np.random.default_rng(8)
GRAY = RNG.standard_normal((3, 1, 8, 6)).astype(np.float32)
COLOR = RNG.standard_normal((3, 3, 8, 6)).astype(np.float32)
RESHAPED = "pixels = Reshape (x, nchw)"
TABLE = np.array([0.5, -2.0, 3.0], np.float32)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


def softmax(scores: np.ndarray) -> np.ndarray:
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def explained(model: onnx.ModelProto, tensors: np.ndarray, **options: Any) -> adcc.Explanations:
    return adcc.explain(model, tensors, device="cpu", layers="active", **options)


def assert_same(found: adcc.Explanations, wanted: adcc.Explanations) -> None:
    np.testing.assert_allclose(found.maps, wanted.maps, atol=1e-6)
    np.testing.assert_allclose(found.probabilities, wanted.probabilities, atol=1e-7)
    np.testing.assert_array_equal(found.targets, wanted.targets)


@pytest.mark.parametrize(
    ("inputs", "adapt", "channels", "size"),
    [
        ("float[batch,48] x", RESHAPED, 1, (8, 6)),
        ("float[1,48] x", RESHAPED, 1, (8, 6)),
        ("float[batch,144] x", RESHAPED, 3, (8, 6)),
        ("float[batch,8,6] x", "pixels = Unsqueeze (x, axis)", 1, None),
    ],
)
def test_pixels_of_another_rank_equal_the_twin_of_rank_4(
    inputs: str, adapt: str, channels: int, size: tuple[int, int] | None
) -> None:
    model = twin(inputs, adapt, channels=channels)
    tensors = GRAY if channels == 1 else COLOR
    own_shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rows = tensors.reshape(3, *own_shape)
    scores = np.concatenate([run(model, x=row[None])[0] for row in rows])
    found = explained(model, tensors, size=size)
    p = softmax(scores)
    np.testing.assert_allclose(found.probabilities, p.max(axis=1), atol=1e-6)
    reference = twin(f"float[batch,{channels},8,6] x", channels=channels)
    assert_same(found, explained(reference, tensors))


@pytest.mark.parametrize(("inputs", "adapt", "shape", "size"), [
    ("float[batch,48] x", RESHAPED, (3, 48), (8, 6)),
    ("float[batch,8,6] x", "pixels = Unsqueeze (x, axis)", (3, 8, 6), None),
])  # fmt: skip
def test_exposed_gradients_equal_those_of_the_twin(
    inputs: str, adapt: str, shape: tuple[int, ...], size: tuple[int, int] | None
) -> None:
    model = twin(inputs, adapt)
    target = np.array([2, 0, -1])
    exposed = adcc.expose(model, ["active", "x"], size=size)
    assert [value.name for value in exposed.graph.input] == ["x", "target"]
    scores, active, gradient, x, own = run(exposed, x=GRAY.reshape(shape), target=target)
    wanted = adcc.expose(twin("float[batch,1,8,6] x"), ["active", "x"])
    expected = run(wanted, x=GRAY, target=target)
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)
    np.testing.assert_allclose(active, expected[1], atol=1e-6)
    np.testing.assert_allclose(gradient, expected[2], atol=1e-6)
    np.testing.assert_array_equal(x, GRAY.reshape(shape))
    np.testing.assert_allclose(own, expected[4].reshape(shape), atol=1e-6)


def test_baking_keeps_the_models_own_input() -> None:
    model = twin("float[batch,48] x", RESHAPED)
    loaded = adcc.load(model, device="cpu", size=(8, 6), layers="active")
    wanted = explained(model, GRAY, size=(8, 6)).maps
    for baked in (adcc.bake(model, layers="active", size=(8, 6)), adcc.bake(loaded)):
        assert [value.name for value in baked.graph.input] == ["x"]
        np.testing.assert_allclose(run(baked, x=GRAY.reshape(3, 48))[-1], wanted, atol=1e-5)


def test_flattened_pixels_of_channels_last_follow_the_layout_of_the_card(tmp_path: Path) -> None:
    adapt = "hwc = Reshape (x, nhwc) pixels = Transpose <perm = [0, 3, 1, 2]> (hwc)"
    path = tmp_path / "net.onnx"
    onnx.save(twin("float[batch,144] x", adapt, channels=3), path)
    path.with_suffix(".toml").write_text('layout = "NHWC"\nsize = [8, 6]\n')
    found = adcc.explain(path, COLOR, device="cpu", layers="active")
    assert_same(found, explained(twin("float[batch,3,8,6] x", channels=3), COLOR))


def test_a_size_that_does_not_fit_flattened_pixels_is_named() -> None:
    model = twin("float[batch,48] x", RESHAPED)
    for size in (None, (7, 7)):
        with pytest.raises(NoImageInputError, match=r"'x' float \['batch', 48\].*--size HxW"):
            adcc.load(model, device="cpu", size=size)
    wide = declare(twin("float[batch,784] x", RESHAPED), ["batch", 784])
    with pytest.raises(NoImageInputError, match="such as 28x28"):
        adcc.load(wide, device="cpu")


def test_an_input_without_a_shape_needs_a_size() -> None:
    model = forget_shape(twin("float[batch,1,8,6] x"))
    with pytest.raises(NoImageInputError, match="does not say its shape: give --size HxW"):
        adcc.load(model, device="cpu")
    wanted = explained(twin("float[batch,1,8,6] x"), GRAY)
    assert_same(explained(model, GRAY, size=(8, 6)), wanted)


@pytest.mark.parametrize("dims", [["n", "c", "h", "w"], [-1, -1, -1, -1]])
def test_open_channels_are_read_from_the_first_convolution(dims: list[Any]) -> None:
    model = declare(twin("float[batch,1,8,6] x"), dims)
    loaded = adcc.load(model, device="cpu", size=(8, 6))
    assert loaded.classifier.channels == 1


@pytest.mark.parametrize("batch", [2, 3, 4, 7])
def test_a_fixed_batch_of_any_size(batch: int) -> None:
    free = explained(twin("float[batch,1,8,6] x"), GRAY)
    fixed = declare(twin("float[batch,1,8,6] x"), [batch, 1, 8, 6])
    assert_same(explained(fixed, GRAY), free)
    flat = declare(twin("float[batch,48] x", RESHAPED), [batch, 48])
    assert_same(explained(flat, GRAY, size=(8, 6)), free)


def with_table(kind: str = "float[batch,3]", adapt: str = "") -> onnx.ModelProto:
    adapt = adapt or "pixels = Identity (x) flag = Identity (table)"
    late = twin(f"float[batch,1,8,6] x, {kind} table", adapt, table=3, flat="both")
    joined = onnx.helper.make_node("Concat", ["flat", "flag"], ["both"], axis=1)
    late.graph.node.insert(len(late.graph.node) - 1, joined)
    return late


@pytest.mark.parametrize("value", [TABLE, TABLE[None], [0.5, -2, 3]])
def test_a_set_input_is_used_for_every_image(value: Any) -> None:
    model = with_table()
    scores = run(model, x=GRAY, table=np.repeat(TABLE[None], 3, axis=0))[0]
    loaded = adcc.load(model, device="cpu", layers="active", set_inputs={"table": value})
    assert dict(loaded.set_inputs) == {"table": "[[0.5, -2.0, 3.0]]"}
    found = adcc.explain(loaded, GRAY)
    np.testing.assert_allclose(found.probabilities, softmax(scores).max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(found.targets, scores.argmax(axis=1))


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_a_set_input_of_a_fixed_batch(batch: int) -> None:
    model = declare(with_table(f"float[{batch},3]"), [batch, 1, 8, 6])
    wanted = explained(with_table(), GRAY, set_inputs={"table": TABLE})
    assert_same(explained(model, GRAY, set_inputs={"table": TABLE}), wanted)


def test_a_set_input_of_a_batch_that_cannot_change() -> None:
    adapt = "six = Reshape (x, sizes) pixels = Reshape (six, nchw) flag = Identity (table)"
    model = declare(with_table("float[2,3]", adapt), [2, 1, 8, 6])
    sizes = np.array([1, 2, 48])
    model.graph.initializer.append(onnx.numpy_helper.from_array(sizes, "sizes"))
    loaded = adcc.load(model, device="cpu", layers="active", set_inputs={"table": TABLE})
    assert (loaded.any_batch, loaded.batch) == (False, 2)
    wanted = explained(with_table(), GRAY, set_inputs={"table": TABLE})
    assert_same(adcc.explain(loaded, GRAY), wanted)


def test_a_scalar_fills_an_input() -> None:
    scores = run(with_table(), x=GRAY, table=np.full((3, 3), 2, np.float32))[0]
    found = explained(with_table(), GRAY, set_inputs={"table": 2})
    np.testing.assert_allclose(found.probabilities, softmax(scores).max(axis=1), atol=1e-6)


def test_a_set_flag_decides_a_branch() -> None:
    model = twin("float[batch,1,8,6] x, bool double", "two = Identity (x) pixels = Add (x, two)")
    branch = onnx.parser.parse_graph("yes () => (float[batch,1,8,6] a) { a = Add (x, x) }")
    other = onnx.parser.parse_graph("no () => (float[batch,1,8,6] b) { b = Identity (x) }")
    del model.graph.node[:2]
    node = onnx.helper.make_node(
        "If", ["double"], ["pixels"], then_branch=branch, else_branch=other
    )
    model.graph.node.insert(0, node)
    plain = twin("float[batch,1,8,6] x")
    assert_same(explained(model, GRAY, set_inputs={"double": True}), explained(plain, 2 * GRAY))
    assert_same(explained(model, GRAY, set_inputs={"double": False}), explained(plain, GRAY))


def test_an_input_that_nothing_reads_is_ignored() -> None:
    model = twin("float[batch,1,8,6] x, float[3] extra")
    assert_same(explained(model, GRAY), explained(twin("float[batch,1,8,6] x"), GRAY))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tabel": 1}, "no input 'tabel'; did you mean 'table'"),
        ({"table": [1, 2]}, r"cannot be set to an array of shape \[2\]"),
        ({"table": np.ones((3, 3))}, "one value for all images"),
        ({"table": "text"}, "cannot be set to 'text'"),
        ({"x": 0, "table": 1}, "takes the images"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        adcc.load(with_table(), device="cpu", set_inputs=given)


def test_an_integer_input_takes_whole_numbers_only() -> None:
    model = with_table("int64[batch,3]", "pixels = Identity (x) flag = Cast <to = 1> (table)")
    scores = run(model, x=GRAY, table=np.full((3, 3), 2))[0]
    found = explained(model, GRAY, set_inputs={"table": 2.0})
    np.testing.assert_allclose(found.probabilities, softmax(scores).max(axis=1), atol=1e-6)
    with pytest.raises(OptionError, match=r"takes INT64, not 0\.5"):
        adcc.load(model, device="cpu", set_inputs={"table": 0.5})


def test_a_model_with_a_further_input_asks_for_it() -> None:
    with pytest.raises(NoImageInputError, match=r"'table' float \['batch', 3\]: .*--set table=0"):
        adcc.load(with_table(), device="cpu")


def test_exposing_keeps_further_inputs_unless_they_are_set() -> None:
    target, table = np.array([1, -1, 0]), np.repeat(TABLE[None], 3, axis=0)
    exposed = adcc.expose(with_table(), "active")
    assert [value.name for value in exposed.graph.input] == ["x", "table", "target"]
    free = run(exposed, x=GRAY, table=table, target=target)
    fixed = adcc.expose(with_table(), "active", set_inputs={"table": TABLE})
    assert [value.name for value in fixed.graph.input] == ["x", "target"]
    for found, wanted in zip(run(fixed, x=GRAY, target=target), free, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert adcc.inspect(with_table())["image"]["name"] == "x"


def test_a_set_value_is_recorded_and_resume_refuses_another(tmp_path: Path) -> None:
    out, model = tmp_path / "run.sqlite", with_table()

    def evaluate(value: Any, resume: bool) -> adcc.EvaluationResult:
        return adcc.evaluate(
            model, GRAY, "gradcam", device="cpu", layers="active", out=out, resume=resume,
            set_inputs={"table": value},
        )  # fmt: skip

    evaluate(TABLE, False)
    evaluate(TABLE, True)
    with pytest.raises(StoreError, match=r"inputs.*\[\[0.5, -2.0, 3.0\]\]"):
        evaluate(0, True)


def test_values_on_the_command_line(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", TABLE)
    name, value = parse_input(f"table={tmp_path / 'table.npy'}")
    assert name == "table"
    np.testing.assert_array_equal(np.asarray(value), TABLE)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for text, words in {
        "table": "NAME=VALUE",
        "table=yes": "neither a number",
        f"table={tmp_path / 'objects.npy'}": "cannot be read as .npy",
        f"table={tmp_path / 'none.npy'}": "cannot be read as .npy",
    }.items():
        with pytest.raises(OptionError, match=words):
            parse_input(text)
