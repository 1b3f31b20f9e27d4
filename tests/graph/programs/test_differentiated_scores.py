"""The scores that gradients refer to, against torch autograd in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.cams.method import Need
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import OptionError
from adcc_onnx.explanation.batch_context import BatchContext
from adcc_onnx.explanation.run_outputs import run_images
from adcc_onnx.graph.programs.differentiated_scores import SCORES

torch = pytest.importorskip("torch")
F = torch.nn.functional

IMAGES = np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)
TARGETS = np.array([0, 3, 4, 1])
HEADS = {
    "softmax": "logits",
    "sigmoid": "flat = Flatten (pooled) y = Gemm <transB = 1> (flat, weights) scores = Sigmoid (y)",
}
LOG_P: dict[str, Callable[[Any], Any]] = {
    "softmax": lambda y: F.log_softmax(y, dim=1),
    "sigmoid": F.logsigmoid,
}
WANTED: dict[str, Callable[[Any, Any], Any]] = {
    "logits": lambda y, log_p: y,
    "probabilities": lambda y, log_p: log_p.exp(),
    "log-probabilities": lambda y, log_p: log_p,
    "rest": lambda y, log_p: y + log_p,
}


class Network(torch.nn.Module):
    """The same network as `small`, in torch."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        super().__init__()
        weights = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.relu = torch.nn.ReLU()
        self.head = torch.nn.Linear(4, 5, bias=False)
        self.conv.weight.data = torch.tensor(weights["kernel"])
        self.head.weight.data = torch.tensor(weights["weights"])

    def forward(self, images: Any) -> Any:
        return self.head(self.relu(self.conv(images)).mean(dim=(2, 3)))


@pytest.fixture(params=HEADS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(kind: str, tmp_path: Path) -> Path:
    onnx.save(small(HEADS[kind]), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def torch_gradients(proto: onnx.ModelProto, kind: str, scores: str) -> dict[str, np.ndarray]:
    """The gradients of each target's score at the layer and at the image, in float64."""
    network = Network(proto).double()
    images = torch.from_numpy(IMAGES).double().requires_grad_()
    layer = network.relu(network.conv(images))
    y = network.head(layer.mean(dim=(2, 3)))
    score = WANTED[scores](y, LOG_P[kind](y))[torch.arange(4), torch.from_numpy(TARGETS)].sum()
    found = torch.autograd.grad(score, [layer, images])
    return dict(zip(("layer", "image"), (g.numpy() for g in found), strict=True))


@pytest.mark.parametrize("scores", SCORES)
def test_gradients_equal_those_of_torch(scores: str, kind: str, path: Path) -> None:
    wanted = torch_gradients(onnx.load(path), kind, scores)
    model = adcc.load(path, layers="active", scores=scores, device="cpu")
    assert model.scores == scores
    needs = frozenset({Need.ACTIVATIONS, Need.GRADIENTS, Need.IMAGE_GRADIENT})
    context = BatchContext(run_images(model, IMAGES, TARGETS, needs, [0] * 4))
    for found, name in ((context.gradients, "layer"), (context.image_gradient, "image")):
        scale = np.abs(wanted[name]).max()
        np.testing.assert_allclose(found, wanted[name], atol=1e-6 * scale)
    exposed = adcc.expose(path, "active", scores)
    session = onnxruntime.InferenceSession(exposed.SerializeToString())
    *_, gradient = session.run(None, {"image": IMAGES, "target": TARGETS})
    np.testing.assert_allclose(gradient, context.gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("torchvision")  # which pytorch_grad_cam imports
@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
@pytest.mark.parametrize("scores", ["probabilities", "rest"])
def test_maps_equal_those_of_pytorch_grad_cam(scores: str, method: str, tmp_path: Path) -> None:
    cams = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils import model_targets

    classes = {"gradcam": "GradCAM", "hirescam": "HiResCAM", "layercam": "LayerCAM"}
    cls = getattr(cams, classes[method])
    name = "ClassifierOutputReST" if scores == "rest" else "ClassifierOutputSoftmaxTarget"
    targets = [getattr(model_targets, name)(int(c)) for c in TARGETS]
    onnx.save(small(), tmp_path / "net.onnx")
    network = Network(onnx.load(tmp_path / "net.onnx"))
    with cls(model=network, target_layers=[network.relu]) as cam:
        theirs = cam(input_tensor=torch.from_numpy(IMAGES), targets=targets)
    model = adcc.load(tmp_path / "net.onnx", layers="active", scores=scores, device="cpu")
    ours = adcc.explain(model, IMAGES, method, [int(c) for c in TARGETS]).maps
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_baked_map_equals_that_of_explain(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    model = adcc.load(tmp_path / "net.onnx", layers="active", scores="rest", device="cpu")
    found = {}
    for name, baked in (
        ("of the model", adcc.bake(model, "hirescam")),
        ("by name", adcc.bake(tmp_path / "net.onnx", "hirescam", "active", scores="rest")),
        ("of logits", adcc.bake(tmp_path / "net.onnx", "hirescam", "active")),
    ):
        session = onnxruntime.InferenceSession(baked.SerializeToString())
        found[name] = session.run(["heatmap"], {"image": IMAGES})[0]
    maps = adcc.explain(model, IMAGES, "hirescam").maps
    np.testing.assert_allclose(found["of the model"], maps, atol=1e-5)
    np.testing.assert_allclose(found["by name"], maps, atol=1e-5)
    assert np.abs(found["of logits"] - maps).max() > 1e-3


def test_a_run_records_other_scores_than_logits(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    options = {"layers": "active", "device": "cpu"}
    plain = adcc.evaluate(tmp_path / "net.onnx", IMAGES, "hirescam", "complexity", **options)
    rest = adcc.evaluate(
        tmp_path / "net.onnx", IMAGES, "hirescam", "complexity", scores="rest", **options
    )
    assert "differentiated" not in plain.stored_run.config
    assert rest.stored_run.config["differentiated"] == "rest"
    assert "gradients of rest" in adcc.render_report(rest)
    assert '"differentiated": "rest"' in adcc.render_report(rest, format="json")
    assert plain.methods["hirescam"].scores != rest.methods["hirescam"].scores
    # Methods without gradients are the same.
    assert get_method("scorecam").needs.isdisjoint({Need.GRADIENTS})


def test_unknown_scores_are_an_error(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.onnx")
    with pytest.raises(OptionError, match="did you mean 'probabilities'"):
        adcc.load(tmp_path / "net.onnx", scores="probability")
