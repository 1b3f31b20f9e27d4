"""Remove what the outputs of a model do not need."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def prune(model: ir.Model) -> None:
    """Remove unused nodes and weights, and merge equal weights, in place."""
    common.RemoveUnusedNodesPass()(model)
    common.DeduplicateInitializersPass()(model)
    for name, value in list(model.graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[name]
