"""Replace values that do not depend on any input by initializers."""

from __future__ import annotations

import logging
import math

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from adcc_onnx.graph.autodiff.gradient import CONTROL_FLOW

# onnxscript logs every operator that it does not fold.
logging.getLogger("onnxscript").setLevel(logging.ERROR)

# In elements.
_MAX_FOLDED, _MAX_CONSTANT_OF_SHAPE = 2**18, 64


def fold_constants(model: ir.Model) -> None:
    """Replace values that do not depend on any input by initializers of the same names; in place.

    onnxscript folds a clone of the model, and only the constants are taken over: it also removes
    and merges nodes, and layers would disappear.
    """
    folded = model.clone()
    # As outputs, the conditions of control flow survive; onnxscript would remove them.
    folded.graph.outputs.extend(_conditions(folded.graph))
    optimizer.fold_constants(folded, onnx_shape_inference=True, should_fold=_should_fold)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    constants = folded.graph.initializers
    used = [node for node in model.graph if _is_used(node)]
    for node in used:
        for value in node.outputs:
            constant = constants.get(value.name or "")
            if constant is None or constant.const_value is None or value.is_graph_output():
                continue
            initializer = ir.val(f"{value.name}", const_value=constant.const_value)
            value.name = f"{value.name}/computed"
            model.graph.register_initializer(initializer)
            value.replace_all_uses_with(initializer)
    # Nodes that no output needed in the first place stay: users may name them as layers.
    for node in reversed(used):
        if not _is_used(node):
            model.graph.remove(node, safe=True)


def _should_fold(node: ir.Node) -> bool | None:
    """Decide whether onnxscript folds a node; None leaves the decision to onnxscript.

    Large results are never computed: onnxscript checks a size only after the computation. It does
    not fold ConstantOfShape by itself, so short ones are requested here.
    """
    shapes = [value.shape for value in node.outputs]
    sizes = [math.prod(s.numpy()) for s in shapes if s is not None and s.is_static()]
    if max(sizes, default=0) > _MAX_FOLDED:
        return False
    if node.op_type != "ConstantOfShape" or node.inputs[0] is None:
        return None
    shape = node.inputs[0].const_value
    return (shape is not None and int(np.prod(shape.numpy())) <= _MAX_CONSTANT_OF_SHAPE) or None


def _conditions(graph: ir.Graph) -> list[ir.Value]:
    """Return the computed values that decide control flow."""
    inputs = (value for node in graph if node.op_type in CONTROL_FLOW for value in node.inputs[:2])
    computed = (v for v in inputs if v is not None and v.producer() is not None)
    return list(dict.fromkeys(v for v in computed if not v.is_graph_output()))


def _is_used(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)
