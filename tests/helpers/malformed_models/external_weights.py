"""External weights outside the model's folder, in special files, or with wrong headers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.malformed_models.base import VALID, Cases, Model
from helpers.small_models import small

Placement = Callable[[Model, TensorProto], Model]
_CONTENT = VALID.graph.initializer[0].raw_data


def external_weights() -> Cases:
    """Yield functions that write a model with an external kernel, and files beside it."""
    yield "absolute", _case("OUTSIDE")
    yield "proc", _case("/proc/self/environ")
    yield "parent", _case("../external-parent.outside")
    yield "parent_hidden", _case("sub/../../external-parent_hidden.outside")
    yield "link", _case("link.bin", _link_outside)
    yield "linked_folder", _case("sub/weights.bin", _link_parent_folder)
    yield "link_inside", _case("link.bin", lambda f: (f / "link.bin").symlink_to("inside.bin"))
    yield "missing", _case("nobody.bin")
    yield "itself", _case("model.onnx", length="432")
    yield "folder", _case(".")
    yield "empty_location", _case("")
    yield "nul", _case("a\0b")
    yield "device", _case("/dev/zero")
    yield "pipe", _case("pipe", lambda folder: os.mkfifo(folder / "pipe"))
    yield "offset_beyond", _case("inside.bin", offset=str(2**40))
    yield "offset_negative", _case("inside.bin", offset="-16")
    yield "offset_odd", _case("inside.bin", offset="3", length="400")
    yield "length_beyond", _case("inside.bin", length=str(2**50))
    yield "length_negative", _case("inside.bin", length="-5")
    yield "length_word", _case("inside.bin", length="many")
    yield "length_short", _case("inside.bin", length="8")
    yield "huge_dims", _case("inside.bin", place=_with_huge_dims)
    places = {
        "constant": _in_constant,
        "branch": _in_branch,
        "function": _in_function,
        "sparse": _in_sparse,
    }
    for where, place in places.items():
        yield f"{where}_absolute", _case("OUTSIDE", place=place)
        yield f"{where}_inside", _case("inside.bin", place=place)


def _case(
    location: str,
    prepare: Callable[[Path], object] = lambda folder: None,
    place: Placement | None = None,
    **entries: str,
) -> Callable[[Path], None]:
    """Return a function that writes a model with an external kernel.

    Args:
        location: The location of the kernel; OUTSIDE is an absolute path outside the folder.
        prepare: Creates further files in the folder.
        place: Puts the external tensor somewhere else than into the kernel.
        **entries: Further entries of the external data, such as the offset.
    """

    def write(folder: Path) -> None:
        outside = folder.parent / f"{folder.name}.outside"
        outside.write_bytes(_CONTENT)
        (folder / "inside.bin").write_bytes(_CONTENT)
        prepare(folder)
        model = small("softmax")
        kernel = model.graph.initializer[0]
        kernel.ClearField("raw_data")
        kernel.data_location = TensorProto.EXTERNAL
        path = location.replace("OUTSIDE", str(outside))
        for key, value in {"location": path, **entries}.items():
            kernel.external_data.add(key=key, value=value)
        if place is not None:
            tensor = TensorProto()
            tensor.CopyFrom(kernel)
            kernel.CopyFrom(VALID.graph.initializer[0])
            model = place(model, tensor)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return write


def _link_outside(folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / f"{folder.name}.outside")


def _link_parent_folder(folder: Path) -> None:
    (folder / "sub").symlink_to(folder.parent)
    (folder.parent / "weights.bin").write_bytes(_CONTENT)


def _with_huge_dims(model: Model, tensor: TensorProto) -> Model:
    tensor.dims[0] = 2**50
    model.graph.initializer[0].CopyFrom(tensor)
    return model


def _constant_node(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["kernel"], value=tensor)


def _in_constant(model: Model, tensor: TensorProto) -> Model:
    nodes = [_constant_node(tensor), *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _in_branch(model: Model, tensor: TensorProto) -> Model:
    out = helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [4, 3, 3, 3])
    tensor.name = "inner"
    graph = helper.make_graph(
        [helper.make_node("Identity", ["inner"], ["kernel"])], "branch", [], [out], [tensor]
    )
    choice = helper.make_node("If", ["yes"], ["kernel"], then_branch=graph, else_branch=graph)
    nodes = [choice, *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return model


def _in_function(model: Model, tensor: TensorProto) -> Model:
    imports = [helper.make_opsetid("", 18)]
    function = helper.make_function("own", "K", [], ["kernel"], [_constant_node(tensor)], imports)
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    nodes = [helper.make_node("K", [], ["kernel"], domain="own"), *model.graph.node]
    del model.graph.initializer[0], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _in_sparse(model: Model, tensor: TensorProto) -> Model:
    sparse = onnx.SparseTensorProto(dims=[4, 3, 3, 3], values=tensor)
    del sparse.values.dims[:]
    sparse.values.dims.append(108)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(108)))
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(sparse)
    return model
