"""The tensors that a model holds: finding all of them, and working on the graph without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnx
import onnx_ir as ir

Change = Callable[[ir.TensorProtocol], ir.TensorProtocol]

# Of elements that NumPy and onnxruntime lay out alike, in whole bytes.
ARRAY_TYPES = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT8}
SMALL = 1024  # bytes; smaller weights may be shapes and axes, which the graph must hold itself
_ELSEWHERE = "in memory"  # the name of a file that is never opened


def external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Every external tensor of a model: weights and attributes, in functions and branches too."""
    return (t for t in all_tensors(model) if isinstance(t, ir.ExternalTensor))


def all_tensors(model: ir.Model) -> Iterator[ir.TensorProtocol]:
    """Every tensor that a model holds."""
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
    """The model's graph, the bodies of its functions, and all graphs within them."""
    yield from model.graphs()
    for function in model.functions.values():
        yield function.graph
        yield from function.subgraphs()


def replace_weights(graph: ir.Graph, change: Change) -> None:
    """Replace the initializers of a graph, in place."""
    for value in graph.initializers.values():
        if value.const_value is not None:
            value.const_value = change(value.const_value)


def replace_attributes(graph: ir.Graph, change: Change) -> None:
    """Replace the tensors among the attributes of a graph's nodes, in place."""
    for node in graph:
        for name, old in list(node.attributes.items()):
            if old.is_ref():
                continue
            if old.type == ir.AttributeType.TENSOR:
                node.attributes[name] = ir.AttrTensor(name, change(old.value), old.doc_string)
            elif old.type == ir.AttributeType.TENSORS:
                changed = [change(tensor) for tensor in old.value]
                node.attributes[name] = ir.AttrTensors(name, changed, old.doc_string)


def materialize(model: ir.Model) -> None:
    """Give every tensor memory of its own, in place.

    A tensor within protobuf is copied at every look at its values, and keeps the whole file in
    memory as long as it is there itself.
    """
    for graph in all_graphs(model):
        replace_weights(graph, _taken)
        replace_attributes(graph, _taken)


def _taken(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if not isinstance(tensor, ir.TensorProtoTensor):
        return tensor
    if tensor.nbytes > SMALL and tensor.dtype in ARRAY_TYPES:
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
    model: ir.Model, chosen: Callable[[ir.TensorProtocol], bool] = lambda tensor: True
) -> Iterator[dict[str, ir.TensorProtocol]]:
    """Within the context, large weights are no more than their type and shape.

    Protobuf ends at 2 GiB, and what looks at the graph alone need not copy its weights.

    Args:
        model: changed in place, and changed back at the end.
        chosen: which of the large ones.

    Yields:
        The weights set aside, by name.
    """
    initializers = model.graph.initializers
    aside = {
        name: tensor
        for name, value in initializers.items()
        if (tensor := value.const_value) is not None and tensor.nbytes > SMALL and chosen(tensor)
    }
    for name, tensor in aside.items():
        shape = ir.Shape(tensor.shape.numpy())
        initializers[name].const_value = ir.ExternalTensor(
            _ELSEWHERE, 0, tensor.nbytes, tensor.dtype, shape=shape, name=name
        )
    try:
        yield aside
    finally:
        for name, tensor in aside.items():
            initializers[name].const_value = tensor
