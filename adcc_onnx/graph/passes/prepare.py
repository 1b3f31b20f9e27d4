"""Bring any model into the form that all later steps expect.

In that form, the operators are of opset 18 or later, local functions are inlined, control flow that
does not depend on the image is resolved, quantized operators are dequantized, constants are
initializers, and shapes are inferred. Values that depend on the image keep their names.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from adcc_onnx.errors import ModelError, root_cause
from adcc_onnx.graph.loading.checks import check_divisors, check_shapes, check_sizes
from adcc_onnx.graph.passes.control_flow import check_loops, resolve_control_flow
from adcc_onnx.graph.passes.dequantize import dequantize
from adcc_onnx.graph.passes.fold_constants import fold_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.inference_mode import fix_random_operators, use_inference_mode
from adcc_onnx.graph.passes.machine_learning import rewrite_machine_learning
from adcc_onnx.graph.passes.old_operators import rewrite_old_operators
from adcc_onnx.graph.passes.strided_views import rewrite_strided_views
from adcc_onnx.graph.passes.upgrade_opset import upgrade_opset

# Each round of resolving opens one level of nested control flow.
_MAX_NESTING = 16


def prepare(model: ir.Model) -> ir.Model:
    """Bring a model into the prepared form.

    Args:
        model: The model as it was read; it is changed in place.

    Returns:
        The prepared model, which may be another object.

    Raises:
        ModelError: The graph is malformed, or its operators cannot be upgraded to opset 18.
    """
    try:
        common.RemoveInitializersFromInputsPass()(model)
        if model.functions:
            common.InlinePass()(model)
        rewrite_old_operators(model)
        model = upgrade_opset(model)
        _simplify(model)
        # The new constants may decide further branches.
        for _ in range(_MAX_NESTING):
            check_loops(model.graph)
            if not resolve_control_flow(model):
                break
            _simplify(model)
        rewrite_strided_views(model)
        fix_random_operators(model)
        check_shapes(model)
        check_divisors(model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the model's graph is malformed ({root_cause(error)})") from error
    return model


def _simplify(model: ir.Model) -> None:
    """Lift and fold constants, dequantize operators and infer shapes, in place."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    use_inference_mode(model)
    rewrite_machine_learning(model)
    dequantize(model)
    model.graph.sort()
    infer_shapes(model)
    check_sizes(model)
    fold_constants(model)
    infer_shapes(model)
    check_sizes(model)
