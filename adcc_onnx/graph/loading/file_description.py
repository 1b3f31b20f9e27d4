"""Describe a model as its file says it, before anything is rewritten."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.graph.loading.weights import external_tensors

_KEY = "adcc_onnx.file_description"  # in the `meta` of a model, which is never written to a file
_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class ValueDescription:
    """One input or output of a model.

    Attributes:
        name: The name.
        type: The element type of a tensor, such as "float", or the type of another value, such as
            "sequence(map(string, float))".
        shape: The sizes: an integer, the name of a dynamic dimension, or None if it is unknown;
            None for an unknown rank and for values that are no tensors.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the description in a form that can be written as JSON."""
        return {**asdict(self), "shape": None if self.shape is None else list(self.shape)}


@dataclass(frozen=True)
class FileDescription:
    """A model as its file says it.

    Attributes:
        files: The file and those of its external weights; empty for a model in memory.
        opset: The opset of the standard operators; None if the file imports none.
        domains: The versions of the other operator domains, by name.
        nodes: The number of nodes in the main graph.
        inputs: The inputs, without weights that are listed as inputs.
        outputs: The outputs.
    """

    files: tuple[Path, ...]
    opset: int | None
    domains: dict[str, int]
    nodes: int
    inputs: tuple[ValueDescription, ...]
    outputs: tuple[ValueDescription, ...]


def attach_description(model: ir.Model, proto: onnx.ModelProto, path: Path | None = None) -> None:
    """Keep the description of a parsed model with its graph.

    Args:
        model: The graph.
        proto: The model that it was made from.
        path: The file that it was read from; None for a model in memory.
    """
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    versions = {opset.domain: opset.version for opset in proto.opset_import}
    standard = [versions[domain] for domain in _DEFAULT_DOMAINS if domain in versions]
    model.meta[_KEY] = FileDescription(
        files=() if path is None else files_of(model, path),
        opset=standard[0] if standard else None,
        domains={name: v for name, v in versions.items() if name not in _DEFAULT_DOMAINS},
        nodes=len(graph.node),
        inputs=tuple(_describe(value) for value in graph.input if value.name not in weights),
        outputs=tuple(map(_describe, graph.output)),
    )


def files_of(model: ir.Model, path: Path) -> tuple[Path, ...]:
    """Return the file of a model and the files of its external weights.

    Args:
        model: The graph as it was parsed.
        path: The file that it was read from.
    """
    locations = dict.fromkeys(tensor.location for tensor in external_tensors(model))
    return (path, *(path.parent / location for location in locations))


def file_description(model: ir.Model) -> FileDescription:
    """Return the description of a model that was just read."""
    found = model.meta[_KEY]
    assert isinstance(found, FileDescription)
    return found


def _describe(value: onnx.ValueInfoProto) -> ValueDescription:
    if value.type.WhichOneof("value") != "tensor_type":
        return ValueDescription(value.name, _type_name(value.type), None)
    tensor = value.type.tensor_type
    shape = tuple(map(_size, tensor.shape.dim)) if tensor.HasField("shape") else None
    return ValueDescription(value.name, _type_name(value.type), shape)


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """Return a size or its name; None for an unknown one, which Paddle writes as -1."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _type_name(kind: onnx.TypeProto) -> str:
    which = kind.WhichOneof("value")
    if which in ("tensor_type", "sparse_tensor_type"):
        return _element_name(getattr(kind, which).elem_type)
    if which == "sequence_type":
        return f"sequence({_type_name(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({_type_name(kind.optional_type.elem_type)})"
    if which == "map_type":
        key = _element_name(kind.map_type.key_type)
        return f"map({key}, {_type_name(kind.map_type.value_type)})"
    return "unknown"


def _element_name(number: int) -> str:
    try:
        return str(onnx.TensorProto.DataType.Name(number)).lower()
    except ValueError:  # a file may hold any number
        return "unknown"
