"""Exporting torch models with random weights, and their gradients by torch autograd."""

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

from adcc_onnx.graph.classifier.layers import default_layer, explainable
from adcc_onnx.graph.classifier.scores import read_classifier
from adcc_onnx.graph.passes.prepare import prepare
from adcc_onnx.graph.programs.expose import expose


class IllPosedError(Exception):
    """No images were found on which float32 has a gradient to compare with."""


_DRAWS = 12
_TRIES, _JITTERS = 3, (5e-7, 1.2e-7)  # relative: a few roundings of float32, or one, a module
_AGREES, _STAYS = 5e-5, 1e-4  # of the largest gradient; a kink that is passed costs 1e-3 and more
_TRIED = 60  # layers looked at for one that a module gives


def randomize(model: torch.nn.Module, weights: bool = True) -> torch.nn.Module:
    """Weights of unit gain if wished, and batch-norm statistics whose folding would be seen."""
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
    """The default layer, and the last of the first `share` of the layers that a module gives."""
    classifier = read_classifier(prepare(ir.from_proto(proto)))
    layers = explainable(classifier)
    first = [layer.name for layer in layers[1 : max(int(len(layers) * share), 2)]]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    values = activations_of(proto, first[-_TRIED:], images.numpy())
    tensors = module_tensors(model, images)[0]
    given = [
        name
        for name, value in values.items()
        if any(
            t.shape == value.shape
            and np.abs(t.detach().numpy() - value).max() < 1e-3 * scale_of(value)
            for t in tensors
        )
    ]
    return [default_layer(classifier).name, given[-1]]


def scale_of(value: np.ndarray) -> float:
    return float(np.abs(value).max()) or 1.0


def activations_of(
    proto: onnx.ModelProto, names: list[str], images: np.ndarray
) -> dict[str, np.ndarray]:
    """Values inside the model."""
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    results = session.run(names, {session.get_inputs()[0].name: images})
    return dict(zip(names, results, strict=True))


def module_tensors(
    model: torch.nn.Module, images: torch.Tensor, jitter: float = 0.0
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Every tensor that a module takes or gives, and the scores; differentiable from the images.

    With `jitter`, what each innermost module gives is off by so much, relatively and at random: as
    another order of summation might leave it.
    """
    kept: list[torch.Tensor] = []

    def keep(_: Any, inputs: Any, output: Any) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        for tensor in (*inputs, *outputs):
            if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor.dim() >= 3:
                kept.append(tensor)

    def shake(_: Any, inputs: Any, output: Any) -> Any:
        return output * (1 + jitter * torch.randn_like(output)) if jitter else output

    inner = [module for module in model.modules() if not list(module.children())]
    handles = [module.register_forward_hook(shake) for module in inner if jitter]
    handles += [module.register_forward_hook(keep) for module in model.modules()]
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    scores = model(images.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    return kept, scores


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
    model: torch.nn.Module,
    images: torch.Tensor,
    targets: np.ndarray,
    values: list[np.ndarray],
    jitter: float = 0.0,
) -> list[tuple[float, np.ndarray]]:
    """The gradient of the target's score at the module output or input that equals each value.

    Every tensor that modules give or take is kept; the one closest to the wanted activation is
    the layer. Returns (difference of the activations, gradient) of each.
    """
    kept, scores = module_tensors(model, images, jitter)
    score = scores[torch.arange(len(images)), torch.from_numpy(targets)].sum()
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
    layers = default_and_earlier(model, proto, share, size)
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
) -> tuple[dict[str, np.ndarray], list[tuple[float, np.ndarray]]]:
    """Our outputs and torch's float64 gradients, at images where torch's own float32 is right.

    Where a ReLU's input or two rivals of a MaxPool lie within rounding of each other, the float32
    gradient is a coin's toss in any framework (torch itself misses its float64 by up to 2 %).
    Each of the three images is drawn until torch agrees with itself, also where every module's
    result is off by a rounding; our own result has no say in the choice.
    """
    chosen: list[torch.Tensor | None] = [None] * len(targets)
    # As much rounding as the network bears: less where no image passes with more.
    for jitter, seed in itertools.product(_JITTERS, range(_DRAWS)):
        drawn = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(seed))
        sound = steady(model, layers, drawn, targets, proto, jitter)
        chosen = [
            image if image is not None else (drawn[i] if sound[i] else None)
            for i, image in enumerate(chosen)
        ]
        if all(image is not None for image in chosen):
            images = torch.stack([image for image in chosen if image is not None])
            outputs = exposed_gradients(proto, layers, images.numpy(), targets)
            values = [outputs[f"{layer}.activation"] for layer in layers]
            double = autograd_at(model.double(), images.double(), targets, values)
            model.float()
            return outputs, double
    raise IllPosedError(f"torch misses its own float64 on {_DRAWS} draws")


def steady(
    model: torch.nn.Module,
    layers: list[str],
    images: torch.Tensor,
    targets: np.ndarray,
    proto: onnx.ModelProto,
    most: float,
) -> np.ndarray:
    """At which images torch's float32 gradients are its float64 ones, roundings or not: [N]."""
    values = list(activations_of(proto, layers, images.numpy()).values())
    double = autograd_at(model.double(), images.double(), targets, values)
    model.float()
    sound = np.ones(len(images), bool)
    for jitter in (0.0, *[most] * _TRIES):
        if not sound.any():
            break
        found = autograd_at(model, images, targets, values, jitter)
        bound = _STAYS if jitter else _AGREES
        for (_, single), (_, exact) in zip(found, double, strict=True):
            error = np.abs(single - exact).reshape(len(images), -1).max(axis=1)
            sound &= error <= bound * np.abs(exact).max()
    return sound
