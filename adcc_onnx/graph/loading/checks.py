"""What a model must be before anything works on it: what the file says of itself is not believed.

Bounds hold what a small file can ask for within what an image classifier may need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
import onnx_ir as ir
from onnx import shape_inference

from adcc_onnx.errors import ExternalDataError, ModelError, first_line
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.loading.attribute_limits import (
    find_impossible_attribute,
    find_impossible_divisor,
)
from adcc_onnx.graph.loading.weights import all_tensors, detached_weights, external_tensors

# 1 GiB of float32, of one image; the largest values of real classifiers have some 2^24.
MOST_ELEMENTS = 2**28
_DEEPEST_CALLS = 64
_MOST_NODES = 100_000


def check_model(model: ir.Model) -> None:
    """Check a model as it was read: versions, weights, operators, functions.

    Raises:
        ModelError: it is malformed, newer than this program knows, or unreasonably large.
    """
    _check_version(model)
    for tensor in all_tensors(model):
        _check_tensor(tensor)
    for graph in model.graphs():
        for node in graph:
            _check_node(node, model.opset_imports)
    for function in model.functions.values():
        for node in function.all_nodes():
            _check_node(node, function.opset_imports, in_function=True)
    _Calls(model).check(model.graph)


def check_in_memory(model: ir.Model) -> None:
    """Refuse a model in memory whose weights lie elsewhere: it has no folder to read them from.

    Raises:
        ExternalDataError: there are such weights.
    """
    for tensor in external_tensors(model):
        raise ExternalDataError(
            f"the weights of '{tensor.name}' lie in the file '{tensor.location}': give the model's "
            "path, or load them (as onnx.load does)"
        )


def check_sizes(model: ir.Model) -> None:
    """Check the sizes that are known: none negative, no value larger than `MOST_ELEMENTS` an image.

    Raises:
        ModelError: naming the value.
    """
    graph = model.graph
    batches = {dims[0] for value in graph.inputs if (dims := dims_of(value))}
    for value in [*graph.inputs, *(value for node in graph for value in node.outputs)]:
        dims = dims_of(value) or ()
        batched = bool(dims) and dims[0] in batches and not value.is_graph_input()
        sizes = [size for size in dims[batched:] if isinstance(size, int)]
        if any(size < 0 for size in sizes):
            raise ModelError(f"the model is malformed: '{value.name}' has a size below 0")
        if math.prod(sizes) > MOST_ELEMENTS:
            shape = " x ".join("?" if size is None else str(size) for size in dims)
            raise ModelError(
                f"value '{value.name}' of {shape} is too large for an image classifier"
            )


def check_divisors(model: ir.Model) -> None:
    """Check that no integer division of a prepared model can end the process.

    Raises:
        ModelError: naming the operator.
    """
    for node in model.graph:
        wrong = find_impossible_divisor(node)
        if wrong is not None:
            raise ModelError(
                f"the model cannot be run safely: operator {node.op_type} (node "
                f"'{node.name or node.outputs[0].name}'): {wrong}"
            )


def check_shapes(model: ir.Model) -> None:
    """Check a prepared model by ONNX's own rules of types and shapes, from the inputs on.

    Raises:
        ModelError: naming the first operator whose inputs or attributes do not fit.
    """
    trial = model.clone()
    for graph in trial.graphs():
        for node in graph:
            trial.opset_imports.setdefault(node.domain, 1)
            if node.domain in ("", "ai.onnx"):  # only the file can tell what others give
                for value in node.outputs:
                    value.shape = None
    with detached_weights(trial):
        proto = ir.to_proto(trial)
    try:
        shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=False)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if "op_type" in line] or [str(error)]
        raise ModelError(f"the model is malformed: {lines[0][:300]}") from error


def _check_version(model: ir.Model) -> None:
    known = onnx.defs.onnx_opset_version()
    for imports in [model.opset_imports, *(f.opset_imports for f in model.functions.values())]:
        version = imports.get("", imports.get("ai.onnx", 1))
        if version > known:
            raise ModelError(
                f"the model has opset {version}, this onnx knows up to {known}: "
                "pip install --upgrade onnx onnxruntime-gpu"
            )
        if version < 1:
            raise ModelError(f"the model is malformed: there is no opset {version}")


def _check_tensor(tensor: ir.TensorProtocol) -> None:
    try:
        sound = tensor.dtype != ir.DataType.UNDEFINED and min(tensor.shape.numpy(), default=0) >= 0
        sound = sound and tensor.numpy().shape == tuple(tensor.shape.numpy())
    except Exception as error:
        raise ModelError(
            f"the weights '{tensor.name}' are malformed ({first_line(error)})"
        ) from error
    if not sound:
        raise ModelError(f"the weights '{tensor.name}' are malformed")


def _check_node(node: ir.Node, imports: Mapping[str, int], in_function: bool = False) -> None:
    """By the operator's own signature: how many inputs and outputs, which attributes, their types.

    What is no standard operator is left to onnxruntime.
    """
    wrong = None
    schema = _schema_of(node, imports)
    if not node.op_type:
        wrong = "it has no operator"
    elif not node.outputs:
        wrong = "it has no outputs"
    elif any(_is_dangling(value) for value in node.inputs):
        wrong = "it reads a value that nothing makes"
    elif not in_function and any(a.is_ref() for a in node.attributes.values()):
        wrong = "it takes an attribute from a function that it is not in"
    else:
        misuse = None if schema is None else _misuse(node, schema)
        wrong = misuse or find_impossible_attribute(node)
    if wrong is not None:
        name = node.name or (node.outputs[0].name if node.outputs else "")
        raise ModelError(
            f"the model is malformed: operator {node.op_type} (node '{name}'): {wrong}"
        )


def _schema_of(node: ir.Node, imports: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    if node.domain not in ("", "ai.onnx"):
        return None
    version = imports.get("", imports.get("ai.onnx", 1))
    try:
        return onnx.defs.get_schema(node.op_type, version)
    except onnx.defs.SchemaError:
        return None


def _misuse(node: ir.Node, schema: onnx.defs.OpSchema) -> str | None:
    """What is wrong with a node of this operator."""
    # Gemm's third input, say, is optional from opset 11 on, and left out by exporters before that.
    newest = onnx.defs.get_schema(schema.name)
    least = min(schema.min_input, newest.min_input)
    if not least <= len(node.inputs) <= schema.max_input:
        return f"it has {len(node.inputs)} inputs"
    if not schema.min_output <= len(node.outputs) <= schema.max_output:
        return f"it has {len(node.outputs)} outputs"
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    for value, formal in zip(node.inputs, schema.inputs, strict=False):
        if value is None and formal.option == single:
            return f"its input {formal.name} is missing"
    for name, known in schema.attributes.items():
        given = node.attributes.get(name)
        if given is None and known.required:
            return f"its attribute {name} is missing"
        if given is not None and given.type.value != known.type.value:  # type: ignore[attr-defined]  # an enum, whatever the stubs say
            return f"its attribute {name} is of the wrong type"
    return None


def _is_dangling(value: ir.Value | None) -> bool:
    if value is None:
        return False
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()


class _Calls:
    """Which local functions call which: they must end, and not grow beyond all measure."""

    def __init__(self, model: ir.Model) -> None:
        self._functions = model.functions
        self._sizes: dict[ir.OperatorIdentifier, int] = {}

    def check(self, graph: ir.Graph) -> None:
        if sum(self._size(node, 0) for node in graph.all_nodes()) > _MOST_NODES:
            raise ModelError(f"the model has more than {_MOST_NODES} operators")

    def _size(self, node: ir.Node, depth: int) -> int:
        """How many operators a node is, its functions written out."""
        called = node.op_identifier()
        if called not in self._functions:
            return 1
        if depth > _DEEPEST_CALLS:
            raise ModelError(
                f"function '{node.op_type}' of the model calls itself, or calls nest too deep"
            )
        if called not in self._sizes:
            body = self._functions[called].all_nodes()
            self._sizes[called] = sum(self._size(inner, depth + 1) for inner in body)
        return self._sizes[called]
