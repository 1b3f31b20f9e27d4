"""From a file to a graph that the rest can work on, with every tensor still under its own name.

`read_model` parses safely; `prepare` brings any model to one form: operators of opset 18 or later,
no local functions, no control flow that is known beforehand, constants as initializers, shapes
inferred. Values that depend on the image keep their names and their place: the constant folder is
only asked what is constant.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from adcc_onnx.errors import ModelError, NotAModelError, first_line
from adcc_onnx.graph.control import CONTROL_FLOW, require_end, resolve_control_flow
from adcc_onnx.graph.custom_shapes import infer_custom_shapes
from adcc_onnx.graph.dequantise import dequantise
from adcc_onnx.graph.external import settle_external_data
from adcc_onnx.graph.upgrade import upgrade_opset
from adcc_onnx.graph.validation import (
    require_consistent,
    require_in_memory,
    require_moderate,
    require_sound,
)
from adcc_onnx.graph.vectors import longest_vector
from adcc_onnx.graph.weights import take_from_protobuf

# The folder reports each operator it leaves alone; users are not its audience.
logging.getLogger("onnxscript").setLevel(logging.ERROR)
logging.getLogger("onnx_ir").setLevel(logging.ERROR)

# Branches within branches; each round of resolving opens one more.
_NESTED_CONTROL_FLOW = 16
_SHORT, _MOST_FOLDED, _MOST_NUMBERS = 64, 2**18, 2**16  # elements


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
            f"{path} is not an ONNX model, or is cut short ({_brief(error)})"
        ) from error
    if not model.graph.num_nodes() or not model.opset_imports:
        raise NotAModelError(f"{path} is not an ONNX model: it holds no operators")
    settle_external_data(model, path)
    require_sound(model)
    take_from_protobuf(model)
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
        raise ModelError(f"the model is malformed ({_brief(error)})") from error
    require_in_memory(model)
    require_sound(model)
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
            require_end(model.graph)
            if not resolve_control_flow(model):
                break
            _simplify(model)
        require_consistent(model)
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
    require_moderate(model)
    replace_constants(model)
    infer_shapes(model)
    require_moderate(model)


def infer_shapes(model: ir.Model) -> None:
    """Infer what shapes can be inferred, in place; what cannot stays unknown."""
    through_values = longest_vector(model.graph) <= _MOST_NUMBERS
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=through_values)(model)
    infer_custom_shapes(model)


def replace_constants(model: ir.Model) -> None:
    """Turn values that do not depend on any input into initializers, under their own names.

    The folder also removes and redirects nodes, which would lose layers: it works on a clone.
    """
    folded = model.clone()
    # The folder would choose branches itself, and lose the conditions that tell us which.
    folded.graph.outputs.extend(_conditions(folded.graph))
    optimizer.fold_constants(folded, onnx_shape_inference=True, should_fold=_should_fold)
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


def _should_fold(node: ir.Node) -> bool | None:
    """Nothing large is computed; a ConstantOfShape, which the folder leaves alone, if it is short.

    The folder looks at the size of what it has computed only afterwards.
    """
    shapes = [value.shape for value in node.outputs]
    sizes = [math.prod(s.numpy()) for s in shapes if s is not None and s.is_static()]
    if max(sizes, default=0) > _MOST_FOLDED:
        return False
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


def _brief(error: BaseException) -> str:
    """The first line of the cause's text, for the end of ours."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)[:200]


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as protobuf."""
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto
