"""Which axis of a feature map is which: told from the image on, operator by operator."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import Dim, dims_of

# N the image, C channels, H and W space, T tokens.
MAPS, TOKENS = ("NCHW", "NHWC"), ("NTC", "NCT")
# The tokens of all images as the rows of one matrix, as some networks normalize them.
_ROWS = "RC"
# Operators that take and give channels in the second axis.
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


def layouts(image: ir.Value, layout: str, path: Iterable[ir.Node]) -> dict[ir.Value, str]:
    """The layout of every value of the path whose axes are known, one of `MAPS` and `TOKENS`.

    Attention scores, heads and windows have others, and are left out.
    """
    known = {image: layout}
    batch = (dims_of(image) or (None,))[0]
    for node in path:
        for value in node.outputs:
            found = _layout_of(node, value, known)
            dims = dims_of(value)
            if found == _ROWS or (found is not None and dims is not None and dims[0] == batch):
                known[value] = found
    return {value: found for value, found in known.items() if found != _ROWS}


def _layout_of(node: ir.Node, value: ir.Value, known: dict[ir.Value, str]) -> str | None:
    """The layout an operator gives its output, of as many letters as the output has axes."""
    dims = dims_of(value)
    if dims is None or len(dims) not in (2, 3, 4):
        return None
    if node.op_type in _CHANNELS_FIRST and len(dims) > 2:
        return "NCHW" if len(dims) == 4 else "NCT"
    sources = [(v, known[v]) for v in node.inputs if v is not None and v in known]
    if node.op_type == "Transpose":
        return _transposed(node, sources)
    if node.op_type in ("Flatten", "Reshape"):
        return _reshaped(node, dims, sources)
    for source, layout in sources:
        if len(dims_of(source) or ()) == len(dims) and _keeps(node, layout):
            return layout
    return None


def _keeps(node: ir.Node, layout: str) -> bool:
    """A matrix product works on the last axis: elsewhere it mixes places, which have no map."""
    return node.op_type != "MatMul" or layout.endswith("C") or layout == "NCT"


def _transposed(node: ir.Node, sources: list[tuple[ir.Value, str]]) -> str | None:
    if not sources or "perm" not in node.attributes:
        return None
    turned = "".join(sources[0][1][axis] for axis in node.attributes["perm"].as_ints())
    return turned if turned in (*MAPS, *TOKENS) else None


def _reshaped(
    node: ir.Node, dims: tuple[Dim, ...], sources: list[tuple[ir.Value, str]]
) -> str | None:
    """Space unrolled to tokens or rolled up again, the channels left where they are."""
    before = node.inputs[0]
    given = () if before is None else dims_of(before) or ()
    layout = sources[0][1] if sources else ""
    if len(given) == len(dims) and layout:
        return layout if list(given[1:]) == list(dims[1:]) else None
    if (layout != _ROWS and len(given) < 3) or not isinstance(given[-1], int):
        return None
    if len(dims) == 2:
        return _ROWS if layout == "NTC" and given[-1] == dims[-1] else None
    if layout in ("NCHW", "NCT") and given[1] == dims[1]:
        return "NCHW" if len(dims) == 4 else "NCT"
    if not layout and len(given) == 4 and given[:2] == dims[:2] and len(dims) == 3:
        return "NTC"  # the heads of an attention, [batch, tokens, heads, channels], joined
    # Also from windows, [.., C] of higher rank: what is last stays last.
    if layout != "NCHW" and layout != "NCT" and given[-1] == dims[-1]:
        return "NHWC" if len(dims) == 4 else "NTC"
    return None
