"""Replace the outputs of a model that are maps or sequences by the tensors that they are made of.

Azure Custom Vision and sklearn-onnx end a classifier in a `ZipMap`: a map from class name to score
per image. The scores are the input of that node, and its attributes are the class names. Nothing
else in this package can represent a value that is not a tensor.
"""

from __future__ import annotations

import json

import onnx
import onnx_ir as ir

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
        scores, names = _before_map(producers.get(output.name))
        if scores and scores not in {known.name for known in [*outputs, *graph.output]}:
            outputs.append(onnx.helper.make_empty_tensor_value_info(scores))
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


def _before_map(node: onnx.NodeProto | None) -> tuple[str, list[str]]:
    """The tensor that a map or sequence is made of, and the class names in its attributes."""
    if node is None or not node.input:
        return "", []
    if node.op_type != "ZipMap":
        # A sequence of one tensor, as SequenceConstruct makes it.
        single = node.op_type == "SequenceConstruct" and len(node.input) == 1
        return (node.input[0] if single else ""), []
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.strings:
            return node.input[0], [text.decode("utf-8", "replace") for text in attribute.strings]
    return node.input[0], []


def _keep_class_names(proto: onnx.ModelProto, names: list[str]) -> None:
    _assign(proto.metadata_props, [e for e in proto.metadata_props if e.key != CLASS_NAMES])
    entry = proto.metadata_props.add()
    entry.key, entry.value = CLASS_NAMES, json.dumps(names)


def _drop_unused_maps(graph: onnx.GraphProto) -> None:
    """Remove the nodes that made the dropped outputs."""
    used = {value.name for value in graph.output} | {i for node in graph.node for i in node.input}
    makers = ("ZipMap", "SequenceConstruct", "SequenceInsert", "SequenceEmpty")
    kept = [
        node
        for node in graph.node
        if node.op_type not in makers or any(name in used for name in node.output)
    ]
    _assign(graph.node, kept)


def _assign(field: object, items: list) -> None:  # type: ignore[type-arg]
    """Replace what a repeated protobuf field holds."""
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del field[:]  # type: ignore[attr-defined]
    field.extend(copies)  # type: ignore[attr-defined]
