"""Keep the meaning of Upsample, and of Resize in opset 10, when a model is upgraded.

ONNX's version converter makes them a Resize of opset 11, whose default coordinates are others, and
drops the names of their outputs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_HELD = "adcc_onnx.held"  # a domain that the converter does not touch
_MODES = {"bilinear": "linear"}


def hold_resizes(model: ir.Model, opset: int) -> None:
    """Rewrite these operators as they are in opset 18, in a domain of their own; in place.

    Args:
        model: The model before its upgrade.
        opset: Its opset.
    """
    for node in list(model.graph):
        upsample = node.op_type == "Upsample" and opset < 10
        if node.domain in ("", "ai.onnx") and (upsample or (node.op_type, opset) == ("Resize", 10)):
            _hold(model.graph, node)
            model.opset_imports[_HELD] = 1


def release_resizes(model: ir.Model) -> None:
    """Give the held operators their standard domain; in place.

    Args:
        model: The upgraded model.
    """
    for node in model.graph:
        if node.domain == _HELD:
            node.domain = ""
    model.opset_imports.pop(_HELD, None)


def _hold(graph: ir.Graph, node: ir.Node) -> None:
    old, scales = node.outputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    if scales is None:  # an attribute before opset 9
        sides = [node.attributes.get_float(f"{side}_scale", 1.0) for side in ("height", "width")]
        numbers = np.array(node.attributes.get_floats("scales", [1.0, 1.0, *sides]), np.float32)
        scales = ir.val(f"{old.name}/scales", const_value=ir.tensor(numbers))
        graph.register_initializer(scales)
    constant = ir.convenience.get_const_tensor(scales)
    shrinks = constant is not None and bool((constant.numpy() < 1).any())
    mode = node.attributes.get_string("mode", "nearest")
    attributes = {
        "mode": _MODES.get(mode, mode),
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "ceil" if shrinks else "floor",
    }
    inputs = [node.inputs[0], None, scales]
    held = ir.node("Resize", inputs, attributes, domain=_HELD, name=node.name)
    held.metadata_props.update(node.metadata_props)
    new = held.outputs[0]
    new.type, new.shape = old.type, old.shape
    graph.insert_after(node, held)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name, old.name = old.name, None
    graph.remove(node, safe=True)
