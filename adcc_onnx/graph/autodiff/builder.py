"""Writing ONNX nodes as formulas: `Builder` appends them to a graph, `Tensor` is what they yield.

A gradient rule reads ``g * n.y * (1.0 - n.y)`` and appends three standard operators. Nothing runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.graph.autodiff.node_shapes import infer_outputs

# The first opset in which reductions, Split and Pad all take their axes as inputs.
LOWEST_OPSET = 18

Dim = int | str | None  # a fixed size, a named one ("batch"), or unknown
Scalar = float | int

BOOL, INT64 = ir.DataType.BOOL, ir.DataType.INT64
FLOAT, DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE
# What QuantizeLinear makes of real numbers.
QUANTIZED = {ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16, ir.DataType.INT16}
_LOW_PRECISION = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


def dims_of(value: ir.Value) -> tuple[Dim, ...] | None:
    """The shape of a value as plain Python: sizes, names of symbolic sizes, None where unknown."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


class Tensor:
    """A value of the graph under construction; arithmetic on it appends nodes."""

    __array_ufunc__ = None  # numpy scalars on the left must defer to our operators

    def __init__(self, builder: Builder, value: ir.Value, dtype: ir.DataType) -> None:
        self.builder = builder
        self.value = value
        self.dtype = dtype

    @property
    def dims(self) -> tuple[Dim, ...] | None:
        return dims_of(self.value)

    def op(self, op_type: str, *others: Any, **attributes: Any) -> Tensor:
        """The operator `op_type` with this tensor as its first input."""
        return self.builder.op(op_type, self, *others, **attributes)

    def shape(self) -> Tensor:
        """The shape as an int64 vector, computed when the graph runs."""
        return self.op("Shape")

    def cast(self, dtype: ir.DataType) -> Tensor:
        return self if dtype == self.dtype else self.op("Cast", to=dtype)

    def where(self, yes: Tensor | Scalar, no: Tensor | Scalar) -> Tensor:
        """`yes` where this boolean tensor holds, `no` elsewhere (one of them a Tensor)."""
        like = yes if isinstance(yes, Tensor) else no
        assert isinstance(like, Tensor)
        lift = self.builder.like
        return self.builder.op("Where", self, lift(yes, like), lift(no, like))

    def sum(self, axes: Sequence[int], keepdims: bool = True) -> Tensor:
        return self.op("ReduceSum", self.builder.ints(axes), keepdims=int(keepdims))

    def mean(self, axes: Sequence[int], keepdims: bool = True) -> Tensor:
        return self.op("ReduceMean", self.builder.ints(axes), keepdims=int(keepdims))

    def reshape(self, shape: Tensor | Sequence[int]) -> Tensor:
        """Reshape; in a given sequence 0 keeps a size and -1 is what remains."""
        return self.op("Reshape", shape if isinstance(shape, Tensor) else self.builder.ints(shape))

    def transpose(self, perm: Sequence[int]) -> Tensor:
        return self if list(perm) == list(range(len(perm))) else self.op("Transpose", perm=perm)

    def _binary(self, op_type: str, other: Tensor | Scalar, swap: bool = False) -> Tensor:
        pair = (self, self.builder.like(other, self))
        return self.builder.op(op_type, *(reversed(pair) if swap else pair))

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

    def equals(self, other: Tensor | Scalar) -> Tensor:
        return self._binary("Equal", other)

    def __and__(self, other: Tensor) -> Tensor:
        return self._binary("And", other)


class Builder:
    """Appends nodes to one graph; constants are shared, names are unique and tell their origin."""

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self.graph = graph
        self._prefix = prefix
        self._opset = graph.opset_imports.get("", LOWEST_OPSET)
        self._scope = ""
        self._serial = 0
        self._taken = _all_names(graph)
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._casts: dict[ir.Value, Tensor] = {}

    @contextmanager
    def scope(self, name: str | None) -> Iterator[None]:
        """Names of what is appended inside start with `name`: the forward node they belong to."""
        outer, self._scope = self._scope, f"{name}/" if name else ""
        try:
            yield
        finally:
            self._scope = outer

    def op(self, op_type: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """Append one node of the default domain with one output."""
        return self.op_outputs(op_type, *inputs, count=1, **attributes)[0]

    def op_outputs(
        self,
        op_type: str,
        *inputs: Tensor | None,
        count: int,
        **attributes: Any,
    ) -> list[Tensor]:
        """Append one node with `count` outputs."""
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
        """An existing value of the graph, as a Tensor of its own type."""
        return Tensor(self, value, value.dtype or FLOAT)

    def upcast(self, value: ir.Value) -> Tensor:
        """An existing value, cast once to float32 where it is of lower precision."""
        tensor = self.wrap(value)
        if tensor.dtype not in _LOW_PRECISION:
            return tensor
        if value not in self._casts:
            self._casts[value] = tensor.cast(FLOAT)
        return self._casts[value]

    def constant(self, array: ArrayLike, dtype: ir.DataType | None = None) -> Tensor:
        """A constant of the graph; equal ones are stored once."""
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
        """A constant int64 vector (axes, sizes, pads)."""
        return self.constant(np.atleast_1d(np.asarray(values, dtype=np.int64)))

    def like(self, other: Tensor | Scalar, tensor: Tensor) -> Tensor:
        """A number as a constant of the tensor's type; a Tensor as it is."""
        return other if isinstance(other, Tensor) else self.constant(other, tensor.dtype)

    def zeros(self, shape: Tensor, dtype: ir.DataType = FLOAT) -> Tensor:
        """Zeros of a shape that is known when the graph runs."""
        zero = ir.tensor(np.zeros(1, dtype.numpy()))
        return self.op("ConstantOfShape", shape, value=zero)

    def _new_name(self, what: str) -> str:
        while True:
            name = f"{self._prefix}{self._scope}{what}_{self._serial}"
            self._serial += 1
            if name not in self._taken:
                self._taken.add(name)
                return name


def _all_names(graph: ir.Graph) -> set[str]:
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        values.extend(node.outputs)
    return {value.name for value in values if value.name} | {n.name for n in graph if n.name}
