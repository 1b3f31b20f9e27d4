"""Check a model before anything relies on it: a file may claim anything about itself.

The limits are well above what image classifiers need, and bound the memory and the time that a
small file can demand.
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

# Per image: 1 GiB of float32; the largest values of real classifiers have about 2^24 elements.
_MAX_ELEMENTS = 2**28
_MAX_CALL_DEPTH = 64
_MAX_NODES = 100_000
# The domain of the operators on blocks of channels, which onnxruntime writes for one machine.
_BLOCKED_LAYOUT = "com.microsoft.nchwc"


def check_model(model: ir.Model) -> None:
    """Check a model right after reading: versions, weights, operators and functions.

    Raises:
        ModelError: The model is malformed, unreasonably large, or newer than the installed onnx.
    """
    _check_versions(model)
    for tensor in all_tensors(model):
        _check_tensor(tensor)
    for graph in model.graphs():
        for node in graph:
            _check_node(node, model.opset_imports)
    for function in model.functions.values():
        for node in function.all_nodes():
            _check_node(node, function.opset_imports, in_function=True)
    _InlinedSize(model).check(model.graph)


def check_no_external_data(model: ir.Model) -> None:
    """Check that a model in memory has all its weights: it has no folder to read them from.

    Raises:
        ExternalDataError: Some weights are in external files.
    """
    for tensor in external_tensors(model):
        raise ExternalDataError(
            f"the weights of '{tensor.name}' are in the external file '{tensor.location}': pass "
            "the model's path instead, or load the weights first (as onnx.load does)"
        )


def check_sizes(model: ir.Model) -> None:
    """Check the known sizes of all values: none is negative, and no value is too large.

    Raises:
        ModelError: A value has a negative size, or more than 2^28 elements per image.
    """
    graph = model.graph
    batches = {dims[0] for value in graph.inputs if (dims := dims_of(value))}
    for value in [*graph.inputs, *(value for node in graph for value in node.outputs)]:
        dims = dims_of(value) or ()
        batched = bool(dims) and dims[0] in batches and not value.is_graph_input()
        sizes = [size for size in dims[batched:] if isinstance(size, int)]
        if any(size < 0 for size in sizes):
            raise ModelError(f"the model is malformed: value '{value.name}' has a negative size")
        if math.prod(sizes) > _MAX_ELEMENTS:
            shape = " x ".join("?" if size is None else str(size) for size in dims)
            raise ModelError(
                f"value '{value.name}' of shape {shape} is too large for an image classifier"
            )


def check_divisors(model: ir.Model) -> None:
    """Check that no integer division of a prepared model can end the process.

    Raises:
        ModelError: A division can; the message names the operator.
    """
    for node in model.graph:
        wrong = find_impossible_divisor(node)
        if wrong is not None:
            raise ModelError(
                f"the model cannot be run safely: operator {node.op_type} (node "
                f"'{node.name or node.outputs[0].name}'): {wrong}"
            )


def check_shapes(model: ir.Model) -> None:
    """Check a prepared model by ONNX's own inference of types and shapes.

    Raises:
        ModelError: The inputs or attributes of an operator do not fit; the message names it.
    """
    clone = model.clone()
    for graph in clone.graphs():
        for node in graph:
            clone.opset_imports.setdefault(node.domain, 1)
            if node.domain in ("", "ai.onnx"):  # other shapes are known from the file only
                for value in node.outputs:
                    value.shape = None
    with detached_weights(clone):
        proto = ir.to_proto(clone)
    try:
        shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=False)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if "op_type" in line] or [str(error)]
        raise ModelError(f"the model is malformed: {lines[0][:300]}") from error


def _check_versions(model: ir.Model) -> None:
    supported = onnx.defs.onnx_opset_version()
    for imports in [model.opset_imports, *(f.opset_imports for f in model.functions.values())]:
        version = imports.get("", imports.get("ai.onnx", 1))
        if version > supported:
            raise ModelError(
                f"the model has opset {version}, but the installed onnx supports opsets up to "
                f"{supported}: pip install --upgrade onnx, and upgrade your onnxruntime, too"
            )
        if version < 1:
            raise ModelError(f"the model is malformed: there is no opset {version}")


def _check_tensor(tensor: ir.TensorProtocol) -> None:
    try:
        valid = tensor.dtype != ir.DataType.UNDEFINED and min(tensor.shape.numpy(), default=0) >= 0
        valid = valid and tensor.numpy().shape == tuple(tensor.shape.numpy())
    except Exception as error:
        raise ModelError(
            f"the weights '{tensor.name}' are malformed ({first_line(error)})"
        ) from error
    if not valid:
        raise ModelError(f"the weights '{tensor.name}' are malformed")


def _check_node(node: ir.Node, imports: Mapping[str, int], in_function: bool = False) -> None:
    """Check a node against the signature of its operator; custom operators are left to the runtime.

    Raises:
        ModelError: The node has the wrong inputs, outputs or attributes.
    """
    problem = None
    if node.domain == _BLOCKED_LAYOUT:
        raise ModelError(
            f"operator {node.op_type} ({_BLOCKED_LAYOUT}) is for one kind of CPU: onnxruntime "
            "saved this model with all optimizations; use the original file, or save it with "
            "ORT_ENABLE_EXTENDED"
        )
    schema = _find_schema(node, imports)
    if not node.op_type:
        problem = "it has no operator type"
    elif not node.outputs:
        problem = "it has no outputs"
    elif any(_is_dangling(value) for value in node.inputs):
        problem = "it reads a value that no node computes"
    elif not in_function and any(a.is_ref() for a in node.attributes.values()):
        problem = "it refers to the attribute of a function, but is outside any function"
    else:
        misuse = None if schema is None else _signature_problem(node, schema)
        problem = misuse or find_impossible_attribute(node)
    if problem is not None:
        name = node.name or (node.outputs[0].name if node.outputs else "")
        raise ModelError(
            f"the model is malformed: operator {node.op_type} (node '{name}'): {problem}"
        )


def _find_schema(node: ir.Node, imports: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    if node.domain not in ("", "ai.onnx"):
        return None
    version = imports.get("", imports.get("ai.onnx", 1))
    try:
        return onnx.defs.get_schema(node.op_type, version)
    except onnx.defs.SchemaError:
        return None


def _signature_problem(node: ir.Node, schema: onnx.defs.OpSchema) -> str | None:
    """Describe how a node violates the signature of its operator; None if it does not."""
    # Some inputs became optional in a later opset (Gemm's third in opset 11), and exporters left
    # them out before that.
    newest = onnx.defs.get_schema(schema.name)
    min_inputs = min(schema.min_input, newest.min_input)
    if not min_inputs <= len(node.inputs) <= schema.max_input:
        return f"it has {len(node.inputs)} inputs"
    if not schema.min_output <= len(node.outputs) <= schema.max_output:
        return f"it has {len(node.outputs)} outputs"
    single = onnx.defs.OpSchema.FormalParameterOption.Single
    for value, formal in zip(node.inputs, schema.inputs, strict=False):
        if value is None and formal.option == single:
            return f"its input {formal.name} is missing"
    for name, declared in schema.attributes.items():
        actual = node.attributes.get(name)
        if actual is None and declared.required:
            return f"its attribute {name} is missing"
        if actual is not None and actual.type.value != declared.type.value:  # type: ignore[attr-defined]  # the stubs do not know that it is an enum
            return f"its attribute {name} has the wrong type"
    return None


def _is_dangling(value: ir.Value | None) -> bool:
    if value is None:
        return False
    return value.producer() is None and not value.is_graph_input() and not value.is_initializer()


class _InlinedSize:
    """Counts the operators of a model with its local functions inlined, without inlining them."""

    def __init__(self, model: ir.Model) -> None:
        self._functions = model.functions
        self._sizes: dict[ir.OperatorIdentifier, int] = {}

    def check(self, graph: ir.Graph) -> None:
        """Check the number of operators of a graph.

        Raises:
            ModelError: There are too many operators, or functions are recursive.
        """
        if sum(self._size(node, 0) for node in graph.all_nodes()) > _MAX_NODES:
            raise ModelError(f"the model has more than {_MAX_NODES} operators")

    def _size(self, node: ir.Node, depth: int) -> int:
        called = node.op_identifier()
        if called not in self._functions:
            return 1
        if depth > _MAX_CALL_DEPTH:
            raise ModelError(
                f"function '{node.op_type}' of the model calls itself, or is nested too deeply"
            )
        if called not in self._sizes:
            body = self._functions[called].all_nodes()
            self._sizes[called] = sum(self._size(inner, depth + 1) for inner in body)
        return self._sizes[called]
