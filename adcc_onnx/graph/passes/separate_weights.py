"""Give transposed convolutions weights of their own."""

from __future__ import annotations

import onnx_ir as ir


def separate_weights(model: ir.Model) -> None:
    """Copy the weights that a ConvTranspose shares with other nodes, in place.

    The gradient of a Conv is a ConvTranspose with the same weights. OpenVINO on a CPU (1.24) keeps
    one reordered copy for both, which is wrong for one of them if the weights have as many input
    as output channels: the gradient is then wrong without any error.

    Args:
        model: A model; the copies share the values of the original tensors.
    """
    for node in model.graph:
        weights = node.inputs[1] if node.op_type == "ConvTranspose" else None
        if weights is None or weights.const_value is None or len(weights.uses()) < 2:
            continue
        name, tensor = f"{weights.name}/of/{node.outputs[0].name}", weights.const_value
        own = ir.Value(
            name=name,
            shape=weights.shape,
            type=weights.type,
            const_value=ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name),
        )
        model.graph.register_initializer(own)
        node.replace_input_with(1, own)
