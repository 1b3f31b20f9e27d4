"""The layers that a library's own code pools or attends to, recorded by hooks in torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

_ATTENTION = re.compile(r"Attention|Attn|^XCA$|^GPSA$|^MHSA$|^MultiheadAttention$")
# Modules of these names weight channels, pool tokens, or contain an attention with other modules.
_NO_ATTENTION = re.compile(
    r"Pool|Channel|Spatial|SE|Eca|Cbam|Bam|Output|Radix|Block|Layer|Stage|Encoder|Cache"
)
_POOL = re.compile(r"Pool")
MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True)
class OwnLayer:
    """A tensor of the library's own forward pass.

    Attributes:
        name: The module path that gives or takes the tensor.
        tensor: The tensor; part of the autograd graph.
    """

    name: str
    tensor: torch.Tensor


@dataclass(frozen=True)
class _Event:
    """A tensor that a module takes or gives."""

    path: str
    part: torch.nn.Module
    tensor: torch.Tensor
    time: int


@dataclass
class _Record:
    inputs: list[_Event] = field(default_factory=list)
    outputs: list[_Event] = field(default_factory=list)

    @property
    def time(self) -> int:
        return len(self.inputs) + len(self.outputs)


def own_layers(module: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[OwnLayer]]:
    """Run a network, and find the layers that may be its default layer.

    They are independent of the ONNX graph: feature maps are what the last pooling module takes, or
    what `forward_features` (timm) or the base model (transformers) returns; for networks whose
    features are tokens, what the last attention module takes.

    Args:
        module: The network.
        x: The images.

    Returns:
        The scores, and the layers, the first choice first.
    """
    features: list[torch.Tensor] = []
    record = _Record()
    hooks = list(_hooks(module, record))
    restore = _watch_features(module, features)
    scores = module(x)
    restore()
    for hook in hooks:
        hook.remove()
    found = {id(one.tensor): one for one in reversed(list(_candidates(record, features)))}
    return scores, [one for one in reversed(found.values()) if _is_used(scores, one.tensor)]


def _is_used(scores: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether the scores depend on a tensor."""
    if not tensor.requires_grad:
        return False
    (found,) = torch.autograd.grad(scores.sum(), tensor, retain_graph=True, allow_unused=True)
    return found is not None and bool(found.abs().max() > 0)


def _hooks(module: torch.nn.Module, record: _Record) -> Iterator[Any]:
    for path, part in module.named_modules():
        if path:
            yield part.register_forward_pre_hook(_keep_input(path, record), with_kwargs=True)
            yield part.register_forward_hook(_keep_output(path, record))


def _keep_input(path: str, record: _Record) -> Any:
    def keep(part: torch.nn.Module, inputs: Any, named: dict[str, Any]) -> None:
        tensors = [v for v in (*inputs, *named.values()) if isinstance(v, torch.Tensor)]
        if tensors and tensors[0].is_floating_point():
            record.inputs.append(_Event(path, part, tensors[0], record.time))

    return keep


def _keep_output(path: str, record: _Record) -> Any:
    def keep(part: torch.nn.Module, _: Any, result: Any) -> None:
        tensor = _first_tensor(result)
        if tensor is not None:
            record.outputs.append(_Event(path, part, tensor, record.time))

    return keep


def _first_tensor(result: Any) -> torch.Tensor | None:
    if isinstance(result, torch.Tensor):
        return result
    if hasattr(result, "last_hidden_state"):
        return result.last_hidden_state
    if isinstance(result, tuple | list) and result and isinstance(result[0], torch.Tensor):
        return result[0]
    return None


def _watch_features(module: torch.nn.Module, found: list[torch.Tensor]) -> Any:
    """Record what `forward_features` of timm, or the base model of transformers, returns."""
    own = module
    if hasattr(own, "forward_features"):
        forward = own.forward_features

        def watched(*inputs: Any, **named: Any) -> Any:
            result = forward(*inputs, **named)
            several = result if isinstance(result, tuple | list) else [result]
            found.extend(value for value in several if isinstance(value, torch.Tensor))
            return result

        own.forward_features = watched
        return lambda: own.__dict__.pop("forward_features", None)
    inner = getattr(module, "model", module)
    for name, part in inner.named_children():
        if name in ("classifier", "head", "pooler", "dropout"):
            continue

        def keep(_: Any, __: Any, result: Any) -> None:
            tensor = _first_tensor(result)
            if tensor is not None:
                found.append(tensor)

        hook = part.register_forward_hook(keep)
        return hook.remove
    return lambda: None


def _candidates(record: _Record, features: list[torch.Tensor]) -> Iterator[OwnLayer]:
    if not any(tensor.ndim == 3 for tensor in features):
        yield from _pooled(record)
    maps = [tensor for tensor in features if tensor.ndim == 4]
    yield from _maps_after(record, maps)
    for tensor in reversed(maps):
        yield OwnLayer(_name_of(record, tensor, "forward_features"), tensor)
    attentions = list(_attentions(record))
    yield from reversed(attentions)
    if not attentions:
        for tensor in reversed(features):
            yield OwnLayer(_name_of(record, tensor, "forward_features"), tensor)
        yield from _pooled(record)


def _maps_after(record: _Record, maps: list[torch.Tensor]) -> Iterator[OwnLayer]:
    """Feature maps that modules compute from the features, as the last normalization."""
    place = max(
        (i for i, out in enumerate(record.outputs) if any(out.tensor is one for one in maps)),
        default=len(record.outputs),
    )
    for event in reversed(record.outputs[place + 1 :]):
        if event.tensor.ndim == 4 and maps and event.tensor.shape == maps[-1].shape:
            yield OwnLayer(event.path.removeprefix("model."), event.tensor)


def _pooled(record: _Record) -> Iterator[OwnLayer]:
    """What pooling modules take if they leave one position, the last first."""
    last = {event.path: event.tensor for event in record.outputs}
    for event in reversed(record.inputs):
        path, part, tensor = event.path, event.part, event.tensor
        name = path.rsplit(".", 1)[-1]
        if not _POOL.search(type(part).__name__) and "pool" not in name:
            continue
        after = last.get(path)
        if tensor.ndim != 4 or _positions(tensor) == 1 or after is None:
            continue
        if after.ndim == 2 or (after.ndim == 4 and min(after.shape[2:]) == 1):
            yield OwnLayer(_name_of(record, tensor, f"input of {path}"), tensor)


def _positions(tensor: torch.Tensor) -> int:
    return int(tensor[0].numel()) // int(tensor.shape[1])


def _attentions(record: _Record) -> Iterator[OwnLayer]:
    """What attention modules take, in the order of the forward pass."""
    outer = ""
    for event in record.inputs:
        path, part, tensor = event.path, event.part, event.tensor
        kind = type(part).__name__
        named = path.rsplit(".", 1)[-1] in ("attn", "attention", "self_attn", "self_attention")
        if not (named or _ATTENTION.search(kind)) or _NO_ATTENTION.search(kind):
            continue
        if tensor.ndim < 3 or tensor[0].numel() // tensor.shape[-1] < 3:
            continue
        if outer and path.startswith(f"{outer}."):
            continue
        outer = path
        yield from _before_windows(record, event)
        yield OwnLayer(_name_of(record, tensor, f"input of {path}"), tensor)


def _before_windows(record: _Record, attention: _Event) -> Iterator[OwnLayer]:
    """The tokens that a block cuts into windows: normalized, or else as they enter the block."""
    parent = attention.path.rpartition(".")[0]
    earlier = [event for event in record.outputs if event.time < attention.time]
    for event in earlier:
        beside = event.path.rpartition(".")[0] == parent and "Norm" in type(event.part).__name__
        if beside and event.tensor.ndim >= 3:
            yield OwnLayer(event.path.removeprefix("model."), event.tensor)
            return
    for event in record.inputs:
        if event.path == parent and event.tensor.ndim >= 3:
            yield OwnLayer(_name_of(record, event.tensor, f"input of {parent}"), event.tensor)
            return


def _name_of(record: _Record, tensor: torch.Tensor, otherwise: str) -> str:
    """The shortest path of a module that returns the tensor itself."""
    paths = [event.path for event in record.outputs if event.tensor is tensor]
    return min(paths, key=len, default=otherwise).removeprefix("model.")


def closest(
    layers: list[OwnLayer], scores: torch.Tensor, activation: torch.Tensor, gradient: torch.Tensor
) -> tuple[str, float]:
    """Find the library's layer that equals an activation, and compare the gradient there.

    Args:
        layers: The library's own layers.
        scores: The explained scores of the images.
        activation: The activation of the layer that is compared.
        gradient: The gradient of the summed scores there.

    Returns:
        The name of the library's layer and the largest error of the gradient relative to its
        largest magnitude; an empty name and NaN if no layer is equal.
    """
    for layer in layers:
        for arrange in _arrangements(layer.tensor, activation):
            own = arrange(layer.tensor)
            if not _close(own, activation, 1e-3):
                continue
            (wanted,) = torch.autograd.grad(scores.sum(), layer.tensor, retain_graph=True)
            wanted = arrange(wanted)
            largest = float(wanted.abs().max()) or 1.0
            return layer.name, float((wanted - gradient).abs().max()) / largest
    return "", float("nan")


def _close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    return float((one.detach() - other).abs().max()) <= tolerance * (
        float(one.detach().abs().max()) or 1.0
    )


def _arrangements(tensor: torch.Tensor, ours: torch.Tensor) -> Iterator[Any]:
    """Orders of the axes under which a tensor has the shape of ours."""
    orders: list[tuple[int, ...]] = [tuple(range(tensor.ndim))]
    if tensor.ndim == 4:
        orders += [(0, 3, 1, 2), (0, 2, 3, 1)]
    if tensor.ndim == 3:
        orders += [(1, 0, 2), (0, 2, 1)]
    for order in orders:
        permuted = tensor.permute(order)
        if permuted.shape[0] == ours.shape[0] and permuted.numel() == ours.numel():
            yield lambda value, order=order: value.permute(order).reshape(ours.shape)
