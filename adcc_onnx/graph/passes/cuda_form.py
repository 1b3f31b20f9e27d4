"""Rewrite a graph so that all of its operators have correct CUDA kernels."""

from __future__ import annotations

import onnx_ir as ir


def to_cuda_form(model: ir.Model) -> None:
    """Rewrite a graph in place."""
