"""Bring any model to the one form that all later steps expect.

Afterwards the operators are of opset 18 or later, there are no local functions and no control flow
that is known beforehand, constants are initializers, and shapes are inferred. Values that depend on
the image keep their names and their place.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from adcc_onnx.errors import ModelError, root_cause
from adcc_onnx.graph.loading.checks import check_divisors, check_shapes, check_sizes
from adcc_onnx.graph.passes.control_flow import check_loops, resolve_control_flow
from adcc_onnx.graph.passes.dequantize import dequantize
from adcc_onnx.graph.passes.fold_constants import replace_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.inference_mode import fix_random_operators, use_inference_mode
from adcc_onnx.graph.passes.upgrade_opset import upgrade_opset

# Branches within branches; each round of resolving opens one more.
_NESTED_CONTROL_FLOW = 16


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
            check_loops(model.graph)
            if not resolve_control_flow(model):
                break
            _simplify(model)
        fix_random_operators(model)
        check_shapes(model)
        check_divisors(model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the model's graph is malformed ({root_cause(error)})") from error
    return model


def _simplify(model: ir.Model) -> None:
    """Constants as initializers, quantized operators as real ones, shapes where they are known."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    use_inference_mode(model)
    dequantize(model)
    model.graph.sort()
    infer_shapes(model)
    check_sizes(model)
    replace_constants(model)
    infer_shapes(model)
    check_sizes(model)
