"""Gradients through recurrent layers, against torch autograd in float64."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from adcc_onnx.errors import NoGradientRuleError
from adcc_onnx.graph.programs.expose import expose

torch = pytest.importorskip("torch")


class Rows(torch.nn.Module):
    """Reads the rows of a feature map as a sequence, as text recognizers do."""

    def __init__(self, recurrent: Any, width: int, batch_first: bool) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.recurrent, self.batch_first = recurrent, batch_first
        self.head = torch.nn.Linear(width, 5)

    def forward(self, x: Any) -> Any:
        return self.scores(torch.relu(self.features(x)))

    def scores(self, maps: Any) -> Any:  # maps: [N, 4, 6, 7]
        rows = maps.permute(0, 2, 1, 3).flatten(2)  # [N, 6, 28]
        if not self.batch_first:
            rows = rows.transpose(0, 1)
        every, _ = self.recurrent(rows)
        return self.head(every.mean(1 if self.batch_first else 0))


def network(kind: str, layers: int, both: bool, batch_first: bool) -> Any:
    torch.manual_seed(0)
    recurrent = getattr(torch.nn, kind)(
        28, 9, num_layers=layers, bidirectional=both, batch_first=batch_first
    )
    return Rows(recurrent, 18 if both else 9, batch_first).eval()


@pytest.mark.parametrize(
    ("layers", "both", "batch_first"),
    [(1, False, False), pytest.param(2, True, True, marks=pytest.mark.slow)],
    ids=["one", "both"],
)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gradients_equal_torch_autograd(
    kind: str, layers: int, both: bool, batch_first: bool
) -> None:
    net = network(kind, layers, both, batch_first)
    x = torch.randn(2, 3, 6, 7)
    file = io.BytesIO()
    torch.onnx.export(
        net, (x,), file, input_names=["x"], dynamic_axes={"x": {0: "n"}}, dynamo=False
    )
    model = onnx.load_model_from_string(file.getvalue())
    relu = next(node.output[0] for node in model.graph.node if node.op_type == "Relu")
    exposed = expose(model, [relu])
    session = onnxruntime.InferenceSession(exposed.SerializeToString())
    found = session.run([f"{relu}.gradient"], {"x": x.numpy(), "target": np.array([1, 3])})[0]

    exact = net.double()
    maps = torch.relu(exact.features(x.double())).detach().requires_grad_()
    exact.scores(maps)[[0, 1], [1, 3]].sum().backward()
    wanted = maps.grad.numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_lengths_of_their_own_are_refused() -> None:
    text = """<ir_version: 8, opset_import: ["" : 18]>
    g (float[n,3,6,7] x) => (float[n,5] y) <float[1,20,21] w, float[1,20,5] r, int32[2] lengths> {
      c = Relu (x)
      t = Transpose <perm = [2, 0, 1, 3]> (c)
      shape = Constant <value = int64[3] {6, -1, 21}> ()
      s = Reshape (t, shape)
      every, last = LSTM <hidden_size = 5> (s, w, r, , lengths)
      axes = Constant <value = int64[1] {0}> ()
      y = Squeeze (last, axes)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for value in list(model.graph.input[1:]):
        model.graph.input.remove(value)
    del model.graph.initializer[:]
    values = {
        "w": rng.standard_normal((1, 20, 21)).astype(np.float32),
        "r": rng.standard_normal((1, 20, 5)).astype(np.float32),
        "lengths": np.array([6, 4], np.int32),
    }
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in values.items()
    )
    with pytest.raises(NoGradientRuleError, match="lengths of their own"):
        expose(model, ["c"])
