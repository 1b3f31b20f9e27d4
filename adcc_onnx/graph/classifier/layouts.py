"""Infer which axis of each value holds channels, space or tokens."""

from __future__ import annotations

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.classifier.image_classifier import Classifier

# N is the batch, C the channels, H and W the spatial axes, T the tokens.
MAP_LAYOUTS, TOKEN_LAYOUTS = ("NCHW", "NHWC"), ("NTC", "NCT")
# The tokens of all images as the rows of one matrix, as some networks normalize them.
_ROWS = "RC"
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


def infer_layouts(classifier: Classifier) -> dict[ir.Value, str]:
    """Infer the layouts of the values between the image and the logits.

    The layout of the image is propagated forward, operator by operator.

    Returns:
        The layout of every value whose axes are known, one of `MAP_LAYOUTS` or `TOKEN_LAYOUTS`.
        Values of other layouts (attention scores, heads, windows) are left out.
    """
    known = {classifier.image: classifier.layout}
    for node in classifier.forward_nodes():
        for value in node.outputs:
            layout = _output_layout(node, value, known)
            keeps_batch = (dims_of(value) or ())[:1] == (classifier.batch,)
            if layout == _ROWS or (layout is not None and keeps_batch):
                known[value] = layout
    return {value: layout for value, layout in known.items() if layout != _ROWS}


def _output_layout(node: ir.Node, output: ir.Value, known: dict[ir.Value, str]) -> str | None:
    """Infer the layout of one output, with one letter per axis of the output."""
    dims = dims_of(output)
    if dims is None or len(dims) not in (2, 3, 4):
        return None
    if node.op_type in _CHANNELS_FIRST and len(dims) > 2:
        return "NCHW" if len(dims) == 4 else "NCT"
    sources = [(v, known[v]) for v in node.inputs if v is not None and v in known]
    if node.op_type == "Transpose":
        return _transposed_layout(node, sources)
    if node.op_type in ("Flatten", "Reshape"):
        return _reshaped_layout(node, dims, sources)
    for source, layout in sources:
        if len(dims_of(source) or ()) == len(dims) and _keeps_layout(node, layout):
            return layout
    return None


def _keeps_layout(node: ir.Node, layout: str) -> bool:
    """A MatMul mixes the last axis: if that is a spatial axis, its positions lose their meaning."""
    return node.op_type != "MatMul" or layout.endswith("C") or layout == "NCT"


def _transposed_layout(node: ir.Node, sources: list[tuple[ir.Value, str]]) -> str | None:
    if not sources or "perm" not in node.attributes:
        return None
    layout = "".join(sources[0][1][axis] for axis in node.attributes["perm"].as_ints())
    return layout if layout in (*MAP_LAYOUTS, *TOKEN_LAYOUTS) else None


def _reshaped_layout(
    node: ir.Node, dims: tuple[Dim, ...], sources: list[tuple[ir.Value, str]]
) -> str | None:
    """Infer the layout after a reshape between a feature map and tokens; channels must not move."""
    source = node.inputs[0]
    source_dims = () if source is None else dims_of(source) or ()
    layout = sources[0][1] if sources else ""
    if len(source_dims) == len(dims) and layout:
        return layout if list(source_dims[1:]) == list(dims[1:]) else None
    if (layout != _ROWS and len(source_dims) < 3) or not isinstance(source_dims[-1], int):
        return None
    if len(dims) == 2:
        return _ROWS if layout == "NTC" and source_dims[-1] == dims[-1] else None
    if layout in ("NCHW", "NCT") and source_dims[1] == dims[1]:
        return "NCHW" if len(dims) == 4 else "NCT"
    if not layout and len(source_dims) == 4 and source_dims[:2] == dims[:2] and len(dims) == 3:
        return "NTC"  # joins the heads of an attention, [batch, tokens, heads, channels]
    # Window partitions have a higher rank; their last axis still holds the channels.
    if layout != "NCHW" and layout != "NCT" and source_dims[-1] == dims[-1]:
        return "NHWC" if len(dims) == 4 else "NTC"
    return None
