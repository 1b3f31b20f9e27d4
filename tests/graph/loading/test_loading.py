"""Reading ONNX files and their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small
from onnx.external_data_helper import set_external_data

from adcc_onnx.errors import ExternalDataError, NotAModelError
from adcc_onnx.graph.loading.reading import read_model
from adcc_onnx.graph.loading.saving import to_proto


def _write(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def _external(folder: Path, location: str) -> Path:
    """A model whose kernel is in the file `location`."""
    model = small()
    kernel = model.graph.initializer[0]
    set_external_data(kernel, location, length=len(kernel.raw_data))
    kernel.ClearField("raw_data")
    return _write(model, folder / "model.onnx")


def test_files_without_a_model_give_an_error_of_one_line(tmp_path: Path) -> None:
    whole = small().SerializeToString()
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_bytes(b"not a model, but some text\n" * 40)
    (tmp_path / "short.onnx").write_bytes(whole[: len(whole) // 2])
    for name in ("absent.onnx", "empty.onnx", "text.onnx", "short.onnx"):
        with pytest.raises(NotAModelError) as caught:
            read_model(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_external_weights_in_the_folder_are_loaded(tmp_path: Path) -> None:
    kernel = small().graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(kernel.raw_data)
    model = read_model(_external(tmp_path, "weights.bin"))
    read = model.graph.initializers["kernel"].const_value
    assert read is not None
    np.testing.assert_array_equal(read.numpy(), onnx.numpy_helper.to_array(kernel))


TYPES = ["FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8", "INT64", "BOOL", "BFLOAT16", "INT4"]


def test_tensors_of_every_type_keep_their_values(tmp_path: Path) -> None:
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


def test_reading_large_weights_does_not_copy_them(tmp_path: Path) -> None:
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
