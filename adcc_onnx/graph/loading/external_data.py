"""Weights that lie in files beside the model: read from the model's folder and nowhere else."""

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


def load_external_data(model: ir.Model, path: Path) -> None:
    """Check every external tensor; all but the main graph's weights, which may be large, are read.

    Raises:
        ExternalDataError: a file is missing, cut short, no plain file, or outside the folder.
    """
    for tensor in external_tensors(model):
        # The parser gives a folder to some of them only, and without one nothing is checked.
        tensor.base_dir = path.parent.absolute()
        try:
            _check(tensor)
        except Exception as error:
            raise ExternalDataError(
                f"{path}: the external weights '{tensor.location}' of '{tensor.name}' cannot be "
                f"read from the model's folder ({first_line(error)})"
            ) from error
    for graph in all_graphs(model):
        if graph is not model.graph:
            replace_weights(graph, in_memory)
        replace_attributes(graph, in_memory)


def in_memory(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The tensor itself, or what it is read from its file."""
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    return ir.external_data.convert_tensors_from_external([tensor])[0]


def _check(tensor: ir.ExternalTensor) -> None:
    # Before anything is opened: a pipe would wait for ever.
    found = Path(tensor.path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no plain file")
    if tensor.length is not None and tensor.length != tensor.nbytes:
        raise ValueError(f"{tensor.length} bytes are given for {tensor.nbytes} bytes of weights")
    if (tensor.offset or 0) + tensor.nbytes > found.st_size:
        raise ValueError(f"the file ends after {found.st_size} bytes")
    tensor.numpy()
