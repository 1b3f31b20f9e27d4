"""Exporting torch models with random weights, and their gradients by torch autograd."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch

from adcc_onnx.graph.build import dims_of
from adcc_onnx.graph.classifier import read_classifier
from adcc_onnx.graph.expose import expose
from adcc_onnx.graph.gradient import path_nodes
from adcc_onnx.graph.layers import default_layer
from adcc_onnx.graph.loading import prepare


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights of unit gain, and batch-norm statistics whose folding would be seen."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.6, 1.6),
                (module.weight.data, 0.6, 1.4),
                (module.bias.data, -0.2, 0.2),
            ):
                tensor.copy_(torch.empty_like(tensor).uniform_(low, high, generator=generator))
    return model.eval()


def export(model: torch.nn.Module, images: torch.Tensor, dynamo: bool = False) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("batch", min=1, max=64)
            program = torch.onnx.export(
                model, (images,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
            )
            return program.model_proto
        buffer = io.BytesIO()
        torch.onnx.export(
            model,
            (images,),
            buffer,
            dynamo=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            opset_version=17,
            do_constant_folding=False,
        )
        return onnx.load_from_string(buffer.getvalue())


def default_and_earlier(proto: onnx.ModelProto, share: float) -> list[str]:
    """The default layer, and the last feature map within the first `share` of the nodes."""
    classifier = read_classifier(prepare(ir.from_proto(proto)))
    path = path_nodes([classifier.logits], [classifier.image])
    early = [
        node.outputs[0]
        for node in path[: int(len(path) * share)]
        if len(dims_of(node.outputs[0]) or ()) == 4 and node.op_type in ("Conv", "Relu", "Clip")
    ]
    return [default_layer(classifier).name, early[-1].name or ""]


def exposed_gradients(
    proto: onnx.ModelProto, layers: list[str], images: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    exposed = expose(proto, layers)
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    feeds = {session.get_inputs()[0].name: images, "target": targets}
    return dict(zip(names, session.run(None, feeds), strict=True))


def autograd_at(
    model: torch.nn.Module, images: torch.Tensor, targets: np.ndarray, values: list[np.ndarray]
) -> list[tuple[float, np.ndarray]]:
    """The gradient of the target's score at the module output or input that equals each value.

    Every tensor that modules give or take is kept; the one closest to the wanted activation is
    the layer. Returns (difference of the activations, gradient) of each.
    """
    kept: list[torch.Tensor] = []

    def keep(_: Any, inputs: Any, output: Any) -> None:
        for tensor in (*inputs, output):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor.dim() >= 3:
                kept.append(tensor)

    handles = [module.register_forward_hook(keep) for module in model.modules()]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    source = images.clone().requires_grad_()
    score = model(source)[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    for handle in handles:
        handle.remove()
    found = []
    for value in values:
        alike = [t for t in kept if tuple(t.shape) == value.shape]
        differences = [float((t.detach() - torch.from_numpy(value)).abs().max()) for t in alike]
        best = int(np.argmin(differences))
        (gradient,) = torch.autograd.grad(score, alike[best], retain_graph=True)
        found.append((differences[best], gradient.numpy()))
    return found


def worst_errors(
    model: torch.nn.Module, size: int, share: float = 0.5, dynamo: bool = False
) -> list[tuple[str, int, float]]:
    """(layer, nodes of the model, max abs difference / max abs gradient) at two layers."""
    proto = export(model, torch.randn(3, 3, size, size), dynamo)
    layers = default_and_earlier(proto, share)
    with torch.no_grad():
        classes = model(torch.zeros(1, 3, size, size)).shape[1]
    targets = np.array([1, classes // 2, classes - 1])
    outputs, references = well_posed(model, proto, layers, targets, size)
    rows = []
    for layer, (difference, reference) in zip(layers, references, strict=True):
        scale = np.abs(outputs[f"{layer}.activation"]).max()
        assert difference <= 1e-3 * scale, f"no module of the torch model gives '{layer}'"
        error = np.abs(outputs[f"{layer}.gradient"] - reference).max() / np.abs(reference).max()
        rows.append((layer, len(proto.graph.node), float(error)))
    return rows


def well_posed(
    model: torch.nn.Module,
    proto: onnx.ModelProto,
    layers: list[str],
    targets: np.ndarray,
    size: int,
    tolerance: float = 2e-5,
) -> tuple[dict[str, np.ndarray], list[tuple[float, np.ndarray]]]:
    """Our outputs and torch's float64 gradients, at images where torch's own float32 is right.

    Where a ReLU's input or two rivals of a MaxPool lie within rounding of each other, the float32
    gradient is a coin's toss in any framework (torch itself misses its float64 by up to 2 %).
    Images are drawn until torch agrees with itself, also after a nudge of the size of rounding;
    our own result has no say in the choice.
    """
    for seed in range(20):
        images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(seed))
        outputs = exposed_gradients(proto, layers, images.numpy(), targets)
        values = [outputs[f"{layer}.activation"] for layer in layers]
        single = autograd_at(model, images, targets, values)
        nudged = autograd_at(model, images * (1 + 1e-6), targets, values)
        double = autograd_at(model.double(), images.double(), targets, values)
        model.float()
        if all(
            np.abs(a - c).max() <= tolerance * np.abs(c).max()
            and np.abs(b - c).max() <= tolerance * np.abs(c).max()
            for (_, a), (_, b), (_, c) in zip(single, nudged, double, strict=True)
        ):
            return outputs, double
    raise AssertionError("no well-posed images in 20 draws")
