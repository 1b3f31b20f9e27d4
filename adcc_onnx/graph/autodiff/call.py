"""One forward node, as its gradient rule sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.graph.autodiff.builder import Builder, Dim, Tensor, dims_of


class UnsupportedNodeError(Exception):
    """A rule cannot serve this node; the text is the reason, the engine adds which node."""


class Call:
    """A forward node: its inputs and outputs as tensors, its attributes and its static facts.

    Attributes:
        gradients: the gradient of each output, None where the score does not depend on it.
    """

    def __init__(
        self, builder: Builder, node: ir.Node, gradients: list[Tensor | None] | None = None
    ) -> None:
        self.builder = builder
        self.node = node
        self.gradients = gradients or []

    def __getitem__(self, index: int) -> Tensor:
        """Input number `index`, in float32 where the model computes it in lower precision."""
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
        return self.builder.upcast(self.node.outputs[index])

    def has(self, index: int) -> bool:
        """Whether the optional input number `index` is given."""
        return index < len(self.node.inputs) and self.node.inputs[index] is not None

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute as plain Python."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        return list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value

    def dims(self, index: int) -> tuple[Dim, ...] | None:
        """The shape of input number `index` as far as it is known."""
        return dims_of(self._input(index))

    def rank(self, index: int = 0) -> int:
        dims = self.dims(index)
        if dims is None:
            raise UnsupportedNodeError(
                f"the rank of its input '{self._input(index).name}' is unknown"
            )
        return len(dims)

    def size(self, axis: int, index: int = 0) -> int:
        """The fixed size of one axis of an input."""
        dims = self.dims(index)
        size = None if dims is None else dims[axis]
        if not isinstance(size, int):
            raise UnsupportedNodeError(
                f"the size of axis {axis} of its input '{self._input(index).name}' is not fixed"
            )
        return size

    def axis(self, default: int) -> int:
        """The attribute `axis`, counted from the front."""
        axis = int(self.attribute("axis", default))
        return axis + self.rank() if axis < 0 else axis

    def static(self, index: int) -> NDArray[Any]:
        """The value of an input that must be constant (axes, pads)."""
        constant = ir.convenience.get_const_tensor(self._input(index))
        if constant is None:
            raise UnsupportedNodeError(f"its input '{self._input(index).name}' is not constant")
        return np.asarray(constant.numpy())

    def static_ints(self, index: int, attribute: str) -> list[int] | None:
        """Whole numbers given by an optional constant input or, in older opsets, an attribute."""
        if self.has(index):
            return [int(i) for i in self.static(index).reshape(-1)]
        given = self.attribute(attribute)
        return None if given is None else [int(i) for i in given]

    def _input(self, index: int) -> ir.Value:
        value = self.node.inputs[index]
        assert value is not None
        return value


class DetachedNode(Call):
    """A node cut off from what its inputs are computed from: they are read from `leaves`.

    A formula written on it is a function of the leaves alone.
    """

    def __init__(self, builder: Builder, node: ir.Node, leaves: dict[int, Tensor]) -> None:
        super().__init__(builder, node)
        self.leaves = leaves

    def _input(self, index: int) -> ir.Value:
        leaf = self.leaves.get(index)
        return super()._input(index) if leaf is None else leaf.value
