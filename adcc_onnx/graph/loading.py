"""From a file to a graph that the rest can work on, with every tensor still under its own name.

`read_model` parses safely; `prepare` brings any model to one form: operators of opset 18 or later,
no local functions, no control flow that is known beforehand, constants as initializers, shapes
inferred. Values that depend on the image keep their names and their place: the constant folder is
only asked what is constant.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes import common
from onnxscript import optimizer

from adcc_onnx.errors import ExternalDataError, ModelError, NotAModelError
from adcc_onnx.graph.control import CONTROL_FLOW, resolve_control_flow
from adcc_onnx.graph.custom_shapes import infer_custom_shapes
from adcc_onnx.graph.dequantise import dequantise
from adcc_onnx.graph.upgrade import upgrade_opset

# The folder reports each operator it leaves alone; users are not its audience.
logging.getLogger("onnxscript").setLevel(logging.ERROR)
logging.getLogger("onnx_ir").setLevel(logging.ERROR)

# Branches within branches; each round of resolving opens one more.
_NESTED_CONTROL_FLOW = 16
_SHORT = 64  # elements


def read_model(path: str | Path) -> ir.Model:
    """Parse an ONNX file; external weights are found beside it, and nowhere else.

    Raises:
        NotAModelError: no such file, or no ONNX model in it.
        ExternalDataError: external weights are missing, cut short or outside the model's folder.
    """
    path = Path(path)
    if not path.is_file():
        raise NotAModelError(f"no such model file: {path}")
    try:
        model = ir.load(path)
    except (DecodeError, ValueError, TypeError, KeyError, OSError) as error:
        raise NotAModelError(
            f"{path} is not an ONNX model, or is cut short ({_brief(error)})"
        ) from error
    if not model.graph.num_nodes() or not model.opset_imports:
        raise NotAModelError(f"{path} is not an ONNX model: it holds no operators")
    _check_external_data(model, path)
    return model


def prepare(model: ir.Model) -> ir.Model:
    """The same model in the form all later steps expect (see the module); changed in place.

    Raises:
        ModelError: the graph is malformed, or its operators cannot be raised to opset 18.
    """
    try:
        common.RemoveInitializersFromInputsPass()(model)
        if model.functions:
            common.InlinePass()(model)
        model = upgrade_opset(model)
        _simplify(model)
        # What has become constant may decide further branches.
        for _ in range(_NESTED_CONTROL_FLOW):
            if not resolve_control_flow(model):
                break
            _simplify(model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the model's graph is malformed ({_brief(error)})") from error
    return model


def _simplify(model: ir.Model) -> None:
    """Constants as initializers, quantised operators as real ones, shapes where they are known."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    dequantise(model)
    model.graph.sort()
    infer_shapes(model)
    replace_constants(model)
    infer_shapes(model)


def infer_shapes(model: ir.Model) -> None:
    """Infer what shapes can be inferred, in place; what cannot stays unknown."""
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    infer_custom_shapes(model)


def replace_constants(model: ir.Model) -> None:
    """Turn values that do not depend on any input into initializers, under their own names.

    The folder also removes and redirects nodes, which would lose layers: it works on a clone.
    """
    folded = model.clone()
    # The folder would choose branches itself, and lose the conditions that tell us which.
    folded.graph.outputs.extend(_conditions(folded.graph))
    optimizer.fold_constants(folded, onnx_shape_inference=True, should_fold=_is_short_fill)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    constants = folded.graph.initializers
    used = [node for node in model.graph if _is_used(node)]
    for node in used:
        for value in node.outputs:
            known = constants.get(value.name or "")
            if known is None or known.const_value is None or value.is_graph_output():
                continue
            initializer = ir.val(f"{value.name}", const_value=known.const_value)
            value.name = f"{value.name}/computed"
            model.graph.register_initializer(initializer)
            value.replace_all_uses_with(initializer)
    # Nodes that no output needed in the first place stay: they can be asked for by name.
    for node in reversed(used):
        if not _is_used(node):
            model.graph.remove(node, safe=True)


def _is_short_fill(node: ir.Node) -> bool | None:
    """ConstantOfShape, which the folder leaves alone by itself, where it makes a shape or so."""
    if node.op_type != "ConstantOfShape" or node.inputs[0] is None:
        return None
    shape = node.inputs[0].const_value
    return (shape is not None and int(np.prod(shape.numpy())) <= _SHORT) or None


def _conditions(graph: ir.Graph) -> list[ir.Value]:
    """What control flow depends on."""
    inputs = (value for node in graph if node.op_type in CONTROL_FLOW for value in node.inputs[:2])
    computed = (v for v in inputs if v is not None and v.producer() is not None)
    return list(dict.fromkeys(v for v in computed if not v.is_graph_output()))


def _is_used(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


def _check_external_data(model: ir.Model, path: Path) -> None:
    """Touch every external tensor once: what is missing or points elsewhere must fail here."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if not isinstance(tensor, ir.ExternalTensor):
            continue
        try:
            tensor.numpy()
        except Exception as error:
            raise ExternalDataError(
                f"{path}: the external weights '{tensor.location}' of '{value.name}' cannot be "
                f"read from the model's folder ({_brief(error)})"
            ) from error


def _brief(error: BaseException) -> str:
    """The first line of an error's text, for the end of ours."""
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as protobuf."""
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto
