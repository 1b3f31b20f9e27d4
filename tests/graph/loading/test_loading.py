"""Reading models: what is refused, what is upgraded, and that layers keep their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.small_models import HEADS, small
from onnx.external_data_helper import set_external_data

from adcc_onnx.errors import ExternalDataError, ModelError, NotAModelError
from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.loading.reading import read_model
from adcc_onnx.graph.loading.saving import to_proto
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose


def _write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def _external(folder: Path, location: str) -> Path:
    """A model whose kernel lies in the file `location`."""
    model = small()
    kernel = model.graph.initializer[0]
    set_external_data(kernel, location, length=len(kernel.raw_data))
    kernel.ClearField("raw_data")
    return _write(model, folder / "model.onnx")


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = small().SerializeToString()
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_bytes(b"not a model, but some text\n" * 40)
    (tmp_path / "short.onnx").write_bytes(whole[: len(whole) // 2])
    for name in ("absent.onnx", "empty.onnx", "text.onnx", "short.onnx"):
        with pytest.raises(NotAModelError) as caught:
            read_model(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_external_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    kernel = small().graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(kernel.raw_data)
    model = read_model(_external(tmp_path, "weights.bin"))
    read = model.graph.initializers["kernel"].const_value
    assert read is not None
    np.testing.assert_array_equal(read.numpy(), onnx.numpy_helper.to_array(kernel))


TYPES = ["FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8", "INT64", "BOOL", "BFLOAT16", "INT4"]


def test_tensors_of_every_type_stay_what_they_are_in_the_file(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 2, (3, 1001))
    kinds = {name: getattr(onnx.TensorProto, name) for name in TYPES}
    tensors = [
        *(onnx.helper.make_tensor(n, kind, (3, 1001), numbers) for n, kind in kinds.items()),
        onnx.helper.make_tensor("short", onnx.TensorProto.FLOAT, (2,), [0.5, -0.0]),
        onnx.helper.make_tensor("words", onnx.TensorProto.STRING, (2,), [b"a", b"bc"]),
    ]
    branch = onnx.helper.make_graph([], "branch", [], [], tensors[:1])
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensors[0])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3, 1001])
    nodes = [
        constant,
        onnx.helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    branch.node.append(onnx.helper.make_node("Identity", ["FLOAT"], ["inner"]))
    branch.output.append(onnx.helper.make_tensor_value_info("inner", 1, [3, 1001]))
    yes = onnx.helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, [])
    graph = onnx.helper.make_graph(nodes, "g", [yes], [output], tensors)
    path = _write(onnx.helper.make_model(graph), tmp_path / "model.onnx")

    found, wanted = to_proto(read_model(path)), onnx.load(path)
    for name in (t.name for t in tensors):
        ours, theirs = (
            next(t for t in m.graph.initializer if t.name == name) for m in (found, wanted)
        )
        assert (ours.data_type, list(ours.dims)) == (theirs.data_type, list(theirs.dims))
        np.testing.assert_array_equal(
            onnx.numpy_helper.to_array(ours), onnx.numpy_helper.to_array(theirs)
        )
    for m in (found, wanted):
        inside = [m.graph.node[0].attribute[0].t]
        inside += [a.g.initializer[0] for a in m.graph.node[1].attribute]
        for tensor in inside:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), numbers)


def test_large_weights_are_not_copied_by_looking_at_them(tmp_path: Path) -> None:
    model = small()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1000, "f4"), "large"))
    read = read_model(_write(model, tmp_path / "model.onnx"))
    tensor = read.graph.initializers["large"].const_value
    assert tensor is not None and np.shares_memory(tensor.numpy(), tensor.numpy())


def test_external_weights_never_come_from_outside_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "model", tmp_path / "secret.bin"
    folder.mkdir()
    outside.write_bytes(small().graph.initializer[0].raw_data)
    (folder / "link.bin").symlink_to(outside)
    for location in ("../secret.bin", str(outside), "link.bin", "absent.bin"):
        with pytest.raises((ExternalDataError, NotAModelError)) as caught:
            read_model(_external(folder, location))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", HEADS)
def test_logits_are_found_before_the_softmax(head: str) -> None:
    kinds = {"log_softmax": "log-probabilities"}
    expected = kinds.get(head, "probabilities" if "soft" in head else "logits")
    model = prepare(ir.from_proto(small(head, batch=1)))
    classifier = read_classifier(model)
    assert classifier.scores_kind == expected
    assert classifier.logits.name == ("logits" if "soft" in head else "scores")
    assert (classifier.classes, classifier.layout, classifier.size) == (5, "NCHW", (8, 8))


@pytest.mark.parametrize("opset", [11, 13, 15, 17])
def test_upgrading_changes_no_name_and_no_number(opset: int) -> None:
    old = small("softmax", opset=opset)
    images = np.random.default_rng(1).standard_normal((2, 3, 8, 8), np.float32)
    new = to_proto(prepare(ir.from_proto(old)))
    assert new.opset_import[0].version >= 18
    names = {name for node in old.graph.node for name in node.output}
    assert names <= {name for node in new.graph.node for name in node.output}
    before, after = (
        onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"image": images})[0]
        for model in (old, new)
    )
    np.testing.assert_array_equal(before, after)


def test_local_functions_are_inlined() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18, "own" : 1]>
        g (float[batch,3,8,8] image) => (float[batch,5] scores)
          <float[5,3] weights = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6}> {
            pooled = GlobalAveragePool (image)
            scores = own.Head (pooled, weights)
        }
        <domain: "own", opset_import: ["" : 18]>
        Head (x, w) => (y) { flat = Flatten (x) y = Gemm <transB = 1> (flat, w) }
    """)
    prepared = prepare(ir.from_proto(model))
    assert [node.op_type for node in prepared.graph] == ["GlobalAveragePool", "Flatten", "Gemm"]


def test_shape_arithmetic_becomes_constant_and_layers_stay() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 18]>
        g (float[batch,3,8,8] image) => (float[batch,192] scores) {
            kept = Identity (image)
            dropped = Dropout (kept)
            sizes = Shape <start = 1> (dropped)
            wide = ReduceProd <keepdims = 1> (sizes)
            any = Constant <value = int64[1] {-1}> ()
            shape = Concat <axis = 0> (any, wide)
            scores = Reshape (dropped, shape)
        }
    """)
    prepared = prepare(ir.from_proto(model))
    assert [n.op_type for n in prepared.graph] == ["Identity", "Dropout", "Reshape"]
    shape = prepared.graph.initializers["shape"].const_value
    assert shape is not None and list(shape.numpy()) == [-1, 192]


def test_a_cycle_is_refused() -> None:
    model = small()
    model.graph.node[0].input[0] = "active"
    with pytest.raises(ModelError):
        prepare(ir.from_proto(model))


def test_upsample_of_old_opsets_becomes_resize() -> None:
    """Its gradient is that of the nearest neighbor: each pixel gets those made of it."""
    text = """
      <ir_version: 4, opset_import: ["" : 9]>
      net (float[N,2,3,3] image) => (float[N,2] scores) {
        layer = Identity (image)
        scales = Constant <value = float[4] {1.0, 1.0, 2.0, 2.0}> ()
        large = Upsample <mode = "nearest"> (layer, scales)
        square = Mul (large, large)
        mean = GlobalAveragePool (square)
        scores = Flatten (mean)
      }"""
    model = onnx.parser.parse_model(text)
    exposed = expose(model, ["layer"])
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    feeds = {"image": images, "target": np.array([0, 1])}
    (gradient,) = session.run(["layer.gradient"], feeds)
    chosen = np.eye(2)[:, :, None, None]
    np.testing.assert_allclose(gradient, chosen * 2 * images * 4 / 36, rtol=1e-5)
