"""Bring operators in training mode to inference mode, and fix random operators to one draw.

In training mode a score depends on the other images of the batch, and a random operator gives other
scores at every run: neither can be explained image by image.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.errors import AdccWarning, ModelError
from adcc_onnx.graph.autodiff.builder import Builder, dims_of

_MOST_RANDOM_NUMBERS = 2**24  # elements of one image
_UNIFORM = ("RandomUniform", "RandomUniformLike")
_NORMAL = ("RandomNormal", "RandomNormalLike")
_RANDOM = (*_UNIFORM, *_NORMAL, "Bernoulli", "Multinomial")


def use_inference_mode(model: ir.Model) -> None:
    """Switch BatchNormalization and Dropout from training to inference mode, with a warning.

    Args:
        model: A model whose constants are initializers; changed in place.
    """
    switched = [_name_of(node) for node in model.graph if _switch(model.graph, node)]
    if switched:
        shown = ", ".join(switched[:3]) + (", ..." if len(switched) > 3 else "")
        count = "1 operator is" if len(switched) == 1 else f"{len(switched)} operators are"
        warnings.warn(
            f"{count} in training mode ({shown}) and will run in inference mode here; export the "
            "model after `model.eval()`",
            AdccWarning,
            stacklevel=2,
        )


def fix_random_operators(model: ir.Model) -> None:
    """Replace each random operator by one fixed draw, the same for every image, with a warning.

    Args:
        model: A prepared model, its shapes inferred; changed in place.

    Raises:
        ModelError: A random operator draws classes (Multinomial), or draws values of unknown shape.
    """
    found = [n for n in model.graph if n.op_type in _RANDOM and not n.domain and _is_used(n)]
    if not found:
        return
    builder = Builder(model.graph, "fixed/")
    for number, node in enumerate(found):
        _replace_by_draw(builder, node, np.random.default_rng([0, number]))
    model.graph.sort()
    warnings.warn(
        f"the model draws random numbers ({', '.join(sorted({n.op_type for n in found}))}): they "
        "are replaced by one fixed draw, the same for every image",
        AdccWarning,
        stacklevel=2,
    )


def _switch(graph: ir.Graph, node: ir.Node) -> bool:
    """Switch one node to inference mode; returns whether it was in training mode."""
    if node.domain:
        return False
    if node.op_type == "BatchNormalization":
        trains = node.attributes.get_int("training_mode", 0) == 1
        node.attributes.pop("training_mode", None)
        if trains and _give_own_statistics(graph, node):
            trains = False
        extra = [value for value in node.outputs[1:] if value.name]
        if extra and any(value.uses() or value.is_graph_output() for value in extra):
            raise ModelError(
                f"operator BatchNormalization (node '{_name_of(node)}') gives the statistics of "
                "the batch to other operators: export the model after `model.eval()`"
            )
        if len(node.outputs) > 1:
            trains = trains or not _is_constant(node.inputs[0])
            node.resize_outputs(1)
        return trains
    if node.op_type == "Dropout" and len(node.inputs) > 2 and node.inputs[2] is not None:
        constant = ir.convenience.get_const_tensor(node.inputs[2])
        trains = constant is None or bool(constant.numpy().reshape(-1)[0])
        node.replace_input_with(2, None)
        return trains
    return False


def _give_own_statistics(graph: ir.Graph, node: ir.Node) -> bool:
    """Give a normalization of constants their own mean and variance; returns whether it is one.

    Exporters write weight standardization so: its statistics are not those of a batch of images.
    """
    tensor = None if node.inputs[0] is None else ir.convenience.get_const_tensor(node.inputs[0])
    if tensor is None:
        return False
    numbers = tensor.numpy()
    axes = (0, *range(2, numbers.ndim))
    wide = numbers.astype(np.float64)
    for place, statistic in ((3, wide.mean(axes)), (4, wide.var(axes))):
        value = ir.Value(
            name=f"{_name_of(node)}/{'mean' if place == 3 else 'variance'}",
            const_value=ir.tensor(statistic.astype(numbers.dtype)),
            shape=ir.Shape(statistic.shape),
            type=ir.TensorType(tensor.dtype),
        )
        graph.register_initializer(value)
        node.replace_input_with(place, value)
    return True


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def _replace_by_draw(builder: Builder, node: ir.Node, rng: np.random.Generator) -> None:
    old = node.outputs[0]
    if node.op_type == "Multinomial":
        raise ModelError(
            f"operator Multinomial (node '{_name_of(node)}') draws classes at random: such scores "
            "cannot be explained; give the output before it with --scores-output"
        )
    drawn = builder.constant(_draw(node, rng))
    if node.op_type == "Bernoulli":
        chance = builder.wrap(node.inputs[0])  # type: ignore[arg-type]
        result = (drawn < chance.cast(ir.DataType.FLOAT)).cast(old.dtype or ir.DataType.FLOAT)
    elif node.inputs and node.inputs[0] is not None:
        like = builder.wrap(node.inputs[0])
        result = drawn.cast(old.dtype or ir.DataType.FLOAT).op("Expand", like.shape())
    else:
        result = drawn.cast(old.dtype or ir.DataType.FLOAT).op("Identity")
    new = result.value
    new.shape = old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name, old.name = old.name, None
    builder.graph.remove(node, safe=True)


def _draw(node: ir.Node, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random numbers of one image, [1, ...]."""
    dims = dims_of(node.outputs[0])
    sizes = [] if dims is None else list(dims[1:])
    if dims is None or not all(isinstance(size, int) for size in sizes):
        raise ModelError(
            f"operator {node.op_type} (node '{_name_of(node)}') draws random numbers of unknown "
            "shape: they cannot be fixed; export the model without it"
        )
    shape = (1 if node.inputs else dims[0] or 1, *(int(size) for size in sizes if size is not None))
    numbers = [int(size) for size in shape if isinstance(size, int)]
    if math.prod(numbers) > _MOST_RANDOM_NUMBERS:
        raise ModelError(
            f"operator {node.op_type} (node '{_name_of(node)}') draws too many random numbers"
        )
    given = node.attributes
    if node.op_type in _NORMAL:
        drawn = rng.standard_normal(numbers) * given.get_float("scale", 1.0)
        return (drawn + given.get_float("mean", 0.0)).astype(np.float32)
    low, high = given.get_float("low", 0.0), given.get_float("high", 1.0)
    return (low + (high - low) * rng.random(numbers)).astype(np.float32)


def _is_used(node: ir.Node) -> bool:
    return any(value.uses() or value.is_graph_output() for value in node.outputs)


def _name_of(node: ir.Node) -> str:
    return node.name or node.outputs[0].name or node.op_type
