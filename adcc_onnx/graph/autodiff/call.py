"""The view that gradient rules have of a forward node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.graph.autodiff.builder import Builder, Dim, Tensor, dims_of


class UnsupportedNodeError(Exception):
    """A rule does not support this node; the message is the reason, without the node's name."""


class Call:
    """Forward node with its inputs and outputs as tensors, its attributes and its known shapes.

    Attributes:
        builder: Builder of the gradient graph.
        node: Forward node.
        gradients: Gradient of the score with respect to each output, None for an output that the
            score does not depend on.
    """

    def __init__(
        self, builder: Builder, node: ir.Node, gradients: list[Tensor | None] | None = None
    ) -> None:
        self.builder = builder
        self.node = node
        self.gradients = gradients or []

    def __getitem__(self, index: int) -> Tensor:
        """Return an input, cast to float32 if the model computes it in lower precision."""
        return self.builder.upcast(self._input(index))

    def __len__(self) -> int:
        return len(self.node.inputs)

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self[0]

    @property
    def y(self) -> Tensor:
        """The first output."""
        return self.output(0)

    def output(self, index: int) -> Tensor:
        """Return an output, cast to float32 if the model computes it in lower precision."""
        return self.builder.upcast(self.node.outputs[index])

    def has(self, index: int) -> bool:
        """Return whether the optional input number `index` is present."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the value of an attribute as a Python object, `default` if it is not set."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        return list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value

    def dims(self, index: int) -> tuple[Dim, ...] | None:
        """Return the shape of an input as far as it is known, see `dims_of`."""
        return dims_of(self._input(index))

    def rank(self, index: int = 0) -> int:
        """Return the rank of an input.

        Raises:
            UnsupportedNodeError: The rank is unknown.
        """
        dims = self.dims(index)
        if dims is None:
            raise UnsupportedNodeError(
                f"the rank of its input '{self._input(index).name}' is unknown"
            )
        return len(dims)

    def size(self, axis: int, index: int = 0) -> int:
        """Return the fixed size of one axis of an input.

        Raises:
            UnsupportedNodeError: The size is symbolic or unknown.
        """
        dims = self.dims(index)
        size = None if dims is None else dims[axis]
        if not isinstance(size, int):
            raise UnsupportedNodeError(
                f"the size of axis {axis} of its input '{self._input(index).name}' is not fixed"
            )
        return size

    def axis(self, default: int) -> int:
        """Return the attribute `axis` as a nonnegative number."""
        axis = int(self.attribute("axis", default))
        return axis + self.rank() if axis < 0 else axis

    def constant_value(self, index: int) -> NDArray[Any]:
        """Return the value of an input that must be constant (axes, pads).

        Raises:
            UnsupportedNodeError: The input is not constant.
        """
        constant = ir.convenience.get_const_tensor(self._input(index))
        if constant is None:
            raise UnsupportedNodeError(f"its input '{self._input(index).name}' is not constant")
        return np.asarray(constant.numpy())

    def constant_ints(self, index: int, attribute: str) -> list[int] | None:
        """Return integers from an optional constant input or, in older opsets, an attribute.

        Raises:
            UnsupportedNodeError: The input is present but not constant.
        """
        if self.has(index):
            return [int(i) for i in self.constant_value(index).reshape(-1)]
        values = self.attribute(attribute)
        return None if values is None else [int(i) for i in values]

    def _input(self, index: int) -> ir.Value:
        value = self.node.inputs[index]
        assert value is not None
        return value


class DetachedNode(Call):
    """Node whose inputs are replaced by leaf tensors that do not depend on other nodes.

    A decomposition of this node is a function of the leaves alone, so it can be differentiated on
    its own.

    Attributes:
        leaves: Replacement of each replaced input, by index.
    """

    def __init__(self, builder: Builder, node: ir.Node, leaves: dict[int, Tensor]) -> None:
        super().__init__(builder, node)
        self.leaves = leaves

    def _input(self, index: int) -> ir.Value:
        leaf = self.leaves.get(index)
        return super()._input(index) if leaf is None else leaf.value
