"""Operators on quantized tensors, rewritten as the real operator between two quantizations.

What they compute stays the same to a rounding of the last level; layers become real numbers, and
the gradient passes by the rules for QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import MICROSOFT
from adcc_onnx.graph.passes.infer_shapes import infer_shapes


class QuantizedCall(Call):
    """A node on quantized tensors; each of those is turned real once, whoever reads it."""

    def __init__(self, builder: Builder, node: ir.Node, known: dict[ir.Value, Tensor]) -> None:
        super().__init__(builder, node)
        self._known = known

    def real(self, index: int, axis: int | None = None) -> Tensor:
        """Input `index`, by the scale and the zero point that follow it, as real numbers."""
        value = self._input(index)
        if value not in self._known:
            zero = self[index + 2] if self.has(index + 2) else None
            turned = self[index].op("DequantizeLinear", self[index + 1], zero, axis=axis)
            turned.value.name = f"{value.name}/dequantized"
            self._known[value] = turned
        return self._known[value]


Rewrite = Callable[[QuantizedCall], Tensor]
_WINDOW = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def dequantize(model: ir.Model) -> bool:
    """Rewrite every such operator, in place; returns whether there was one."""
    found = [node for node in model.graph if (node.domain, node.op_type) in _REWRITES]
    for node in model.graph:
        if node.domain == MICROSOFT and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""
    if not found:
        return False
    infer_shapes(model)  # the rewrites depend on the types of activations
    builder = Builder(model.graph, "real/")
    known: dict[ir.Value, Tensor] = {}
    for node in found:
        with builder.scope(node.name):
            result = _REWRITES[node.domain, node.op_type](QuantizedCall(builder, node, known))
        old, new = node.outputs[0], result.value
        known = {new if value is old else value: real for value, real in known.items()}
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        model.graph.remove(node, safe=True)
    model.graph.sort()
    return True


def _quantized(y: Tensor, n: Call, index: int) -> Tensor:
    """`y` by the scale and zero point at inputs `index` and the next."""
    return y.op("QuantizeLinear", n[index], n[index + 1] if n.has(index + 1) else None)


def _given(n: Call, names: tuple[str, ...]) -> dict[str, object]:
    return {name: n.attribute(name) for name in names}


def _conv(n: QuantizedCall) -> Tensor:
    bias = None
    if n.has(8):
        scale = n[1] * n[4]
        bias = n[8].cast(FLOAT) * scale
    y = n.real(0).op("Conv", n.real(3, axis=0), bias, **_given(n, _WINDOW))
    return _quantized(y, n, 6)


def _matmul(n: QuantizedCall) -> Tensor:
    return _quantized(n.real(0).op("MatMul", n.real(3, axis=-1)), n, 6)


def _gemm(n: QuantizedCall) -> Tensor:
    attributes = _given(n, ("alpha", "transA", "transB"))
    axis = 0 if n.attribute("transB", 0) else 1
    bias = n[6].cast(FLOAT) * (n[1] * n[4]) * n.attribute("alpha", 1.0) if n.has(6) else None
    y = n.real(0).op("Gemm", n.real(3, axis=axis), bias, **attributes)
    return _quantized(y, n, 7) if n.has(7) else y


def _binary(op_type: str) -> Rewrite:
    return lambda n: _quantized(n.real(0).op(op_type, n.real(3)), n, 6)


def _unary(op_type: str, attributes: tuple[str, ...] = ()) -> Rewrite:
    def rewrite(n: QuantizedCall) -> Tensor:
        x, last = n.real(0), bool(n.attribute("channels_last", 0))
        turned = x.transpose([0, 3, 1, 2]) if last else x
        y = turned.op(op_type, **_given(n, attributes))
        return _quantized(y.transpose([0, 2, 3, 1]) if last else y, n, 3)

    return rewrite


def _concat(n: QuantizedCall) -> Tensor:
    parts = [n.real(index) for index in range(2, len(n), 3)]
    y = n.builder.op("Concat", *parts, axis=n.attribute("axis"))
    return _quantized(y, n, 0)


def _integer(op_type: str) -> Rewrite:
    """An integer product as a float32 product, which is exact; a Cast to float follows anyway."""

    def rewrite(n: QuantizedCall) -> Tensor:
        x, w = (_without_zero_point(n, index, index + 2) for index in (0, 1))
        return x.op(op_type, w, **(_given(n, _WINDOW) if op_type == "Conv" else {}))

    return rewrite


def _matmul_integer_to_float(n: QuantizedCall) -> Tensor:
    """Inputs: a, b, scales of a and b, zero points of a and b, bias."""
    a, b = _without_zero_point(n, 0, 4), _without_zero_point(n, 1, 5)
    y = a.op("MatMul", b) * (n[2] * n[3])
    return y + n[6] if n.has(6) else y


def _dynamic_quantize_matmul(n: QuantizedCall) -> Tensor:
    """Inputs: a, b, scale of b, zero point of b, bias; a is quantized on the way."""
    quantized, scale, zero = n.builder.op_outputs("DynamicQuantizeLinear", n[0], count=3)
    a = quantized.op("DequantizeLinear", n.builder.constant(1.0, FLOAT), zero)
    y = a.op("MatMul", _without_zero_point(n, 1, 3)) * (scale * n[2])
    return y + n[4] if n.has(4) else y


def _without_zero_point(n: Call, index: int, zero: int) -> Tensor:
    """Input `index` less its zero point (input `zero`), in float32.

    An activation is dequantized with scale 1, so that its gradient is not cast to an integer type.
    """
    zero_point = n[zero] if n.has(zero) else None
    if ir.convenience.get_const_tensor(n[index].value) is None:
        return n[index].op("DequantizeLinear", n.builder.constant(1.0, FLOAT), zero_point)
    value = n[index].cast(FLOAT)
    if zero_point is None:
        return value
    shift = zero_point.cast(FLOAT)
    if n.node.op_type == "ConvInteger" and len(shift.dims or ()) == 1:
        shift = shift.reshape([-1] + [1] * (len(n.dims(index) or ()) - 1))
    return value - shift


_REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    ("", "ConvInteger"): _integer("Conv"),
    ("", "MatMulInteger"): _integer("MatMul"),
    (MICROSOFT, "MatMulIntegerToFloat"): _matmul_integer_to_float,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_quantize_matmul,
    (MICROSOFT, "QLinearAdd"): _binary("Add"),
    (MICROSOFT, "QLinearMul"): _binary("Mul"),
    (MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu", ("alpha",)),
    (MICROSOFT, "QLinearSoftmax"): _unary("Softmax", ("axis",)),
    (MICROSOFT, "QLinearAveragePool"): _unary("AveragePool", _POOL),
    (MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QGemm"): _gemm,
}
