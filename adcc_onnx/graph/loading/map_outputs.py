"""Replace the outputs of a model that are maps or sequences by the tensors that they are made of.

Azure Custom Vision and sklearn-onnx end a classifier in a `ZipMap`: a map from class name to score
per image. The scores are the input of that node, and its attributes are the class names. Nothing
else in this package can represent a value that is not a tensor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx
import onnx_ir as ir

_LONGEST_SEQUENCE = 64  # in tensors
CLASS_NAMES = "adcc_onnx.class_names"  # metadata of a model: a JSON list of class names


def replace_map_outputs(proto: onnx.ModelProto) -> None:
    """Make the tensor before each map or sequence output an output in its place.

    An output whose tensor cannot be found is dropped. Class names that a `ZipMap` holds are kept in
    the model's metadata, under `CLASS_NAMES`.

    Args:
        proto: The model as it was parsed; changed in place.
    """
    graph = proto.graph
    producers = {name: node for node in graph.node for name in node.output}
    outputs: list[onnx.ValueInfoProto] = []
    for output in graph.output:
        if _is_tensor(output):
            outputs.append(output)
            continue
        tensors, names = _before_map(producers.get(output.name), producers)
        known = {value.name for value in [*outputs, *graph.output]}
        outputs += map(
            onnx.helper.make_empty_tensor_value_info,
            [name for name in dict.fromkeys(tensors) if name and name not in known],
        )
        if names:
            _keep_class_names(proto, names)
    if len(outputs) == len(graph.output) and all(map(_is_tensor, graph.output)):
        return
    _assign(graph.output, outputs)
    _assign(graph.value_info, [value for value in graph.value_info if _is_tensor(value)])
    _drop_unused_maps(graph)


def stored_class_names(model: ir.Model) -> list[str] | None:
    """Return the class names that `replace_map_outputs` found.

    Args:
        model: The graph of the model.

    Returns:
        The names in the order of the scores; None if the model's file holds none.
    """
    recorded = model.metadata_props.get(CLASS_NAMES)
    try:
        names = None if recorded is None else json.loads(recorded)
    except (ValueError, RecursionError):  # the key may have been in the file before
        return None
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if valid else None


def _is_tensor(value: onnx.ValueInfoProto) -> bool:
    return value.type.WhichOneof("value") in (None, "tensor_type")


def _before_map(
    node: onnx.NodeProto | None, producers: Mapping[str, onnx.NodeProto]
) -> tuple[list[str], list[str]]:
    """The tensors that a map or sequence is made of, and the class names in its attributes."""
    inserted: list[str] = []
    for _ in range(_LONGEST_SEQUENCE):
        if node is None or node.op_type != "SequenceInsert" or len(node.input) < 2:
            break
        inserted.insert(0, node.input[1])
        node = producers.get(node.input[0])
    if node is not None and node.op_type == "SequenceConstruct":
        return [*node.input, *inserted], []
    if node is None or node.op_type != "ZipMap" or not node.input:
        return inserted, []
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.strings:
            return [node.input[0]], [t.decode("utf-8", "replace") for t in attribute.strings]
    return [node.input[0]], []


def _keep_class_names(proto: onnx.ModelProto, names: list[str]) -> None:
    _assign(proto.metadata_props, [e for e in proto.metadata_props if e.key != CLASS_NAMES])
    entry = proto.metadata_props.add()
    entry.key, entry.value = CLASS_NAMES, json.dumps(names)


def _drop_unused_maps(graph: onnx.GraphProto) -> None:
    """Remove the nodes that made the dropped outputs."""
    used = {value.name for value in graph.output}
    makers = ("ZipMap", "SequenceConstruct", "SequenceInsert", "SequenceEmpty")
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if node.op_type not in makers or any(name in used for name in node.output):
            kept.insert(0, node)
            used.update(node.input)
    _assign(graph.node, kept)


def _assign(field: object, items: list) -> None:  # type: ignore[type-arg]
    """Replace what a repeated protobuf field holds."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]
