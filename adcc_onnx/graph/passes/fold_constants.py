"""Turn values that do not depend on any input into initializers, under their own names."""

from __future__ import annotations

import logging
import math

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from adcc_onnx.graph.autodiff.gradient import CONTROL_FLOW

# The constant folder reports each operator that it leaves alone; users are not its audience.
logging.getLogger("onnxscript").setLevel(logging.ERROR)

_SHORT, _MOST_FOLDED = 64, 2**18  # elements


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
