"""Read a model from an ONNX file or from memory, and check it."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, NotAModelError, root_cause
from adcc_onnx.graph.loading.checks import check_model, check_no_external_data
from adcc_onnx.graph.loading.external_data import load_external_data
from adcc_onnx.graph.loading.weights import materialize

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
    if not path.is_file():
        raise NotAModelError(f"no such model file: {path}")
    try:
        model = ir.load(path)
    except Exception as error:  # parsers raise all kinds of exceptions for arbitrary bytes
        raise NotAModelError(
            f"{path} is not an ONNX model, or it is truncated ({root_cause(error)})"
        ) from error
    if not model.graph.num_nodes() or not model.opset_imports:
        raise NotAModelError(f"{path} is not an ONNX model: it has no operators")
    load_external_data(model, path)
    check_model(model)
    materialize(model)
    return model


def read_proto(proto: onnx.ModelProto) -> ir.Model:
    """Read and check a model in memory.

    Args:
        proto: The model, with all its weights.

    Raises:
        ModelError: The model is malformed.
        ExternalDataError: Some of its weights are in external files.
    """
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        raise ModelError(f"the model is malformed ({root_cause(error)})") from error
    check_no_external_data(model)
    check_model(model)
    return model
