"""Rewrite operators on quantized tensors as floating-point operators between two quantizations.

The results stay the same up to one level of the last quantization. Layers become floating-point
tensors, and gradients pass by the rules of QuantizeLinear and DequantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.call import Call
from adcc_onnx.graph.autodiff.rules.rule_registry import MICROSOFT
from adcc_onnx.graph.passes.infer_shapes import infer_shapes


class QuantizedCall(Call):
    """A node on quantized tensors.

    Attributes:
        dequantized: The tensors that have been dequantized so far, shared by all nodes, so that no
            tensor is dequantized twice.
    """

    def __init__(
        self, builder: Builder, node: ir.Node, dequantized: dict[ir.Value, Tensor]
    ) -> None:
        super().__init__(builder, node)
        self.dequantized = dequantized

    def dequantized_input(self, index: int, axis: int | None = None) -> Tensor:
        """Return an input, dequantized by the scale and the zero point that follow it.

        Args:
            index: The number of the quantized input.
            axis: The axis of per-channel scales.
        """
        value = self._input(index)
        if value not in self.dequantized:
            zero = self[index + 2] if self.has(index + 2) else None
            tensor = self[index].op("DequantizeLinear", self[index + 1], zero, axis=axis)
            tensor.value.name = f"{REWRITTEN}{value.name}/dequantized"
            self.dequantized[value] = tensor
        return self.dequantized[value]


# The prefix of the names of values that are in no file of the user.
REWRITTEN = "real/"
# Operators whose outputs are values of their first input.
_MOVES = {"Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# Integer products of activations that are quantized when the model runs.
_DYNAMIC = {"ConvInteger", "DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"}
Rewrite = Callable[[QuantizedCall], Tensor]
_CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOL_ATTRIBUTES = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def dequantize(model: ir.Model) -> bool:
    """Rewrite every operator on quantized tensors, in place.

    Returns:
        Whether there was such an operator.
    """
    quantized = [node for node in model.graph if (node.domain, node.op_type) in _REWRITES]
    for node in model.graph:
        if node.domain == MICROSOFT and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = ""
    if not quantized:
        return False
    if any(node.op_type in _DYNAMIC for node in quantized):
        infer_shapes(model)  # these rewrites depend on the types of activations
    builder = Builder(model.graph, REWRITTEN)
    dequantized: dict[ir.Value, Tensor] = {}
    for node in quantized:
        with builder.scope(node.name):
            result = _REWRITES[node.domain, node.op_type](QuantizedCall(builder, node, dequantized))
        old, new = node.outputs[0], result.value
        dequantized = {new if v is old else v: tensor for v, tensor in dequantized.items()}
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name, old.name = old.name, None
        name = node.name
        model.graph.remove(node, safe=True)
        last = new.producer()
        if last is not None:
            last.name = name
    model.graph.sort()
    for node in [node for node in model.graph if node.op_type in _MOVES and not node.domain]:
        _move_real_values(builder, node, dequantized)
    _name_real_values(model.graph, dequantized)
    model.graph.sort()
    return True


def _move_real_values(builder: Builder, node: ir.Node, dequantized: dict[ir.Value, Tensor]) -> None:
    """Let an operator that only moves or selects values take the real ones; the result is equal."""
    value, output = node.inputs[0], node.outputs[0]
    source = None if value is None else value.producer()
    if value is None or source is None or source.op_type != "QuantizeLinear" or source.domain:
        return
    scale, *zero = (None if v is None else builder.wrap(v) for v in source.inputs[1:])
    if scale is None or scale.dims not in ((), (1,)) or len(node.outputs) > 1:
        return
    if output.is_graph_output():
        return
    if value not in dequantized:
        dequantized[value] = builder.wrap(value).op("DequantizeLinear", scale, *zero)
    users = [(use.node, use.idx) for use in output.uses()]
    node.replace_input_with(0, dequantized[value].value)
    output.dtype = FLOAT
    again = builder.wrap(output).op("QuantizeLinear", scale, *zero)
    for user, index in users:
        user.replace_input_with(index, again.value)
    if output in dequantized:
        dequantized.pop(output).value.replace_all_uses_with(output)
    dequantized[again.value] = builder.wrap(output)


def _name_real_values(graph: ir.Graph, dequantized: dict[ir.Value, Tensor]) -> None:
    """Give the floating-point form of each quantized activation the activation's own name.

    So every layer has a name of the user's file. The quantized form gets another name.
    """
    for node in list(graph):
        quantized = node.outputs[0]
        if node.op_type != "QuantizeLinear" or node.domain or quantized.is_graph_output():
            continue
        if (quantized.name or "").startswith(REWRITTEN):
            continue
        if quantized in dequantized:
            real: ir.Value | None = dequantized[quantized].value
        elif all(user.op_type == "DequantizeLinear" for user in quantized.consumers()):
            continue  # of the user's file; the name of the quantized tensor refers to it
        else:
            real = node.inputs[0]
            if real is None or not (real.name or "").startswith(REWRITTEN):
                continue
        if real is not None:
            real.name, quantized.name = quantized.name, f"{REWRITTEN}{quantized.name}/quantized"


def _quantize(y: Tensor, n: Call, index: int) -> Tensor:
    """Quantize `y` by the scale at input `index` and the zero point at the next input."""
    return y.op("QuantizeLinear", n[index], n[index + 1] if n.has(index + 1) else None)


def _attributes(n: Call, names: tuple[str, ...]) -> dict[str, object]:
    return {name: n.attribute(name) for name in names}


def _conv(n: QuantizedCall) -> Tensor:
    bias = None
    if n.has(8):
        scale = n[1] * n[4]
        bias = n[8].cast(FLOAT) * scale
    y = n.dequantized_input(0).op(
        "Conv", n.dequantized_input(3, axis=0), bias, **_attributes(n, _CONV_ATTRIBUTES)
    )
    return _quantize(y, n, 6)


def _matmul(n: QuantizedCall) -> Tensor:
    return _quantize(n.dequantized_input(0).op("MatMul", n.dequantized_input(3, axis=-1)), n, 6)


def _gemm(n: QuantizedCall) -> Tensor:
    attributes = _attributes(n, ("alpha", "transA", "transB"))
    axis = 0 if n.attribute("transB", 0) else 1
    bias = n[6].cast(FLOAT) * (n[1] * n[4]) * n.attribute("alpha", 1.0) if n.has(6) else None
    y = n.dequantized_input(0).op("Gemm", n.dequantized_input(3, axis=axis), bias, **attributes)
    return _quantize(y, n, 7) if n.has(7) else y


def _binary(op_type: str) -> Rewrite:
    return lambda n: _quantize(n.dequantized_input(0).op(op_type, n.dequantized_input(3)), n, 6)


def _unary(op_type: str, attributes: tuple[str, ...] = ()) -> Rewrite:
    def rewrite(n: QuantizedCall) -> Tensor:
        x, last = n.dequantized_input(0), bool(n.attribute("channels_last", 0))
        planes = x.transpose([0, 3, 1, 2]) if last else x
        y = planes.op(op_type, **_attributes(n, attributes))
        return _quantize(y.transpose([0, 2, 3, 1]) if last else y, n, 3)

    return rewrite


def _concat(n: QuantizedCall) -> Tensor:
    parts = [n.dequantized_input(index) for index in range(2, len(n), 3)]
    y = n.builder.op("Concat", *parts, axis=n.attribute("axis"))
    return _quantize(y, n, 0)


def _integer(op_type: str) -> Rewrite:
    """Compute an integer product in float32, where it is exact; a Cast to float follows."""

    def rewrite(n: QuantizedCall) -> Tensor:
        x, w = (_without_zero_point(n, index, index + 2) for index in (0, 1))
        return x.op(op_type, w, **(_attributes(n, _CONV_ATTRIBUTES) if op_type == "Conv" else {}))

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
    (MICROSOFT, "QLinearAveragePool"): _unary("AveragePool", _POOL_ATTRIBUTES),
    (MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearConcat"): _concat,
    (MICROSOFT, "QGemm"): _gemm,
}
