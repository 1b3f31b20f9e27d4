"""Write a graph to a file, or convert it to protobuf."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

# In bytes of weights: protobuf is limited to 2 GiB, and the graph itself needs some of them.
_MAX_EMBEDDED_WEIGHTS = 2**31 - 2**24


def save(model: onnx.ModelProto | ir.Model, path: str | Path) -> None:
    """Write a model to a file.

    Args:
        model: The model.
        path: The path of the file. If the weights take 2 GiB or more, they are written to the
            file `NAME.data` in the same folder.

    Raises:
        OSError: The file cannot be written.
    """
    ir_model = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model
    path = Path(path)
    weights = ir_model.graph.initializers.values()
    size = sum(value.const_value.nbytes for value in weights if value.const_value)
    if size < _MAX_EMBEDDED_WEIGHTS:
        ir.save(with_weights(ir_model), path)
    else:
        ir.save(ir_model, path, external_data=data_file(path).name)


def data_file(path: Path) -> Path:
    """Return the file in the same folder that the weights of a large model go to."""
    return path.with_name(f"{path.name}.data")


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Convert a model to protobuf; external weights stay external."""
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto


def with_weights(model: ir.Model) -> ir.Model:
    """Load all external weights into memory, in place; returns the model."""
    ir.external_data.load_to_model(model)
    return model
