"""From an ONNX file, or a model in memory, to a graph that is safe to work on."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
import onnx_ir as ir

from adcc_onnx.errors import ModelError, NotAModelError, root_cause
from adcc_onnx.graph.loading.checks import check_in_memory, check_model
from adcc_onnx.graph.loading.external_data import load_external_data
from adcc_onnx.graph.loading.weights import materialize

logging.getLogger("onnx_ir").setLevel(logging.ERROR)


def read_model(path: str | Path) -> ir.Model:
    """Parse an ONNX file; external weights are found beside it, and nowhere else.

    Raises:
        NotAModelError: no such file, or no ONNX model in it.
        ExternalDataError: external weights are missing, cut short or outside the model's folder.
        ModelError: it is malformed in another way; see `validation`.
    """
    path = Path(path)
    if not path.is_file():
        raise NotAModelError(f"no such model file: {path}")
    try:
        model = ir.load(path)
    except Exception as error:  # whatever the parsers make of bytes that are no model
        raise NotAModelError(
            f"{path} is not an ONNX model, or is cut short ({root_cause(error)})"
        ) from error
    if not model.graph.num_nodes() or not model.opset_imports:
        raise NotAModelError(f"{path} is not an ONNX model: it holds no operators")
    load_external_data(model, path)
    check_model(model)
    materialize(model)
    return model


def read_proto(proto: onnx.ModelProto) -> ir.Model:
    """A model in memory, with all its weights.

    Raises:
        ModelError: it is malformed.
        ExternalDataError: its weights lie in files.
    """
    try:
        model = ir.from_proto(proto)
    except Exception as error:
        raise ModelError(f"the model is malformed ({root_cause(error)})") from error
    check_in_memory(model)
    check_model(model)
    return model
