"""Comparison of exported PyTorch models with random weights with torch autograd in float64."""

from __future__ import annotations

import io
import itertools
import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray

from adcc_onnx.graph.classifier.default_layer import default_layer
from adcc_onnx.graph.classifier.image_classifier import read_classifier
from adcc_onnx.graph.classifier.layers import explainable_layers
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose


class IllPosedError(Exception):
    """No images were found whose gradient float32 can represent, so nothing can be compared."""


Array = NDArray[Any]
Gradient = tuple[float, Array]  # (largest difference of the activations, gradient)
_MAX_DRAWS = 12  # random images per class
# Relative perturbation of the output of each module: a few float32 roundings, or one.
_JITTERS = (5e-7, 1.2e-7)
_JITTERED_RUNS = 3
# Bounds of torch's own error without and with perturbation, relative to the largest gradient. A
# change of side at a kink costs 1e-3 and more.
_TOLERANCE, _JITTERED_TOLERANCE = 5e-5, 1e-4
_MAX_LAYERS = 60  # layers compared with the outputs of the modules


def randomize(model: torch.nn.Module, weights: bool = True) -> torch.nn.Module:
    """Set random batch-norm statistics, which reveal wrong folding, and weights of unit gain."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if weights and isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.6, 1.6),
                (module.weight.data, 0.6, 1.4),
                (module.bias.data, -0.2, 0.2),
            ):
                assert isinstance(tensor, torch.Tensor)
                tensor.copy_(torch.empty_like(tensor).uniform_(low, high, generator=generator))
    return model.eval()


def export(model: torch.nn.Module, images: torch.Tensor, dynamo: bool = False) -> onnx.ModelProto:
    """Export a model with a dynamic batch axis, by the TorchScript or the dynamo exporter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("batch", min=1, max=64)
            program = torch.onnx.export(
                model, (images,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
            )
            assert program is not None
            proto: onnx.ModelProto = program.model_proto
            return proto
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


def default_and_earlier(
    model: torch.nn.Module, proto: onnx.ModelProto, share: float, size: int
) -> list[str]:
    """Return the default layer and the last module output in the first `share` of the layers."""
    classifier = read_classifier(prepare(ir.from_proto(proto)))
    layers = explainable_layers(classifier)
    first = [layer.name for layer in layers[1 : max(int(len(layers) * share), 2)]]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    values = activations_of(proto, first[-_MAX_LAYERS:], images.numpy())
    tensors = module_tensors(model, images)[0]
    outputs = [
        name
        for name, value in values.items()
        if any(
            t.shape == value.shape
            and np.abs(t.detach().numpy() - value).max() < 1e-3 * scale_of(value)
            for t in tensors
        )
    ]
    return [default_layer(classifier).name, outputs[-1]]


def scale_of(value: Array) -> float:
    """Return the largest absolute value, 1 if all are 0."""
    return float(np.abs(value).max()) or 1.0


def activations_of(proto: onnx.ModelProto, names: list[str], images: Array) -> dict[str, Array]:
    """Return intermediate values of the model, by name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    results = session.run(names, {session.get_inputs()[0].name: images})
    return dict(zip(names, results, strict=True))


def module_tensors(
    model: torch.nn.Module, images: torch.Tensor, jitter: float = 0.0
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the inputs and outputs of all modules, and the scores, with their autograd graph.

    With `jitter`, the output of each innermost module is perturbed at random by that relative
    amount, as another order of summation might do.
    """
    tensors: list[torch.Tensor] = []

    def record(_: Any, inputs: Any, output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        for tensor in (*inputs, *outputs):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor.dim() >= 3:
                tensors.append(tensor)

    def perturb(_: Any, inputs: Any, output: Any) -> Any:
        return output * (1 + jitter * torch.randn_like(output)) if jitter else output

    inner = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(perturb) for module in inner if jitter]
    handles += [module.register_forward_hook(record) for module in model.modules()]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    scores = model(images.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    return tensors, scores


def exposed_gradients(
    proto: onnx.ModelProto, layers: list[str], images: Array, targets: Array
) -> dict[str, Array]:
    """Run the model that `expose` writes; returns its outputs by name."""
    exposed = expose(proto, layers)
    onnx.checker.check_model(exposed, full_check=True)
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    feeds = {session.get_inputs()[0].name: images, "target": targets}
    return dict(zip(names, session.run(None, feeds), strict=True))


def autograd_at(
    model: torch.nn.Module,
    images: torch.Tensor,
    targets: Array,
    values: list[Array],
    jitter: float = 0.0,
) -> list[Gradient]:
    """Return the score's gradient at the module output or input that is closest to each value."""
    tensors, scores = module_tensors(model, images, jitter)
    score = scores[torch.arange(len(images)), torch.from_numpy(targets)].sum()
    gradients = []
    for value in values:
        candidates = [t for t in tensors if tuple(t.shape) == value.shape]
        expected = torch.from_numpy(value)
        differences = [float((t.detach() - expected).abs().max()) for t in candidates]
        best = int(np.argmin(differences))
        (gradient,) = torch.autograd.grad(score, candidates[best], retain_graph=True)
        gradients.append((differences[best], gradient.numpy()))
    return gradients


def worst_errors(
    model: torch.nn.Module, size: int, share: float = 0.5, dynamo: bool = False
) -> list[tuple[str, int, float]]:
    """Return (layer, number of nodes, max abs difference / max abs gradient) at two layers."""
    proto = export(model, torch.randn(3, 3, size, size), dynamo)
    layers = default_and_earlier(model, proto, share, size)
    with torch.no_grad():
        classes = model(torch.zeros(1, 3, size, size)).shape[1]
    targets = np.array([1, classes // 2, classes - 1])
    outputs, references = compare_on_stable_images(model, proto, layers, targets, size)
    rows = []
    for layer, (difference, reference) in zip(layers, references, strict=True):
        scale = np.abs(outputs[f"{layer}.activation"]).max()
        assert difference <= 1e-3 * scale, f"no module of the torch model computes '{layer}'"
        error = np.abs(outputs[f"{layer}.gradient"] - reference).max() / np.abs(reference).max()
        rows.append((layer, len(proto.graph.node), float(error)))
    return rows


def compare_on_stable_images(
    model: torch.nn.Module,
    proto: onnx.ModelProto,
    layers: list[str],
    targets: Array,
    size: int,
) -> tuple[dict[str, Array], list[Gradient]]:
    """Return our outputs and torch's float64 gradients on images with a stable float32 gradient.

    If the input of a ReLU is within rounding of 0, or two inputs of a MaxPool within rounding of
    each other, the float32 gradient is arbitrary in any framework (torch itself differs from its
    float64 gradient by up to 2 %). Each of the three images is therefore drawn until torch's
    float32 and float64 gradients agree, even if every module's output is perturbed by a rounding.
    Our own result does not influence the choice.
    """
    chosen: list[torch.Tensor | None] = [None] * len(targets)
    # Use the smaller perturbation only if no image is stable under the larger one.
    for jitter, seed in itertools.product(_JITTERS, range(_MAX_DRAWS)):
        drawn = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(seed))
        stable = stable_images(model, layers, drawn, targets, proto, jitter)
        chosen = [
            image if image is not None else (drawn[i] if stable[i] else None)
            for i, image in enumerate(chosen)
        ]
        if all(image is not None for image in chosen):
            images = torch.stack([image for image in chosen if image is not None])
            outputs = exposed_gradients(proto, layers, images.numpy(), targets)
            values = [outputs[f"{layer}.activation"] for layer in layers]
            double = autograd_at(model.double(), images.double(), targets, values)
            model.float()
            return outputs, double
    raise IllPosedError(f"torch's float32 and float64 gradients differ on {_MAX_DRAWS} draws")


def stable_images(
    model: torch.nn.Module,
    layers: list[str],
    images: torch.Tensor,
    targets: Array,
    proto: onnx.ModelProto,
    jitter: float,
) -> NDArray[np.bool_]:
    """Return [N] whether torch's float32 gradients are its float64 ones, with perturbations too."""
    values = list(activations_of(proto, layers, images.numpy()).values())
    double = autograd_at(model.double(), images.double(), targets, values)
    model.float()
    stable = np.ones(len(images), bool)
    for amount in (0.0, *[jitter] * _JITTERED_RUNS):
        if not stable.any():
            break
        gradients = autograd_at(model, images, targets, values, amount)
        bound = _JITTERED_TOLERANCE if amount else _TOLERANCE
        for (_, single), (_, exact) in zip(gradients, double, strict=True):
            error = np.abs(single - exact).reshape(len(images), -1).max(axis=1)
            stable &= error <= bound * np.abs(exact).max()
    return stable
