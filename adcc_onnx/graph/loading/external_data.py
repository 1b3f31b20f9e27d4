"""Load weights stored in files next to the model, and only from the model's own folder."""

from __future__ import annotations

import stat
from pathlib import Path

import onnx_ir as ir

from adcc_onnx.errors import ExternalDataError, first_line
from adcc_onnx.graph.loading.weights import (
    all_graphs,
    external_tensors,
    replace_attributes,
    replace_weights,
)

_MAX_SMALL_TENSOR = 8192  # in bytes


def load_external_data(model: ir.Model, path: Path) -> None:
    """Check every external tensor of a model, and load the small ones.

    The weights of the main graph may be large and stay in their files; all other external tensors
    are loaded into memory.

    Args:
        model: The model, changed in place.
        path: The path of the model's file.

    Raises:
        ExternalDataError: A file is missing, truncated, not a regular file, or outside the folder.
    """
    for tensor in external_tensors(model):
        # The parser sets this folder for some tensors only; a tensor without it is not checked.
        tensor.base_dir = path.parent.absolute()
        try:
            _check_tensor(tensor)
        except Exception as error:
            raise ExternalDataError(
                f"{path}: the external weights '{tensor.location}' of '{tensor.name}' cannot be "
                f"read from the model's folder ({first_line(error)})"
            ) from error
    for graph in all_graphs(model):
        replace_weights(graph, load_tensor if graph is not model.graph else _load_small_tensor)
        replace_attributes(graph, load_tensor)


def load_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Load an external tensor into memory; other tensors are returned as they are."""
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.external_data.convert_tensors_from_external([tensor])[0]


def _load_small_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Load what may be a shape or an axis: libraries that read the graph need its values."""
    if not isinstance(tensor, ir.ExternalTensor) or tensor.nbytes > _MAX_SMALL_TENSOR:
        return tensor
    return load_tensor(tensor)


def _check_tensor(tensor: ir.ExternalTensor) -> None:
    # The type of the file is checked before it is opened: a pipe would block forever.
    status = Path(tensor.path).stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if tensor.length is not None and tensor.length != tensor.nbytes:
        raise ValueError(
            f"its length is {tensor.length} bytes, but its shape needs {tensor.nbytes} bytes"
        )
    if (tensor.offset or 0) + tensor.nbytes > status.st_size:
        raise ValueError(f"the file ends after {status.st_size} bytes")
    tensor.numpy()
