"""Functions, branches and loops that nest, recur or grow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.malformed_models.base import Cases, Model
from helpers.small_models import small

_LOOPS: dict[str, tuple[int | None, bool]] = {
    "loop_2^40": (2**40, True),
    "loop_10^7": (10**7, True),
    "loop_0": (0, True),
    "loop_-1": (-1, True),
    "loop_never": (5, False),
    "loop_for_ever": (None, True),
}


def recursions() -> Cases:
    """Yield models with recursive functions, nested branches and long loops."""
    yield from _recursive_functions()
    yield "nested_branches", _nested_branches(12, constant=True)
    yield "nested_open_branches", _nested_branches(30, constant=False)  # protobuf ends at 33
    for name, (trips, condition) in _LOOPS.items():
        yield name, _loop(trips, condition)
    yield "loops_in_loops", _loop(1000, True, depth=4)
    yield "loop_grows", _loop(60, True, body="Concat")
    yield "long_chain", _long_chain(300)


def _recursive_functions() -> Cases:
    relu = helper.make_node("Relu", ["x"], ["y"])
    yield "function_of_itself", _calling([_function("F", [_call("F")])])
    yield (
        "functions_of_each_other",
        _calling([_function("F", [_call("G")]), _function("G", [_call("F")])]),
    )
    laughs = [
        _function(f"F{i}", [_call(f"F{i + 1}", "x", "m"), _call(f"F{i + 1}", "m", "y")])
        for i in range(40)
    ]
    yield "billion_laughs", _calling([*laughs, _function("F40", [relu])])
    chain = [_function(f"F{i}", [_call(f"F{i + 1}")]) for i in range(2000)]
    yield "function_chain", _calling([*chain, _function("F2000", [relu])])
    yield "function_twice", _calling([_function("F", [relu]), _function("F", [_call("F")])])
    yield "function_of_standard_name", _function_named_relu()


def _function(name: str, nodes: Sequence[onnx.NodeProto]) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["x"], ["y"], nodes, imports)


def _call(name: str, x: str = "x", y: str = "y") -> onnx.NodeProto:
    return helper.make_node(name, [x], [y], domain="own")


def _calling(functions: list[onnx.FunctionProto]) -> Model:
    """Return a model that calls the first function instead of Relu."""
    model = small("softmax")
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.extend(functions)
    node = helper.make_node(functions[0].name, ["features"], ["active"], domain="own")
    model.graph.node[1].CopyFrom(node)
    return model


def _function_named_relu() -> Model:
    """Return a model with a local function that replaces the standard Relu."""
    model = small("softmax")
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    imports = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], nodes, imports))
    return model


def _nested_branches(depth: int, constant: bool) -> Model:
    model = small("softmax")
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["features"], ["b"])], "leaf", [], [out])
    for level in range(depth):
        leaf = helper.make_graph(
            [helper.make_node("Relu", ["features"], ["b"])], f"else{level}", [], [out]
        )
        node = helper.make_node("If", ["yes"], ["b"], then_branch=graph, else_branch=leaf)
        graph = helper.make_graph([node], f"then{level}", [], [out])
    node = helper.make_node("If", ["yes"], ["active"], then_branch=graph, else_branch=graph)
    model.graph.node[1].CopyFrom(node)
    if constant:
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        return model
    nodes = [
        helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["yes"], to=TensorProto.BOOL),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return model


def _loop(trips: int | None, condition: bool, depth: int = 1, body: str = "Relu") -> Model:
    """Return a model with nested loops instead of Relu; `trips` None is no limit."""
    model = small("softmax")
    weights = {"go": np.array(condition)}
    if trips is not None:
        weights["trips"] = np.array(trips, np.int64)
    limit = "" if trips is None else "trips"
    model.graph.node[1].CopyFrom(_loop_node(depth, limit, "features", "active", body))
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items())
    return model


def _loop_node(level: int, limit: str, x: str, y: str, body: str) -> onnx.NodeProto:
    inner_x, inner_y = f"x{level}", f"y{level}"
    if level > 1:
        work = _loop_node(level - 1, limit, inner_x, inner_y, body)
    elif body == "Concat":
        work = helper.make_node("Concat", [inner_x, inner_x], [inner_y], axis=2)
    else:
        work = helper.make_node(body, [inner_x], [inner_y])
    go = helper.make_node("Identity", [f"c{level}"], [f"d{level}"])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [go, work],
        f"body{level}",
        [
            info(f"i{level}", TensorProto.INT64, []),
            info(f"c{level}", TensorProto.BOOL, []),
            info(inner_x, TensorProto.FLOAT, None),
        ],
        [info(f"d{level}", TensorProto.BOOL, []), info(inner_y, TensorProto.FLOAT, None)],
    )
    return helper.make_node("Loop", [limit, "go", x], [y], body=graph)


def _long_chain(length: int) -> Model:
    """Return a model with many operators in a row."""
    model = small("softmax")
    nodes = [
        helper.make_node("Relu", [f"r{i}" if i else "features"], [f"r{i + 1}"])
        for i in range(length)
    ]
    model.graph.node[1].input[0] = f"r{length}"
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([rest[0], *nodes, *rest[1:]])
    return model
