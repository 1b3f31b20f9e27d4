"""Gradient rules: one vector-Jacobian product per operator and input, one file per operator family.

A rule is a function ``(g, n) -> Tensor``: `g` is the gradient of the score with respect to the
operator's output, and `n` is the `Call` of the forward node (``n[0]`` is its first input, ``n.y``
its output). It returns the gradient with respect to one input, of the shape of that input. The rule
of an operator that broadcasts may return the shape of the output: the gradient of broadcasting is
computed in `broadcast` for all operators.

In the docstrings of the rules, dx is the gradient of the score with respect to x.
"""

from __future__ import annotations

from adcc_onnx.graph.autodiff.rules.rule_registry import (
    NO_GRADIENT,
    STRAIGHT_THROUGH,
    find_rule,
    supported_operators,
)

__all__ = ["NO_GRADIENT", "STRAIGHT_THROUGH", "find_rule", "supported_operators"]
