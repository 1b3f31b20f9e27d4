"""Read a model from an ONNX file or from memory, and check it."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, NotAModelError, root_cause
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.loading.checks import check_model, check_no_external_data
from adcc_onnx.graph.loading.external_data import load_external_data
from adcc_onnx.graph.loading.file_description import attach_description, files_of
from adcc_onnx.graph.loading.file_kinds import describe_folder, describe_other_format
from adcc_onnx.graph.loading.map_outputs import replace_map_outputs
from adcc_onnx.graph.loading.weights import all_graphs, materialize

logging.getLogger("onnx_ir").setLevel(logging.ERROR)


def read_model(path: str | Path) -> ir.Model:
    """Read and check an ONNX file; its external weights must be in the same folder.

    Args:
        path: The path of the file.

    Raises:
        NotAModelError: The file does not exist, or does not hold an ONNX model.
        ExternalDataError: External weights are missing, truncated or outside the model's folder.
        ModelError: The model is malformed; see `checks.check_model`.
    """
    path = Path(path)
    if path.is_dir():
        raise NotAModelError(f"{path} {describe_folder(path)}")
    if not path.is_file():
        raise NotAModelError(f"no such model file: {path}")
    try:
        proto = onnx.load(path, load_external_data=False)
        model = _to_graph(proto, path)
    except Exception as error:  # parsers raise all kinds of exceptions for arbitrary bytes
        other = describe_other_format(path)
        reason = other or f"is not an ONNX model, or it is truncated ({root_cause(error)})"
        raise NotAModelError(f"{path} {reason}") from error
    if not model.graph.num_nodes() or not model.opset_imports:
        reason = describe_other_format(path) or "is not an ONNX model: it has no operators"
        raise NotAModelError(f"{path} {reason}")
    load_external_data(model, path)
    check_model(model)
    materialize(model)
    return model


def find_files(path: str | Path) -> tuple[Path, ...]:
    """Return a model's file and the files of its external weights, without reading the weights.

    Args:
        path: The path of the file; a file that cannot be parsed stands for itself.
    """
    try:
        return files_of(ir.from_proto(onnx.load(path, load_external_data=False)), Path(path))
    except Exception:  # `read_model` says what is wrong with it
        return (Path(path),)


def read_proto(proto: onnx.ModelProto) -> ir.Model:
    """Read and check a model in memory.

    Args:
        proto: The model, with all its weights.

    Raises:
        ModelError: The model is malformed.
        ExternalDataError: Some of its weights are in external files.
    """
    try:
        model = _to_graph(proto)
    except Exception as error:
        raise ModelError(f"the model is malformed ({root_cause(error)})") from error
    check_no_external_data(model)
    check_model(model)
    return model


def _to_graph(proto: onnx.ModelProto, path: Path | None = None) -> ir.Model:
    """The graph of a parsed model, without outputs that are no tensors and sizes of -1."""
    original = proto
    if any(value.type.WhichOneof("value") != "tensor_type" for value in proto.graph.output):
        proto = onnx.ModelProto.FromString(proto.SerializeToString())
        replace_map_outputs(proto)
    model = ir.from_proto(proto)
    attach_description(model, original, path)
    for graph in all_graphs(model):
        values = (value for node in graph for value in node.outputs)
        for value in itertools.chain(graph.inputs, values):
            _forget_unknown_sizes(value)
    return model


def _forget_unknown_sizes(value: ir.Value) -> None:
    """A size of -1 means that the size is unknown (Paddle writes it so)."""
    dims = dims_of(value)
    if dims is not None and -1 in dims:
        value.shape = ir.Shape([None if size == -1 else size for size in dims])
