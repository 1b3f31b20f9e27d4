"""Upgrade models of older opsets."""

from __future__ import annotations

import itertools
import re

import onnx
import onnx_ir as ir
from onnx import version_converter

from adcc_onnx.errors import ModelError, first_line
from adcc_onnx.graph.autodiff.builder import LOWEST_OPSET, dims_of
from adcc_onnx.graph.passes.first_opsets import (
    BROADCASTING_OPSET,
    INFERRED_OPSET,
    upgrade_first_opsets,
    write_out_broadcasts,
)
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.old_resizes import hold_resizes, release_resizes

# The first opset in which Softmax is over a single axis.
_SOFTMAX_OPSET = 13
# The IR version that was released with opset 18.
_IR_VERSION = 8
# In elements; larger weights are kept out of the converter.
_MAX_CONVERTED_WEIGHT = 1024


def upgrade_opset(model: ir.Model) -> ir.Model:
    """Upgrade the standard operators of a model to opset 18; newer models are returned unchanged.

    Large weights bypass ONNX's version converter, so that models of any size can be upgraded. The
    converter also drops the names and the metadata of nodes; they are restored.

    Args:
        model: The model; it is changed in place.

    Returns:
        The upgraded model, which may be another object.

    Raises:
        ModelError: The converter cannot upgrade one of the operators.
    """
    version = model.opset_imports.get("", model.opset_imports.get("ai.onnx", LOWEST_OPSET))
    if version >= LOWEST_OPSET:
        return model
    # Before IR version 4, every initializer had to be an input too; it no longer is.
    model.ir_version = max(model.ir_version, _IR_VERSION)
    hold_resizes(model, version)
    weights = _take_weights(model)
    node_info = {
        output.name: (node.name, dict(node.metadata_props))
        for node in model.graph
        for output in node.outputs
    }
    try:
        if version < INFERRED_OPSET:
            upgrade_first_opsets(model)
        last_axis = _softmaxes_over_the_last_axis(model) if version < _SOFTMAX_OPSET else {}
        if version < BROADCASTING_OPSET:
            write_out_broadcasts(model)
        proto: onnx.ModelProto = ir.to_proto(model)
        upgraded = ir.from_proto(version_converter.convert_version(proto, LOWEST_OPSET))
    except Exception as error:
        raise ModelError(
            f"operators of opset {version} cannot be upgraded to opset {LOWEST_OPSET}: "
            f"{_why_not_converted(error)}"
        ) from error
    release_resizes(upgraded)
    _put_weights(upgraded, weights)
    for node in upgraded.graph:
        for output in node.outputs:
            name, metadata = node_info.get(output.name, (None, {}))
            node.name = node.name or name
            node.metadata_props.update(metadata)
    _restore_softmaxes(upgraded.graph, last_axis)
    _make_node_names_unique(upgraded.graph)
    return upgraded


def _why_not_converted(error: Exception) -> str:
    """Say what the converter failed at, without the place in its source."""
    unknown = re.search(r"No Adapter .*\bfor (\w+)", str(error))
    if unknown is not None:
        return (
            f"ONNX's converter does not know operator {unknown[1]}; export the model again with a "
            "newer exporter"
        )
    return re.sub(r"^\S+\.(?:h|cc):\d+: ", "", first_line(error))


def _softmaxes_over_the_last_axis(model: ir.Model) -> dict[str, str]:
    """The operator of each Softmax that means the same before and after opset 13, by its output.

    Before opset 13, a Softmax flattened its input to two axes: all from `axis` on were one.
    """
    _infer_ranks(model)
    found = {}
    for node in model.graph:
        if node.op_type not in ("Softmax", "LogSoftmax", "Hardmax") or node.domain:
            continue
        shapes = (
            dims_of(value) for value in (node.inputs[0], node.outputs[0]) if value is not None
        )
        rank = max((len(dims) for dims in shapes if dims is not None), default=0)
        if rank and node.attributes.get_int("axis", 1) in (-1, rank - 1):
            found[node.outputs[0].name or ""] = node.op_type
    return found


def _infer_ranks(model: ir.Model) -> None:
    """Infer shapes; a Reshape to a computed shape of known length has at least a known rank."""
    unknown = True
    while unknown:
        infer_shapes(model)
        unknown = False
        for node in model.graph:
            if node.op_type != "Reshape" or node.outputs[0].shape is not None:
                continue
            target = dims_of(node.inputs[1]) if node.inputs[1] is not None else None
            if target is not None and len(target) == 1 and isinstance(target[0], int):
                node.outputs[0].shape = ir.Shape([None] * target[0])
                unknown = True


def _restore_softmaxes(graph: ir.Graph, operators: dict[str, str]) -> None:
    """Write `operators` as one node again where the converter made Flatten, Softmax and Reshape."""
    for reshape in [node for node in graph if node.op_type == "Reshape"]:
        softmax = None if reshape.inputs[0] is None else reshape.inputs[0].producer()
        old = reshape.outputs[0]
        if softmax is None or softmax.op_type != operators.get(old.name or ""):
            continue
        flatten = softmax.inputs[0].producer() if softmax.inputs[0] is not None else None
        if flatten is None or flatten.op_type != "Flatten":
            continue
        shape = None if reshape.inputs[1] is None else reshape.inputs[1].producer()
        node = ir.node(softmax.op_type, [flatten.inputs[0]], {"axis": -1}, name=reshape.name)
        graph.insert_after(reshape, node)
        new = node.outputs[0]
        new.type, new.shape = old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        for unused in filter(None, (reshape, softmax, flatten, shape)):
            if not any(value.uses() or value.is_graph_output() for value in unused.outputs):
                graph.remove(unused, safe=True)


def _make_node_names_unique(graph: ir.Graph) -> None:
    """Rename all but the last of the nodes that share a name: the last makes the original output.

    The converter names all nodes that it writes for one operator alike.
    """
    taken: set[str] = {node.name for node in graph if node.name}
    seen: set[str] = set()
    for node in reversed(list(graph)):
        if node.name in seen:
            node.name = _unused_name(f"{node.name}/{node.op_type}", taken)
        if node.name:
            seen.add(node.name)


def _unused_name(name: str, taken: set[str]) -> str:
    candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(1)))
    chosen = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(chosen)
    return chosen


def _take_weights(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """Turn every large initializer into a plain input of the same type and shape."""
    weights: dict[str, ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.size <= _MAX_CONVERTED_WEIGHT:
            continue
        weights[name] = tensor
        value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype
        del model.graph.initializers[name]
        value.const_value = None
        model.graph.inputs.append(value)
    return weights


def _put_weights(model: ir.Model, weights: dict[str, ir.TensorProtocol]) -> None:
    """Turn these inputs back into initializers."""
    for value in list(model.graph.inputs):
        if value.name in weights:
            model.graph.inputs.remove(value)
            value.const_value = weights[value.name]
            model.graph.register_initializer(value)
