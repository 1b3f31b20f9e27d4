"""Building ONNX graphs with arithmetic: `Builder` appends nodes, `Tensor` is a node's output.

For example, the gradient rule ``g * n.y * (1.0 - n.y)`` appends three standard operators (Sub and
two Mul) to the graph. Nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.graph.autodiff.node_shapes import infer_outputs

# The first opset in which reductions, Split and Pad all have their axes as inputs.
LOWEST_OPSET = 18

# One dimension of a shape: a fixed size, a symbolic size ("batch"), or unknown.
Dim = int | str | None
Scalar = float | int

BOOL, INT64 = ir.DataType.BOOL, ir.DataType.INT64
FLOAT, DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE
# The output types of QuantizeLinear.
QUANTIZED = {ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16, ir.DataType.INT16}
_LOW_PRECISION = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


def dims_of(value: ir.Value) -> tuple[Dim, ...] | None:
    """Return the shape of a value: sizes, names of symbolic sizes, None for unknown sizes.

    Args:
        value: Value of a graph.

    Returns:
        One entry per axis, or None if the rank is unknown.
    """
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


class Tensor:
    """Value of the graph under construction; arithmetic on it appends nodes.

    Attributes:
        builder: Builder that appends the nodes.
        value: Value in the graph.
        dtype: Data type of the value.

    Example:
        >>> graph = ir.Graph([], [], nodes=[], opset_imports={"": 18})
        >>> x = Builder(graph, "gradient/").constant([1.0, 2.0], FLOAT)
        >>> y = 2.0 * x + 1.0
        >>> [node.op_type for node in graph], y.dims
        (['Mul', 'Add'], (2,))
    """

    __array_ufunc__ = None  # NumPy scalars as left operands must defer to these operators.

    def __init__(self, builder: Builder, value: ir.Value, dtype: ir.DataType) -> None:
        self.builder = builder
        self.value = value
        self.dtype = dtype

    @property
    def dims(self) -> tuple[Dim, ...] | None:
        """The shape as far as it is known, see `dims_of`."""
        return dims_of(self.value)

    def op(self, op_type: str, *others: Any, **attributes: Any) -> Tensor:
        """Append the operator `op_type` with this tensor as its first input."""
        return self.builder.op(op_type, self, *others, **attributes)

    def shape(self) -> Tensor:
        """Append a Shape node: the shape as an int64 vector, computed at run time."""
        return self.op("Shape")

    def cast(self, dtype: ir.DataType) -> Tensor:
        """Convert to another data type."""
        return self if dtype == self.dtype else self.op("Cast", to=dtype)

    def where(self, if_true: Tensor | Scalar, if_false: Tensor | Scalar) -> Tensor:
        """Select elements by this boolean tensor; at least one argument is a Tensor."""
        like = if_true if isinstance(if_true, Tensor) else if_false
        assert isinstance(like, Tensor)
        as_tensor = self.builder.as_tensor
        return self.builder.op("Where", self, as_tensor(if_true, like), as_tensor(if_false, like))

    def sum(self, axes: Sequence[int], keepdims: bool = True) -> Tensor:
        """Sum over axes."""
        return self.op("ReduceSum", self.builder.ints(axes), keepdims=int(keepdims))

    def mean(self, axes: Sequence[int], keepdims: bool = True) -> Tensor:
        """Average over axes."""
        return self.op("ReduceMean", self.builder.ints(axes), keepdims=int(keepdims))

    def reshape(self, shape: Tensor | Sequence[int]) -> Tensor:
        """Reshape; in a sequence, 0 copies the size of that axis and -1 is inferred."""
        return self.op("Reshape", shape if isinstance(shape, Tensor) else self.builder.ints(shape))

    def transpose(self, perm: Sequence[int]) -> Tensor:
        """Permute the axes."""
        return self if list(perm) == list(range(len(perm))) else self.op("Transpose", perm=perm)

    def _binary(self, op_type: str, other: Tensor | Scalar, swap: bool = False) -> Tensor:
        operands = (self, self.builder.as_tensor(other, self))
        return self.builder.op(op_type, *(reversed(operands) if swap else operands))

    def __add__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Add", other)

    def __radd__(self, other: Scalar) -> Tensor:
        return self._binary("Add", other)

    def __sub__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Sub", other)

    def __rsub__(self, other: Scalar) -> Tensor:
        return self._binary("Sub", other, swap=True)

    def __mul__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Mul", other)

    def __rmul__(self, other: Scalar) -> Tensor:
        return self._binary("Mul", other)

    def __truediv__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Div", other)

    def __rtruediv__(self, other: Scalar) -> Tensor:
        return self._binary("Div", other, swap=True)

    def __pow__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Pow", other)

    def __neg__(self) -> Tensor:
        return self.op("Neg")

    def __gt__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Greater", other)

    def __ge__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("GreaterOrEqual", other)

    def __lt__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Less", other)

    def __le__(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("LessOrEqual", other)

    def sign(self) -> Tensor:
        """Compute the sign, -1, 0 or 1, as a step: unlike that of Sign, its gradient is 0.

        Rules use it, so that their results can be differentiated again.
        """
        return (self > 0.0).cast(self.dtype) - (self < 0.0).cast(self.dtype)

    def equals(self, other: Tensor | Scalar) -> Tensor:
        """Compare element by element."""
        return self._binary("Equal", other)

    def __and__(self, other: Tensor) -> Tensor:
        return self._binary("And", other)


class Builder:
    """Appends nodes to a graph, with unique names and shared constants.

    Args:
        graph: Graph that the nodes are appended to.
        prefix: Prefix of the names of all new nodes and values.
    """

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self.graph = graph
        self._prefix = prefix
        self._opset = graph.opset_imports.get("", LOWEST_OPSET)
        self._scope = ""
        self._counter = 0
        self._used_names = _all_names(graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._casts: dict[ir.Value, Tensor] = {}

    @contextmanager
    def scope(self, name: str | None) -> Iterator[None]:
        """Prefix the names of new nodes with `name`, usually the name of the forward node."""
        outer, self._scope = self._scope, f"{name}/" if name else ""
        try:
            yield
        finally:
            self._scope = outer

    def op(self, op_type: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Append a node of the default domain with one output."""
        return self.op_outputs(op_type, *inputs, count=1, **attributes)[0]

    def op_outputs(
        self,
        op_type: str,
        *inputs: Tensor | None,
        count: int,
        **attributes: Any,
    ) -> list[Tensor]:
        """Append a node of the default domain with several outputs.

        Args:
            op_type: Operator.
            *inputs: Inputs; None omits an optional input.
            count: Number of outputs.
            **attributes: Attributes; None omits an attribute.

        Returns:
            The outputs.
        """
        name = self._new_name(op_type)
        node = ir.node(
            op_type,
            [None if tensor is None else tensor.value for tensor in inputs],
            attributes={k: v for k, v in attributes.items() if v is not None},
            num_outputs=count,
            name=name,
        )
        self.graph.append(node)
        for index, value in enumerate(node.outputs):
            value.name = name if index == 0 else f"{name}:{index}"
        infer_outputs(node, self._opset)
        return [self.wrap(value) for value in node.outputs]

    def wrap(self, value: ir.Value) -> Tensor:
        """Return a Tensor for an existing value of the graph."""
        return Tensor(self, value, value.dtype or FLOAT)

    def upcast(self, value: ir.Value) -> Tensor:
        """Return a Tensor for an existing value, cast to float32 if it is float16 or bfloat16.

        Repeated calls share one Cast node.
        """
        tensor = self.wrap(value)
        if tensor.dtype not in _LOW_PRECISION:
            return tensor
        if value not in self._casts:
            self._casts[value] = tensor.cast(FLOAT)
        return self._casts[value]

    def constant(self, array: ArrayLike, dtype: ir.DataType | None = None) -> Tensor:
        """Return a constant of the graph; equal constants are stored once."""
        data: NDArray[Any] = np.asarray(array)
        if dtype is not None:
            data = data.astype(dtype.numpy())
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._constants:
            value = ir.val(self._new_name("constant"), const_value=ir.tensor(data))
            self.graph.register_initializer(value)
            self._constants[key] = Tensor(self, value, ir.DataType.from_numpy(data.dtype))
        return self._constants[key]

    def ints(self, values: Sequence[int] | int) -> Tensor:
        """Return a constant int64 vector (axes, sizes, pads)."""
        return self.constant(np.atleast_1d(np.asarray(values, dtype=np.int64)))

    def as_tensor(self, operand: Tensor | Scalar, like: Tensor) -> Tensor:
        """Return a Tensor unchanged, and a number as a constant of the data type of `like`."""
        return operand if isinstance(operand, Tensor) else self.constant(operand, like.dtype)

    def zeros(self, shape: Tensor, dtype: ir.DataType = FLOAT) -> Tensor:
        """Return zeros of a shape that is computed at run time."""
        zero = ir.tensor(np.zeros(1, dtype.numpy()))
        return self.op("ConstantOfShape", shape, value=zero)

    def _new_name(self, stem: str) -> str:
        while True:
            name = f"{self._prefix}{self._scope}{stem}_{self._counter}"
            self._counter += 1
            if name not in self._used_names:
                self._used_names.add(name)
                return name


def _all_names(graph: ir.Graph) -> set[str]:
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        values.extend(node.outputs)
    return {value.name for value in values if value.name} | {n.name for n in graph if n.name}
