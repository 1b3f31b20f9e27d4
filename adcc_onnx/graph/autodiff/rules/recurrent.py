"""Recurrent layers, unrolled over a sequence of fixed length and written in simpler operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adcc_onnx.graph.autodiff.builder import FLOAT, Tensor
from adcc_onnx.graph.autodiff.call import Call, UnsupportedNodeError
from adcc_onnx.graph.autodiff.rules.rule_registry import decomposition

_MOST_STEPS = 512
State = tuple[Tensor, ...]  # h, and for an LSTM also c; [batch, hidden] each


@dataclass(frozen=True)
class Direction:
    """The weights of one direction of a recurrent layer.

    Attributes:
        projected: x W^T + b for all steps, [steps, batch, gates * hidden].
        recurrence: R^T, [hidden, gates * hidden].
        bias: The recurrent bias, [gates * hidden]; None if there is none.
        hidden: The number of hidden units.
    """

    projected: Tensor
    recurrence: Tensor
    bias: Tensor | None
    hidden: int

    def gates(self, step: int, h: Tensor) -> list[Tensor]:
        """W x_t + R h + b of each gate, [batch, hidden] each."""
        return self.split(self.inputs(step) + self.recurrent(h))

    def inputs(self, step: int) -> Tensor:
        """W x_t + b, [batch, gates * hidden]."""
        ints = self.projected.builder.ints
        part = self.projected.op("Slice", ints(step), ints(step + 1), ints(0))
        return part.op("Squeeze", ints(0))

    def recurrent(self, h: Tensor) -> Tensor:
        """R h + b, [batch, gates * hidden]."""
        product = h.op("MatMul", self.recurrence)
        return product if self.bias is None else product + self.bias

    def split(self, gates: Tensor) -> list[Tensor]:
        """[batch, gates * hidden] as one tensor [batch, hidden] per gate."""
        ints = gates.builder.ints
        width = gates.dims[-1] if gates.dims else None
        count = (width if isinstance(width, int) else 0) // self.hidden
        bounds = range(0, count * self.hidden, self.hidden)
        return [gates.op("Slice", ints(a), ints(a + self.hidden), ints(1)) for a in bounds]


Cell = Callable[[Direction, int, State], State]


def lstm_cell(weights: Direction, step: int, state: State) -> State:
    """Compute c' = f c + i g and h' = o tanh(c'), gates in the order i, o, f, g.

    Hochreiter and Schmidhuber 1997; the order of the gates is that of ONNX's LSTM.
    """
    h, c = state
    i, o, f, g = weights.gates(step, h)
    c = f.op("Sigmoid") * c + i.op("Sigmoid") * g.op("Tanh")
    return o.op("Sigmoid") * c.op("Tanh"), c


def gru_cell(weights: Direction, step: int, state: State) -> State:
    """Compute h' = (1 - z) n + z h with n = tanh(W x + r (R h + b)), gates in the order z, r, n.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078; `linear_before_reset = 1`, as exporters write.
    """
    (h,) = state
    z, r, n = (
        (from_x, from_h)
        for from_x, from_h in zip(
            weights.split(weights.inputs(step)), weights.split(weights.recurrent(h)), strict=True
        )
    )
    update, reset = (z[0] + z[1]).op("Sigmoid"), (r[0] + r[1]).op("Sigmoid")
    candidate = (n[0] + reset * n[1]).op("Tanh")
    return ((1.0 - update) * candidate + update * h,)


def gru_cell_reset_first(weights: Direction, step: int, state: State) -> State:
    """As `gru_cell`, with n = tanh(W x + R (r h) + b): `linear_before_reset = 0`."""
    (h,) = state
    z, r, _ = weights.gates(step, h)
    update, reset = z.op("Sigmoid"), r.op("Sigmoid")
    candidate = weights.gates(step, reset * h)[2].op("Tanh")
    return ((1.0 - update) * candidate + update * h,)


def rnn_cell(weights: Direction, step: int, state: State) -> State:
    """Compute h' = tanh(W x + R h + b)."""
    return (weights.gates(step, state[0])[0].op("Tanh"),)


def unroll(n: Call, cell: Cell, gates: int, states: int) -> list[Tensor | None]:
    """The outputs of a recurrent layer: all h [steps, directions, batch, hidden], then each state.

    Args:
        n: The node; inputs are X, W, R, B, the lengths of the sequences, and the initial states.
        cell: One step of the layer.
        gates: The number of gates.
        states: 1 for h alone, 2 for h and c.
    """
    _require_supported(n, states)
    batch_first = bool(n.attribute("layout", 0))
    x = n[0].transpose([1, 0, 2]) if batch_first else n[0]
    steps, hidden = n.size(1 if batch_first else 0), n.size(2, 2)
    if steps > _MOST_STEPS:
        raise UnsupportedNodeError(f"its sequence of {steps} steps is too long to unroll")
    hs, finals = [], []
    reverse = _reversed_directions(n)
    for direction, backwards in enumerate(reverse):
        weights = _weights_of(n, x, direction, gates, hidden)
        state = _initial(n, x, direction, hidden, states, batch_first)
        outputs: dict[int, Tensor] = {}
        for step in reversed(range(steps)) if backwards else range(steps):
            state = cell(weights, step, state)
            outputs[step] = state[0]
        hs.append(_stack([outputs[step] for step in range(steps)], 0))
        finals.append(state)
    every = _stack(hs, 1)
    last: list[Tensor | None] = [_stack([f[s] for f in finals], 0) for s in range(states)]
    if batch_first:
        every = every.transpose([2, 0, 1, 3])
        last = [None if s is None else s.transpose([1, 0, 2]) for s in last]
    return [every, *last]


def _require_supported(n: Call, states: int) -> None:
    if n.has(4):
        raise UnsupportedNodeError("its sequences have lengths of their own")
    if n.has(7):
        raise UnsupportedNodeError("it has peepholes")
    if n.attribute("clip") is not None or n.attribute("input_forget", 0):
        raise UnsupportedNodeError("it clips its cell, or couples its gates")
    usual = {2: ["sigmoid", "tanh", "tanh"], 1: ["sigmoid", "tanh"]}[states]
    if n.node.op_type == "RNN":
        usual = ["tanh"]
    given = [_text(name).lower() for name in n.attribute("activations", usual)]
    if given != usual * (len(given) // len(usual)):
        raise UnsupportedNodeError(f"its activation functions are {', '.join(given)}")


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _reversed_directions(n: Call) -> tuple[bool, ...]:
    """For each direction of the layer, whether it runs from the last step to the first."""
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    return directions[_text(n.attribute("direction", "forward"))]


def _weights_of(n: Call, x: Tensor, direction: int, gates: int, hidden: int) -> Direction:
    kernel, recurrence = (_pick(n[index], direction).transpose([1, 0]) for index in (1, 2))
    projected = x.op("MatMul", kernel)
    bias = None
    if n.has(3):
        ints, both = n.builder.ints, _pick(n[3], direction)
        middle = gates * hidden
        projected = projected + both.op("Slice", ints(0), ints(middle), ints(0))
        bias = both.op("Slice", ints(middle), ints(2 * middle), ints(0))
    return Direction(projected, recurrence, bias, hidden)


def _initial(
    n: Call, x: Tensor, direction: int, hidden: int, states: int, batch_first: bool
) -> State:
    """The state before the first step: as given, or zeros."""
    shape = n.builder.op("Concat", x.op("Shape", start=1, end=2), n.builder.ints(hidden), axis=0)
    found = []
    for index in range(5, 5 + states):
        if not n.has(index):
            found.append(n.builder.zeros(shape, FLOAT))
            continue
        given = n[index].transpose([1, 0, 2]) if batch_first else n[index]
        found.append(_pick(given, direction))
    return tuple(found)


def _pick(tensor: Tensor, index: int) -> Tensor:
    """Entry `index` of the first axis."""
    ints = tensor.builder.ints
    part = tensor.op("Slice", ints(index), ints(index + 1), ints(0))
    return part.op("Squeeze", ints(0))


def _stack(tensors: list[Tensor], axis: int) -> Tensor:
    ints = tensors[0].builder.ints
    return tensors[0].builder.op(
        "Concat", *(tensor.op("Unsqueeze", ints(axis)) for tensor in tensors), axis=axis
    )


def lstm(n: Call) -> list[Tensor | None]:
    """Write a long short-term memory in simpler operators."""
    return unroll(n, lstm_cell, gates=4, states=2)


def gru(n: Call) -> list[Tensor | None]:
    """Write a gated recurrent unit in simpler operators."""
    cell = gru_cell if n.attribute("linear_before_reset", 0) else gru_cell_reset_first
    return unroll(n, cell, gates=3, states=1)


def rnn(n: Call) -> list[Tensor | None]:
    """Write an Elman network in simpler operators."""
    return unroll(n, rnn_cell, gates=1, states=1)


decomposition("LSTM", lstm)
decomposition("GRU", gru)
decomposition("RNN", rnn)
