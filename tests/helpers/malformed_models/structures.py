"""Graphs whose nodes and values do not fit together, wrong versions, and wrong inputs."""

from __future__ import annotations

import onnx
from onnx import helper

from helpers.malformed_models.base import Cases, Change, Model, changed
from helpers.small_models import small


def structures() -> Cases:
    """Yield models whose graph has cycles, duplicates, dangling or missing parts."""
    for name, change in {**_CONNECTIONS, **_DUPLICATES, **_MISSING, **_OPERATORS}.items():
        yield name, changed(change)
    yield "no_graph", Model(ir_version=8, opset_import=[helper.make_opsetid("", 18)])


def versions() -> Cases:
    """Yield models of impossible opsets and IR versions."""
    for version in (-1, 0, 1, 3, 6, 999, 2**62):
        model = small("softmax")
        model.opset_import[0].version = version
        yield f"opset_{version}", model
    for version in (0, 1, 999):
        model = small("softmax")
        model.ir_version = version
        yield f"ir_{version}", model
    model = small("softmax")
    model.opset_import.append(helper.make_opsetid("", 11))
    yield "two_opsets", model
    model = small("softmax")
    del model.opset_import[:]
    yield "no_opset", model


def inputs() -> Cases:
    """Yield models that do not compute scores from one image."""
    yield "two_images", changed(_add_second_image)
    yield "not_from_the_image", changed(_scores_of_weights)
    yield "image_unused", changed(lambda g: g.node[0].input.__setitem__(0, "kernel"))


def _rename_output(node: int, name: str) -> Change:
    return lambda g: g.node[node].output.__setitem__(0, name)


def _rename_input(node: int, index: int, name: str) -> Change:
    return lambda g: g.node[node].input.__setitem__(index, name)


def _rename_graph_output(name: str) -> Change:
    return lambda g: setattr(g.output[0], "name", name)


def _reverse_nodes(g: onnx.GraphProto) -> None:
    nodes = list(g.node)[::-1]
    del g.node[:]
    g.node.extend(nodes)


def _clear_outputs(g: onnx.GraphProto) -> None:
    for node in g.node:
        node.output[0] = ""


def _add_second_image(g: onnx.GraphProto) -> None:
    second = g.input.add()
    second.CopyFrom(g.input[0])
    second.name = "image2"


def _scores_of_weights(g: onnx.GraphProto) -> None:
    del g.node[:]
    g.node.append(helper.make_node("Relu", ["weights"], ["scores"]))


_CONNECTIONS: dict[str, Change] = {
    "own_output": _rename_input(1, 0, "active"),
    "two_node_cycle": _rename_input(0, 0, "active"),
    "swapped": _reverse_nodes,
    "unknown_reference": _rename_input(1, 0, "nobody"),
    "output_is_input": _rename_graph_output("image"),
    "output_is_weight": _rename_graph_output("weights"),
    "output_of_nobody": _rename_graph_output("nobody"),
}
_DUPLICATES: dict[str, Change] = {
    "duplicate_value": _rename_output(1, "features"),
    "duplicate_of_input": _rename_output(1, "image"),
    "duplicate_initializer": lambda g: g.initializer.append(g.initializer[0]),
    "twice_in_outputs": lambda g: g.output.append(g.output[0]),
    "twice_in_inputs": lambda g: g.input.append(g.input[0]),
    "too_many_inputs": lambda g: g.node[1].input.extend(["image"] * 40),
    "too_many_outputs": lambda g: g.node[1].output.extend(map(str, range(40))),
}
_MISSING: dict[str, Change] = {
    "empty_names": _clear_outputs,
    "unnamed_input": lambda g: setattr(g.input[0], "name", ""),
    "missing_required": _rename_input(0, 1, ""),
    "no_outputs": lambda g: g.ClearField("output"),
    "no_inputs": lambda g: g.ClearField("input"),
    "no_nodes": lambda g: g.ClearField("node"),
    "no_weights": lambda g: g.ClearField("initializer"),
    "node_without_outputs": lambda g: g.node[1].ClearField("output"),
    "node_without_inputs": lambda g: g.node[0].ClearField("input"),
}
_OPERATORS: dict[str, Change] = {
    "no_operator": lambda g: setattr(g.node[1], "op_type", ""),
    "unknown_operator": lambda g: setattr(g.node[1], "op_type", "Explode"),
    "unknown_domain": lambda g: setattr(g.node[1], "domain", "evil.example"),
    "training_operator": lambda g: setattr(g.node[1], "op_type", "Gradient"),
}
