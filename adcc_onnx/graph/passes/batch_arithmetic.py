"""Values that depend on the batch size only, such as the sizes of a Reshape.

Exporters write them as arithmetic on the shape of the image. Here they are computed at two concrete
batch sizes: a value that is equal for both does not depend on the batch, and one that grows in
proportion is a linear function of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.passes.fold_constants import fold_constants
from adcc_onnx.graph.passes.infer_shapes import infer_shapes
from adcc_onnx.graph.passes.resolve_shapes import TRIAL_BATCHES, clone_at, sizes_at

_KEEPER = "adcc.keeper"  # a domain without operators
# The inputs with the sizes of a result, or with the numbers of its repetitions.
_SIZES = {"Expand": 1, "ConstantOfShape": 0, "Reshape": 1, "Resize": 3, "Tile": 1}


@dataclass(frozen=True)
class BatchValue:
    """A value of the form constant + per_sample * batch.

    Attributes:
        constant: The part that does not depend on the batch size.
        per_sample: The factors of the batch size; zeros for a value that does not depend on it.
    """

    constant: NDArray[Any]
    per_sample: NDArray[Any]

    @property
    def depends_on_batch(self) -> bool:
        """Whether the value depends on the batch size."""
        return bool(np.any(self.per_sample))


def batch_values(model: ir.Model) -> dict[str, BatchValue]:
    """Return the computed values that depend on the batch size only, by their names.

    Args:
        model: A prepared model with a dynamic batch; it is not changed.
    """
    first, second = (_constants_at(model, batch) for batch in TRIAL_BATCHES)
    found = {}
    for name, low in first.items():
        high = second.get(name)
        if high is None or low.shape != high.shape or low.dtype != high.dtype:
            continue
        if np.array_equal(low, high):
            found[name] = BatchValue(low, np.zeros_like(low))
        elif low.dtype == np.int64:
            slope, rest = np.divmod(high - low, TRIAL_BATCHES[1] - TRIAL_BATCHES[0])
            if not rest.any():
                found[name] = BatchValue(low - slope * TRIAL_BATCHES[0], slope)
    return found


def fold_batch_arithmetic(model: ir.Model) -> dict[str, BatchValue]:
    """Replace computed values that do not depend on the batch by constants, in place.

    The sizes of a Reshape become constants too, with -1 for the batch.

    Args:
        model: A prepared model with a dynamic batch.

    Returns:
        All values that depend on the batch size only, by their names.
    """
    if not any(node.op_type in ("Shape", "Size") for node in model.graph):
        return {}
    values = batch_values(model)
    for node in model.graph:
        for value in node.outputs:
            known = values.get(value.name or "")
            if known is None or known.depends_on_batch or value.is_graph_output():
                continue
            constant = ir.val(f"{value.name}/folded", const_value=ir.tensor(known.constant))
            model.graph.register_initializer(constant)
            value.replace_all_uses_with(constant)
    infer_shapes(model)
    for node in model.graph:
        if node.op_type == "Reshape" and node.domain == "":
            sizes = _reshape_sizes(node, values)
            if sizes is not None:
                constant = ir.val(
                    f"{node.outputs[0].name}/folded_sizes", const_value=ir.tensor(sizes)
                )
                model.graph.register_initializer(constant)
                node.replace_input_with(1, constant)
    return values


def _reshape_sizes(node: ir.Node, values: dict[str, BatchValue]) -> NDArray[np.int64] | None:
    """Return constant sizes in place of computed ones, with -1 for one multiple of the batch."""
    given = node.inputs[1]
    if given is None or given.const_value is not None:
        return None
    known = values.get(given.name or "")
    if known is None or np.any(known.constant == -1):
        return None
    grows = known.per_sample != 0
    if grows.sum() != 1 or np.any(known.constant[grows] != 0) or 0 in known.constant[~grows]:
        return None
    return np.where(grows, -1, known.constant).astype(np.int64)


def _constants_at(model: ir.Model, batch: int) -> dict[str, NDArray[Any]]:
    """Return the values that are constant at one batch size."""
    clone = clone_at(model, sizes_at(model, BATCH, batch))
    _keep_sizes(clone)
    infer_shapes(clone)
    fold_constants(clone)
    known = model.graph.initializers
    return {
        name: np.asarray(value.const_value.numpy())
        for name, value in clone.graph.initializers.items()
        if name not in known and value.const_value is not None
    }


def _keep_sizes(model: ir.Model) -> None:
    """Let a node that cannot be computed read the sizes of results.

    Otherwise a constant result would be computed, and its sizes would disappear.
    """
    model.opset_imports[_KEEPER] = 1
    kept = set()
    for node in list(model.graph):
        index = _SIZES.get(node.op_type)
        has_sizes = index is not None and not node.domain and index < len(node.inputs)
        sizes = node.inputs[index] if index is not None and has_sizes else None
        if sizes is not None and sizes.producer() is not None and sizes not in kept:
            kept.add(sizes)
            keeper = ir.node("Keep", [sizes], domain=_KEEPER)
            keeper.outputs[0].name = f"{sizes.name}/kept"
            model.graph.append(keeper)
            model.graph.outputs.append(keeper.outputs[0])
