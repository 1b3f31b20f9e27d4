"""Inspection of a model's graph, and models with gradients or heatmaps as outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import Graph, ModelLike, as_graph
from adcc_onnx.cams.method import Method, Need
from adcc_onnx.errors import OptionError
from adcc_onnx.evaluation.plan import named_method
from adcc_onnx.explanation.targets import PREDICTED, class_index, parse_target
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.loading.saving import save, to_proto, with_weights
from adcc_onnx.graph.programs import inspection
from adcc_onnx.graph.programs.bake import bake_maps
from adcc_onnx.graph.programs.expose import expose_graph
from adcc_onnx.images.cards import card_beside
from adcc_onnx.model import Model

_FUSIONS = ("mean", "max")


@checked_arguments
def inspect(
    model: ModelLike,
    *,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> dict[str, Any]:
    """Describe a model: its image input, scores and layers, and what can be differentiated.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        size: Input size (height, width) in pixels, for a model that leaves it open.
        scores_output: Name of the model's output with the class scores; found automatically if
            None.
        set_inputs: Values of inputs that become constants, by the input's name, as for `load`.

    Returns:
        A dictionary that can be written as JSON: `inputs` and `outputs` (name, type, shape),
        `image`, `scores`, `layers`, `default` (the default layer and the reason), and `obstacles`
        (the operators that cannot be differentiated).

    Raises:
        TypeError: An argument has a wrong type.
        ModelError: The model is not an image classifier.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> adcc.inspect(classifier_path())["scores"]["classes"]
        10
    """
    return inspection.inspect(as_graph(model), _size(model, size), scores_output, set_inputs)


@checked_arguments
def expose(
    model: ModelLike,
    layers: str | Sequence[str] | None = None,
    scores: str = "logits",
    *,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> onnx.ModelProto:
    """Add the activations and gradients of layers to a model's outputs.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        layers: One or several names of tensors, nodes or module paths; the default layer if None.
        scores: The differentiated scores: "logits" or "probabilities".
        size: Input size (height, width) in pixels, for a model that leaves it open.
        scores_output: Name of the model's output with the class scores; found automatically if
            None.
        set_inputs: Values of inputs that become constants, by the input's name, as for `load`.

    Returns:
        A model of standard operators with one more input, `target` (int64 [batch]; -1 is the
        predicted class), and for each layer L two more outputs: `L.activation`, and `L.gradient`,
        the gradient of score[n, target[n]] with respect to L.

    Raises:
        TypeError: An argument has a wrong type.
        ModelError: The model is not an image classifier, or cannot be differentiated.
        OptionError: `scores` is neither of the two.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> exposed = adcc.expose(classifier_path())
        >>> [value.name for value in exposed.graph.input][-1]
        'target'
    """
    return to_proto(with_weights(_exposed(model, layers, scores, size, scores_output, set_inputs)))


@checked_arguments
def save_exposed(
    model: ModelLike,
    out: str | Path,
    layers: str | Sequence[str] | None = None,
    scores: str = "logits",
    *,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> list[str]:
    """Write the model of `expose` to a file; weights above 2 GiB go to a file beside it.

    Args:
        model: The model as for `expose`.
        out: The file.
        layers: The layers as for `expose`.
        scores: The scores as for `expose`.
        size: The input size as for `expose`.
        scores_output: The output with the class scores as for `expose`.
        set_inputs: The values of inputs as for `expose`.

    Returns:
        The names of the added outputs.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: As for `expose`, or the file cannot be written.
    """
    exposed = _exposed(model, layers, scores, size, scores_output, set_inputs)
    count = 1 if layers is None else len(as_list(layers))
    save(exposed, out)
    return [value.name or "" for value in exposed.graph.outputs][-2 * max(count, 1) :]


@checked_arguments
def bake(
    model: ModelLike,
    method: str | Method = "gradcam",
    layers: str | Sequence[str] | None = None,
    target: str | int | None = None,
    *,
    fuse: str = "mean",
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> onnx.ModelProto:
    """Add the heatmap of a method to a model's outputs.

    Args:
        model: A model's file, an `onnx.ModelProto`, or a model from `load`.
        method: A method of one forward and at most one backward pass, as a name or an instance.
        layers: One or several layers as for `expose`; the maps of several layers are fused.
        target: The explained class: a class index, a class name of the model's card, or
            "predicted". None explains the predicted class.
        fuse: "mean" or "max", how the maps of several layers are fused.
        size: Input size (height, width) in pixels, for a model that leaves it open.
        scores_output: Name of the model's output with the class scores; found automatically if
            None.
        set_inputs: Values of inputs that become constants, by the input's name, as for `load`.

    Returns:
        A model with one more output, `heatmap`, float32 [batch, H, W] in [0, 1]. It equals the map
        of `explain` to 1e-5 and runs in any onnxruntime.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The method takes more passes, or the class does not exist.
        ModelError: The model is not an image classifier, or cannot be differentiated.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> baked = adcc.bake(classifier_path(), "layercam")
        >>> [value.name for value in baked.graph.output][-1]
        'heatmap'
    """
    baked = _baked(model, method, layers, target, fuse, size, scores_output, set_inputs)
    return to_proto(with_weights(baked))


@checked_arguments
def save_baked(
    model: ModelLike,
    out: str | Path,
    method: str | Method = "gradcam",
    layers: str | Sequence[str] | None = None,
    target: str | int | None = None,
    *,
    fuse: str = "mean",
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
) -> None:
    """Write the model of `bake` to a file; weights above 2 GiB go to a file beside it.

    Args:
        model: The model as for `bake`.
        out: The file.
        method: The method as for `bake`.
        layers: The layers as for `bake`.
        target: The explained class as for `bake`.
        fuse: The fusion of several layers as for `bake`.
        size: The input size as for `bake`.
        scores_output: The output with the class scores as for `bake`.
        set_inputs: The values of inputs as for `bake`.

    Raises:
        TypeError: An argument has a wrong type.
        AdccError: As for `bake`, or the file cannot be written.
    """
    save(_baked(model, method, layers, target, fuse, size, scores_output, set_inputs), out)


def _exposed(
    model: ModelLike,
    layers: str | Sequence[str] | None,
    scores: str,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
) -> ir.Model:
    return expose_graph(
        as_graph(model),
        _layers(model, layers),
        scores,
        _size(model, size),
        scores_output,
        set_inputs,
    )


def _baked(
    model: ModelLike,
    method: str | Method,
    layers: str | Sequence[str] | None,
    target: str | int | None,
    fuse: str,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
) -> ir.Model:
    if fuse not in _FUSIONS:
        raise OptionError(f"fuse must be {' or '.join(_FUSIONS)}, not '{fuse}'")
    name, chosen = named_method(method)
    baked = bake_maps(
        as_graph(model),
        chosen.graph_maps,
        Need.GRADIENTS in chosen.needs,
        _layers(model, layers),
        _class(model, target),
        fuse=fuse,
        size=_size(model, size),
        scores_output=scores_output,
        set_inputs=set_inputs,
    )
    baked.metadata_props["adcc_onnx.method"] = name
    return baked


def _size(model: ModelLike, size: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the size to use; that of a loaded model unless another is given."""
    return model.size if size is None and isinstance(model, Model) else size


def _layers(model: ModelLike, layers: str | Sequence[str] | None) -> list[str] | None:
    """Return the layers to use; those of a loaded model unless others are given."""
    if layers is not None:
        return as_list(layers)
    return [layer.name for layer in model.layers] if isinstance(model, Model) else None


def _class(model: ModelLike, target: str | int | None) -> int | None:
    """Find the index of the explained class; None for the predicted class."""
    if target is None or target == PREDICTED:
        return None
    wanted = parse_target(target)
    if isinstance(wanted, int):
        return wanted
    names = _class_names(model)
    return class_index(wanted, names, len(names or ()))


def _class_names(model: Graph | Model) -> Sequence[str] | None:
    if isinstance(model, Model):
        return model.labels
    if isinstance(model, onnx.ModelProto) or not Path(model).is_file():
        return None
    card = card_beside(Path(model))
    return None if card is None else card.labels
