"""Inspection of a model's graph, and models with gradients or heatmaps as outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from adcc_onnx.api.checked_arguments import as_list, checked_arguments
from adcc_onnx.api.models import Graph, ModelLike
from adcc_onnx.cams.method import Method, Need
from adcc_onnx.evaluation.plan import named_method
from adcc_onnx.explanation.targets import PREDICTED, class_index, parse_target
from adcc_onnx.graph.classifier.fixed_inputs import InputValues
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.opening import open_classifier
from adcc_onnx.graph.loading.reading import find_files
from adcc_onnx.graph.loading.saving import data_file, to_proto, with_weights
from adcc_onnx.graph.programs import inspection
from adcc_onnx.graph.programs.bake import bake_maps
from adcc_onnx.graph.programs.expose import expose_graph
from adcc_onnx.images.cards import ModelCard, card_beside
from adcc_onnx.model import Model, require_fusion
from adcc_onnx.runtime.verified_saving import check_destination, save_verified


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
        A dictionary that can be written as JSON: `opset`, `domains`, `nodes`, `inputs` and
        `outputs` (name, type, shape) of the model's file; `image`, `scores` and `layers`;
        `default` (the default layer and the reason; None if there is none);
        `unsupported_operators`, which cannot be differentiated; and `notes` on what is uncertain.

    Raises:
        TypeError: An argument has a wrong type.
        ModelError: The model is not an image classifier.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> adcc.inspect(classifier_path())["scores"]["classes"]
        10
    """
    card = _card(model)
    return inspection.inspect(
        _graph(model),
        size or card.size,
        scores_output,
        set_inputs,
        layout=card.layout,
        scores_kind=card.scores,
        file=model.file if isinstance(model, Model) else None,
        known=model.notes if isinstance(model, Model) else (),
    )


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
        scores: The differentiated scores: "logits", "probabilities", "log-probabilities" or
            "rest" (see docs/reference/definitions.md).
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
        OptionError: There is no such kind of scores.

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
    force: bool = False,
) -> list[str]:
    """Write the model of `expose` to a file; weights above 2 GiB go to a file next to it.

    The new file is opened in onnxruntime and checked by `onnx.checker` before it gets its name.

    Args:
        model: The model as for `expose`.
        out: The file.
        layers: The layers as for `expose`.
        scores: The scores as for `expose`.
        size: The input size as for `expose`.
        scores_output: The output with the class scores as for `expose`.
        set_inputs: The values of inputs as for `expose`.
        force: Whether an existing file is replaced; never that of the model itself.

    Returns:
        The names of the added outputs.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: As for `expose`, or the file exists.
        ModelError: As for `expose`, the file cannot be written, or the new model is invalid; then
            nothing is left of it.

    Example:
        >>> import adcc_onnx as adcc, pathlib, tempfile
        >>> from adcc_onnx.drawings import classifier_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     adcc.save_exposed(classifier_path(), pathlib.Path(folder, "out.onnx"), "3")
        ['3.activation', '3.gradient']
    """
    check_destination(out, _files(model, out), force)
    exposed = _exposed(model, layers, scores, size, scores_output, set_inputs)
    count = 1 if layers is None else len(as_list(layers))
    _save(exposed, out, model, force)
    return [value.name or "" for value in exposed.graph.outputs][-2 * max(count, 1) :]


@checked_arguments
def bake(
    model: ModelLike,
    method: str | Method = "gradcam",
    layers: str | Sequence[str] | None = None,
    target: str | int | None = None,
    *,
    fuse: str = "mean",
    scores: str | None = None,
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
        fuse: "mean", "max" or "product", how the maps of several layers are fused.
        scores: The differentiated scores as for `expose`; those of a loaded model, or the logits,
            if None.
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
    baked = _baked(model, method, layers, target, fuse, scores, size, scores_output, set_inputs)
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
    scores: str | None = None,
    size: tuple[int, int] | None = None,
    scores_output: str | None = None,
    set_inputs: InputValues | None = None,
    force: bool = False,
) -> None:
    """Write the model of `bake` to a file; weights above 2 GiB go to a file beside it.

    The new file is opened in onnxruntime and checked by `onnx.checker` before it gets its name.

    Args:
        model: The model as for `bake`.
        out: The file.
        method: The method as for `bake`.
        layers: The layers as for `bake`.
        target: The explained class as for `bake`.
        fuse: The fusion of several layers as for `bake`.
        scores: The differentiated scores as for `bake`.
        size: The input size as for `bake`.
        scores_output: The output with the class scores as for `bake`.
        set_inputs: The values of inputs as for `bake`.
        force: Whether an existing file is replaced; never that of the model itself.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: As for `bake`, or the file exists.
        ModelError: As for `bake`, the file cannot be written, or the new model is invalid; then
            nothing is left of it.

    Example:
        >>> import adcc_onnx as adcc, pathlib, tempfile
        >>> from adcc_onnx.drawings import classifier_path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = pathlib.Path(folder, "out.onnx")
        ...     adcc.save_baked(classifier_path(), out, "hirescam")
        ...     adcc.inspect(out)["outputs"][-1]["name"]
        'heatmap'
    """
    check_destination(out, _files(model, out), force)
    baked = _baked(model, method, layers, target, fuse, scores, size, scores_output, set_inputs)
    _save(baked, out, model, force)


def _save(graph: ir.Model, out: str | Path, model: ModelLike, force: bool) -> None:
    libraries = model.device.custom_ops if isinstance(model, Model) else ()
    save_verified(graph, out, _files(model, out), force=force, custom_ops=libraries)


def _files(model: ModelLike, out: str | Path) -> tuple[Path, ...]:
    """Return the files that a model is read from, as far as `out` may be one of them."""
    if isinstance(model, Model):
        return model.file.files if model.file is not None else ()
    if isinstance(model, onnx.ModelProto):
        return ()
    clashing = any(os.path.lexists(file) for file in (Path(out), data_file(Path(out))))
    return find_files(model) if clashing else (Path(model),)


def _exposed(
    model: ModelLike,
    layers: str | Sequence[str] | None,
    scores: str,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
) -> ir.Model:
    classifier = _opened(model, size, scores_output, set_inputs)
    return expose_graph(classifier, _layers(model, layers), scores)


def _baked(
    model: ModelLike,
    method: str | Method,
    layers: str | Sequence[str] | None,
    target: str | int | None,
    fuse: str,
    scores: str | None,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
) -> ir.Model:
    require_fusion(fuse)
    name, chosen = named_method(method)
    baked = bake_maps(
        _opened(model, size, scores_output, set_inputs),
        chosen.graph_maps,
        Need.GRADIENTS in chosen.needs,
        _layers(model, layers),
        _class(model, target),
        fuse=fuse,
        scores=scores,
        linear_head=Need.LINEAR_HEAD in chosen.needs,
    )
    baked.metadata_props["adcc_onnx.method"] = name
    return baked


def _opened(
    model: ModelLike,
    size: tuple[int, int] | None,
    scores_output: str | None,
    set_inputs: InputValues | None,
) -> Classifier:
    """Open a model as `load` does: the card beside a file says what the graph leaves open."""
    card = _card(model)
    return open_classifier(
        _graph(model), size or card.size, scores_output, set_inputs, card.layout, card.scores
    )


def _graph(model: ModelLike) -> Graph | Classifier:
    return model.classifier if isinstance(model, Model) else model


def _card(model: ModelLike) -> ModelCard:
    """Read the card beside a model's file; an empty card if there is none."""
    found = None
    if isinstance(model, str | Path) and Path(model).is_file():
        found = card_beside(Path(model))
    return found or ModelCard({})


def _layers(model: ModelLike, layers: str | Sequence[str] | None) -> list[str] | None:
    """Return the given layers, those of a loaded model, or the card's; None for the default."""
    if layers is not None:
        return as_list(layers)
    if isinstance(model, Model):
        return [layer.name for layer in model.layers]
    named = _card(model).layer
    return None if named is None else [named]


def _class(model: ModelLike, target: str | int | None) -> int | None:
    """Find the index of the explained class; None for the predicted class."""
    if target is None or target == PREDICTED:
        return None
    wanted = parse_target(target)
    if isinstance(wanted, int):
        return wanted
    names = model.labels if isinstance(model, Model) else _card(model).labels
    return class_index(wanted, names, len(names or ()))
