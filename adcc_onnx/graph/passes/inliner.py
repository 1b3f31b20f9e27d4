"""Replace a control flow node by copies of its bodies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray


class Inliner:
    """Inserts copies of the bodies of one control flow node before it, under unique names."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node = graph, node
        self._name = node.name or node.outputs[0].name or node.op_type
        self._copies = 0

    def insert_copy(self, body: ir.Graph, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
        """Insert a copy of a body.

        Args:
            body: The body.
            inputs: The values that take the place of the body's inputs.

        Returns:
            The outputs of the copy.
        """
        copy = body.clone(allow_outer_scope_values=True)
        prefix = f"{self._name}/{self._copies}/"
        self._copies += 1
        outputs = list(copy.outputs)
        for formal, actual in zip(copy.inputs, inputs, strict=True):
            assert actual is not None
            formal.replace_all_uses_with(actual)
            outputs = [actual if output is formal else output for output in outputs]
        copy.outputs.clear()
        for name, value in list(copy.initializers.items()):
            del copy.initializers[name]
            value.name = prefix + name
            self._graph.register_initializer(value)
        nodes = list(copy)
        for node in nodes:
            copy.remove(node)
            node.name = prefix + (node.name or node.op_type)
            for value in node.outputs:
                value.name = prefix + (value.name or "value")
        self._graph.insert_before(self._node, nodes)
        return outputs

    def constant(self, array: NDArray[np.generic]) -> ir.Value:
        """Return a constant of the graph; equal scalars are stored once."""
        name = f"{self._name}/constant_{array.dtype}_{array}"
        if name in self._graph.initializers:
            return self._graph.initializers[name]
        constant = ir.val(name, const_value=ir.tensor(array))
        self._graph.register_initializer(constant)
        return constant

    def slice_at(self, sequence: ir.Value | None, iteration: int) -> ir.Value:
        """Return the slice of a scan input for one iteration."""
        index = self.constant(np.array(iteration, np.int64))
        return self._append("Gather", [sequence, index], axis=0)

    def stack(self, slices: list[ir.Value]) -> ir.Value:
        """Stack the values of all iterations along a new first axis."""
        axis = self.constant(np.array([0], np.int64))
        rows = [self._append("Unsqueeze", [value, axis]) for value in slices]
        return self._append("Concat", rows, axis=0)

    def replace_node(self, results: Sequence[ir.Value | None]) -> None:
        """Replace the control flow node: the results take over the names of its outputs."""
        for old, new in zip(self._node.outputs, results, strict=True):
            assert new is not None
            # A value from outside the body keeps its own name, so an Identity takes the output's.
            named = self._append("Identity", [new])
            old.replace_all_uses_with(named, replace_graph_outputs=True)
            named.name, old.name = old.name, None
        self._graph.remove(self._node, safe=True)

    def _append(
        self, op_type: str, inputs: Sequence[ir.Value | None], **attributes: int
    ) -> ir.Value:
        node = ir.node(op_type, inputs, attributes=attributes)
        node.name = f"{self._name}/{op_type}_{self._copies}"
        self._copies += 1
        node.outputs[0].name = node.name
        self._graph.insert_before(self._node, node)
        return node.outputs[0]
