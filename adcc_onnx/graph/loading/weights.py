"""Iterate over the tensors of a model, replace them, and work on a graph without its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

Replacement = Callable[[ir.TensorProtocol], ir.TensorProtocol]

# Types with the same memory layout in NumPy and onnxruntime, in whole bytes per element.
ARRAY_TYPES = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT8}
# In bytes; smaller tensors may be shapes or axes, which must stay in the graph.
_MAX_SMALL_TENSOR = 1024
_DETACHED_LOCATION = "in memory"  # a file name in the place of detached weights; never opened


def external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Yield every external tensor of a model, in functions and subgraphs too."""
    return (t for t in all_tensors(model) if isinstance(t, ir.ExternalTensor))


def all_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Yield every tensor of a model: initializers and attributes."""
    for graph in all_graphs(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.is_ref():
                    continue
                if attribute.type == ir.AttributeType.TENSOR:
                    yield attribute.value
                elif attribute.type == ir.AttributeType.TENSORS:
                    yield from attribute.value


def all_graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the main graph, the bodies of the functions, and the subgraphs of both."""
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.subgraphs()


def replace_weights(graph: ir.Graph, replacement: Replacement) -> None:
    """Replace every initializer of a graph by `replacement(tensor)`, in place."""
    for value in graph.initializers.values():
        if value.const_value is not None:
            value.const_value = replacement(value.const_value)


def replace_attributes(graph: ir.Graph, replacement: Replacement) -> None:
    """Replace every tensor in the node attributes of a graph by `replacement(tensor)`, in place."""
    for node in graph:
        for name, old in list(node.attributes.items()):
            if old.is_ref():
                continue
            if old.type == ir.AttributeType.TENSOR:
                node.attributes[name] = ir.AttrTensor(name, replacement(old.value), old.doc_string)
            elif old.type == ir.AttributeType.TENSORS:
                tensors = [replacement(tensor) for tensor in old.value]
                node.attributes[name] = ir.AttrTensors(name, tensors, old.doc_string)


def materialize(model: ir.Model) -> None:
    """Copy every tensor out of the protobuf message, in place.

    A tensor inside a protobuf message is copied on every access to its values, and keeps the whole
    message in memory.
    """
    for graph in all_graphs(model):
        replace_weights(graph, _without_protobuf)
        replace_attributes(graph, _without_protobuf)


def _without_protobuf(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if not isinstance(tensor, ir.TensorProtoTensor):
        return tensor
    if tensor.nbytes > _MAX_SMALL_TENSOR and tensor.dtype in ARRAY_TYPES:
        return ir.Tensor(
            tensor.numpy(),
            dtype=tensor.dtype,
            name=tensor.name,
            doc_string=tensor.doc_string,
            metadata_props=tensor.metadata_props,
        )
    proto = onnx.TensorProto()
    proto.CopyFrom(tensor.raw)
    return ir.TensorProtoTensor(proto)


@contextmanager
def detached_weights(
    model: ir.Model, select: Callable[[ir.TensorProtocol], bool] = lambda tensor: True
) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Replace large weights by placeholders of the same type and shape inside the context.

    Protobuf messages are limited to 2 GiB, and passes that read only the graph need not copy the
    weights.

    Args:
        model: The model, changed in place and restored at the end.
        select: A predicate on large weights; those for which it is true are detached.

    Yields:
        The detached weights by name.
    """
    initializers = model.graph.initializers
    detached = {
        name: tensor
        for name, value in initializers.items()
        if (tensor := value.const_value) is not None
        and tensor.nbytes > _MAX_SMALL_TENSOR
        and select(tensor)
    }
    for name, tensor in detached.items():
        shape = ir.Shape(tensor.shape.numpy())
        initializers[name].const_value = ir.ExternalTensor(
            _DETACHED_LOCATION, 0, tensor.nbytes, tensor.dtype, shape=shape, name=name
        )
    try:
        yield detached
    finally:
        for name, tensor in detached.items():
            initializers[name].const_value = tensor
