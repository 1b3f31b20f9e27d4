"""Infer which axis of each value holds channels, space or tokens."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier

# N is the batch, C the channels, H and W the spatial axes, T the tokens.
MAP_LAYOUTS, TOKEN_LAYOUTS = ("NCHW", "NHWC"), ("NTC", "NCT")
# The tokens of all images as the rows of one matrix, as some networks normalize them.
_ROWS = "RC"
# Groups of channels with their positions in one axis, as exporters write group normalization.
_GROUPS = "NGP"
# Operators whose input and output have their channels in the second axis.
_CHANNELS_FIRST = {
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GridSample",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "MaxPool",
    "SpaceToDepth",
    "FusedConv",
}


@dataclass(frozen=True)
class _Known:
    """A layout, and whether it follows from the graph or is assumed."""

    layout: str
    certain: bool = True


def infer_layouts(classifier: Classifier) -> dict[ir.Value, str]:
    """Infer the layouts of the values between the image and the logits.

    The layout of the image is propagated forward, operator by operator.

    Returns:
        The layout of every value whose axes are known, one of `MAP_LAYOUTS` or `TOKEN_LAYOUTS`.
        Values of other layouts (attention scores, heads, windows) are left out.
    """
    return {value: found.layout for value, found in _infer(classifier).items()}


def certain_layouts(classifier: Classifier) -> set[ir.Value]:
    """Return the values whose layouts follow from the graph.

    The layouts of the other values are assumed from their shapes alone, as behind a reshape of
    windows or of the heads of an attention.
    """
    return {value for value, found in _infer(classifier).items() if found.certain}


def _infer(classifier: Classifier) -> dict[ir.Value, _Known]:
    known = {classifier.image: _Known(classifier.layout)}
    for node in classifier.forward_nodes():
        for value in node.outputs:
            found = _output_layout(node, value, known)
            keeps_batch = (dims_of(value) or ())[:1] == (classifier.batch,)
            if found is not None and (found.layout == _ROWS or keeps_batch):
                known[value] = found
    hidden = (_ROWS, _GROUPS)
    return {value: found for value, found in known.items() if found.layout not in hidden}


def _output_layout(node: ir.Node, output: ir.Value, known: dict[ir.Value, _Known]) -> _Known | None:
    """Infer the layout of one output, with one letter per axis of the output."""
    dims = dims_of(output)
    if dims is None or len(dims) not in (2, 3, 4):
        return None
    sources = [(v, known[v]) for v in node.inputs if v is not None and v in known]
    if node.op_type in _CHANNELS_FIRST and len(dims) > 2:
        return _channels_first_layout(node, dims, sources)
    if node.op_type == "Transpose":
        return _transposed_layout(node, sources)
    if node.op_type in ("Flatten", "Reshape"):
        return _reshaped_layout(node, dims, sources)
    kept = [
        found
        for source, found in sources
        if len(dims_of(source) or ()) == len(dims) and _keeps_layout(node, found.layout)
    ]
    if kept:
        layout = kept[0].layout
        return _Known(layout, any(one.certain for one in kept if one.layout == layout))
    return _Known("NTC", False) if len(dims) == 3 and _mixes_last_axis(node) else None


def _channels_first_layout(
    node: ir.Node, dims: tuple[Dim, ...], sources: list[tuple[ir.Value, _Known]]
) -> _Known | None:
    """Infer the layout behind an operator that takes the second axis for the channels."""
    if sources and sources[0][1].layout == _GROUPS:
        return sources[0][1]
    if len(dims) == 4:
        return _Known("NCHW")
    if sources and sources[0][1].layout == "NTC":
        # A convolution may also mix tokens, or class tokens of several branches.
        return sources[0][1] if dims_of(sources[0][0]) == dims else None
    if not sources and node.op_type in ("Conv", "ConvTranspose"):
        return None
    return _Known("NCT", bool(sources))


def _keeps_layout(node: ir.Node, layout: str) -> bool:
    """A MatMul mixes the last axis: if that is a spatial axis, its positions lose their meaning."""
    return node.op_type != "MatMul" or layout.endswith("C") or layout == "NCT"


def _mixes_last_axis(node: ir.Node) -> bool:
    """Whether a node treats the last axis of its input as channels."""
    if node.op_type == "MatMul":
        weight = node.inputs[1]
        return weight is not None and weight.is_initializer() and len(dims_of(weight) or ()) == 2
    axis = node.attributes.get("axis")
    return node.op_type == "LayerNormalization" and (axis is None or axis.as_int() in (-1, 2))


def _transposed_layout(node: ir.Node, sources: list[tuple[ir.Value, _Known]]) -> _Known | None:
    if not sources or "perm" not in node.attributes:
        return None
    source = sources[0][1]
    layout = "".join(source.layout[axis] for axis in node.attributes["perm"].as_ints())
    return _Known(layout, source.certain) if layout in (*MAP_LAYOUTS, *TOKEN_LAYOUTS) else None


def _reshaped_layout(
    node: ir.Node, dims: tuple[Dim, ...], sources: list[tuple[ir.Value, _Known]]
) -> _Known | None:
    """Infer the layout after a reshape between a feature map and tokens; channels must not move."""
    source = node.inputs[0]
    source_dims = () if source is None else dims_of(source) or ()
    layout, certain = (sources[0][1].layout, sources[0][1].certain) if sources else ("", True)
    if len(source_dims) == len(dims) and layout:
        return sources[0][1] if list(source_dims[1:]) == list(dims[1:]) else None
    if (layout != _ROWS and len(source_dims) < 3) or not isinstance(source_dims[-1], int):
        return None
    if len(dims) == 2:
        joins = layout == "NTC" and source_dims[-1] == dims[-1]
        return _Known(_ROWS, certain) if joins else None
    if layout in ("NCHW", "NCT") and source_dims[1] == dims[1]:
        return _Known("NCHW" if len(dims) == 4 else "NCT", certain)
    if layout == "NCHW" and len(dims) == 3 and _divides(dims[1], source_dims[1]):
        return _Known(_GROUPS, certain)
    if layout == _GROUPS:
        separates = len(dims) == 4 and _divides(source_dims[1], dims[1])
        return _Known("NCHW", certain) if separates else None
    if not layout and len(source_dims) == 4 and source_dims[:2] == dims[:2] and len(dims) == 3:
        return _Known("NTC", _is_transposed(node, (0, 2, 1, 3)))  # joins the heads of an attention
    # Window partitions have a higher rank; their last axis still holds the channels.
    if layout == "NTC" and len(dims) == 4 and not _is_grid_of(dims[1:3], source_dims[1]):
        return None
    if layout not in ("NCHW", "NCT") and source_dims[-1] == dims[-1]:
        kept = certain if layout else _is_transposed(node, (0, 1, 3, 2, 4, 5))
        return _Known("NHWC" if len(dims) == 4 else "NTC", kept)
    return None


def _is_grid_of(sizes: tuple[Dim, ...], tokens: Dim) -> bool:
    """Whether a (height, width) holds this number of tokens; a width of 1 is that of one head."""
    height, width = sizes
    if not isinstance(height, int) or not isinstance(width, int) or not isinstance(tokens, int):
        return True
    return height * width == tokens and (width > 1 or height == 1)


def _is_transposed(reshape: ir.Node, perm: tuple[int, ...]) -> bool:
    """Whether a reshape takes what a transpose with this permutation computes."""
    source = reshape.inputs[0]
    node = None if source is None else source.producer()
    if node is None or node.op_type != "Transpose" or "perm" not in node.attributes:
        return False
    return tuple(node.attributes["perm"].as_ints()) == perm


def _divides(groups: Dim, channels: Dim) -> bool:
    """Whether channels can be split into this number of groups."""
    return isinstance(groups, int) and isinstance(channels, int) and channels % groups == 0
