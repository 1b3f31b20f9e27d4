"""From a graph to a file, or to a model in memory."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError

_MOST_IN_ONE_FILE = 2**31 - 2**24  # bytes of weights: protobuf ends at 2 GiB, the graph needs some


def save(model: onnx.ModelProto | ir.Model, path: str | Path) -> None:
    """Write a model; weights of 2 GiB and more go to a file `NAME.data` beside it.

    Raises:
        ModelError: the file cannot be written.
    """
    graph = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    path = Path(path)
    size = sum(v.const_value.nbytes for v in graph.graph.initializers.values() if v.const_value)
    try:
        if size < _MOST_IN_ONE_FILE:
            ir.save(with_weights(graph), path)
        else:
            ir.save(graph, path, external_data=f"{path.name}.data")
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror or error}") from error


def with_weights(model: ir.Model) -> ir.Model:
    """The model with all its weights in memory."""
    ir.external_data.load_to_model(model)
    return model


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as protobuf."""
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto
