"""Gradient rules: one vector-Jacobian product an operator and argument, a file a family.

A rule is a function ``(g, n) -> Tensor``: `g` is the gradient of the score with respect to the
operator's output, `n` the `Call` it belongs to (``n[0]`` its first input, ``n.y`` its output); it
returns the gradient with respect to one input, of that input's shape. For an operator that
broadcasts, it may return the output's shape: un-broadcasting is done by the engine, once for all.
"""

from __future__ import annotations

from adcc_onnx.graph.autodiff.rules.rule_registry import (
    NO_GRADIENT,
    STRAIGHT_THROUGH,
    find_rule,
    supported_operators,
)

__all__ = ["NO_GRADIENT", "STRAIGHT_THROUGH", "find_rule", "supported_operators"]
