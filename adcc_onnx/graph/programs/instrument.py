"""The classifier as the evaluator runs it, whatever the model looked like.

Input `image` is float32 [batch, C, H, W] and `target` int64 [batch]; outputs are `logits`
[batch, classes] and, where asked for, `activations` and `gradients` of layers, each folded to
[batch, K, h, w]. Layout and precision of the model are adapted inside the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Dim, Tensor, dims_of
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.classifier.scores import Classifier
from adcc_onnx.graph.passes.dynamic_batch import BATCH
from adcc_onnx.graph.passes.prune import prune
from adcc_onnx.graph.programs.endpoints import (
    PREFIX,
    TARGET,
    add_output,
    add_target,
    class_scores,
    one_hot,
)

IMAGE, LOGITS, ACTIVATIONS, GRADIENTS = "image", "logits", "activations", "gradients"
MASKS, BASELINE, SHARES = "masks", "baseline", "shares"
RANKS, COUNTS = "ranks", "counts"
_RESERVED = {IMAGE, LOGITS, ACTIVATIONS, GRADIENTS, MASKS, BASELINE, SHARES, RANKS, COUNTS, TARGET}


def of_layer(output: str, index: int) -> str:
    """The name of an output that every layer has, for layer number `index`."""
    return f"{output}/{index}" if index else output


def build_instrumented(
    classifier: Classifier,
    layers: Sequence[Layer] = (),
    with_gradients: bool = False,
    masked: bool = False,
) -> ir.Model:
    """A model of `logits`, with layers also of their `activations`, and of `gradients` if asked.

    The gradient is d y_c / d A with y_c the logit of the target. Outputs of the second layer and
    all further ones are named by `of_layer`.

    With `masked`, the classifier sees the explanation map image x up(mask) + baseline x
    (1 - up(mask)), of two further inputs: `masks`, float32 [batch, h, w] of any h and w, and
    `baseline`, float32 [1, C, 1, 1].

    Raises:
        GradientError: the way from a layer to the logits cannot be differentiated.
    """
    copy, layers = copy_of(classifier, layers)
    builder = Builder(copy.model.graph, PREFIX)
    outputs: list[tuple[str, Tensor, tuple[Dim, ...]]] = []
    score = class_scores(builder, copy, "logits")
    batch = batch_of(copy)
    outputs.append((LOGITS, score.cast(FLOAT), (batch, copy.classes)))
    inputs: list[ir.Value] = []
    # By an Identity: the layer may be the image, which is replaced below.
    values = [builder.upcast(layer.value).op("Identity") for layer in layers]
    seen = {ACTIVATIONS: values}
    if with_gradients:
        target = add_target(builder, copy)
        inputs.append(target.value)
        seed = one_hot(score, target)
        seen[GRADIENTS] = gradients(builder, score.value, seed, [layer.value for layer in layers])
    for name, tensors in seen.items():
        for index, (layer, tensor) in enumerate(zip(layers, tensors, strict=True)):
            folded = fold(tensor, layer).cast(FLOAT)
            outputs.append((of_layer(name, index), folded, (batch, layer.channels, *layer.grid)))
    image = new_input(IMAGE, copy)
    shown = builder.wrap(image)
    if masked:
        masks = ir.val(MASKS, dtype=FLOAT, shape=[batch, "mask_height", "mask_width"])
        baseline = ir.val(BASELINE, dtype=FLOAT, shape=[1, copy.channels, 1, 1])
        inputs += [masks, baseline]
        wide = upsample(builder.wrap(masks), image_size(copy))
        shown = shown * wide + builder.wrap(baseline) * (1.0 - wide)
    feed(builder, copy, shown)
    return finish(builder, copy.model, [image, *inputs], outputs)


def upsample(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """[batch, h, w] -> [batch, 1, H, W], bilinear, half-pixel centers, no antialiasing."""
    builder = masks.builder
    planes = masks.op("Unsqueeze", builder.ints(1))
    sizes = builder.op("Concat", masks.op("Shape", end=1), builder.ints([1, *size]), axis=0)
    resized = planes.op(
        "Resize",
        None,
        None,
        sizes,
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    batch = None if masks.dims is None else masks.dims[0]
    resized.value.shape = ir.Shape([batch, 1, *size])
    return resized


def fold(tensor: Tensor, layer: Layer) -> Tensor:
    """A tensor of the layer's shape as [batch, K, h, w]; prefix tokens are dropped."""
    if layer.kind == "feature_map":
        return tensor if layer.layout == "NCHW" else tensor.transpose([0, 3, 1, 2])
    ints = tensor.builder.ints
    first, last = layer.prefix, layer.prefix + layer.grid[0] * layer.grid[1]
    axis = layer.layout.index("T")
    patches = tensor.op("Slice", ints(first), ints(last), ints(axis)) if first else tensor
    if layer.layout == "NCT":
        return patches.reshape([0, layer.channels, *layer.grid])
    return patches.reshape([0, *layer.grid, layer.channels]).transpose([0, 3, 1, 2])


def new_input(name: str, classifier: Classifier) -> ir.Value:
    """A float32 input [batch, C, H, W] of the classifier's image size."""
    shape = [batch_of(classifier), classifier.channels, *image_size(classifier)]
    return ir.val(name, dtype=FLOAT, shape=shape)


def image_size(classifier: Classifier) -> tuple[int, int]:
    """(H, W), which must have been fixed before a probe is built."""
    assert classifier.size is not None
    return classifier.size


def batch_of(classifier: Classifier) -> Dim:
    """The batch axis: its name, or the size that it is fixed to."""
    return (dims_of(classifier.image) or (BATCH,))[0]


def feed(builder: Builder, classifier: Classifier, images: Tensor) -> None:
    """Let the classifier read `images`, float32 [batch, C, H, W], instead of its own input."""
    own = classifier.image
    adapted = images if classifier.layout == "NCHW" else images.transpose([0, 2, 3, 1])
    if own.dtype == ir.DataType.UINT8:
        # Masked pixels are no whole numbers: what the model turns real anyway stays exact.
        for node in own.consumers():
            if node.op_type == "Cast" and node.outputs[0].dtype == FLOAT:
                node.outputs[0].replace_all_uses_with(adapted.value)
        adapted = adapted.op("Round")
    own.replace_all_uses_with(adapted.cast(own.dtype or FLOAT).value)


def finish(
    builder: Builder,
    model: ir.Model,
    inputs: list[ir.Value],
    outputs: Sequence[tuple[str, Tensor, tuple[Dim, ...] | None]],
) -> ir.Model:
    """Give the model exactly these inputs and outputs, and drop what they do not need."""
    graph = builder.graph
    graph.outputs.clear()
    for name, tensor, dims in outputs:
        add_output(builder, tensor, name, dims)
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    graph.sort()
    prune(model)
    return model


def copy_of(classifier: Classifier, layers: Sequence[Layer] = ()) -> tuple[Classifier, list[Layer]]:
    """The same classifier and layers in a clone of the model (the weights are shared)."""
    model = classifier.model.clone()
    by_name = {v.name: v for node in model.graph for v in node.outputs}
    by_name.update({v.name: v for v in model.graph.inputs})
    by_name.update(model.graph.initializers)
    copied = [replace(layer, value=by_name[layer.value.name]) for layer in layers]
    copy = replace(
        classifier,
        model=model,
        image=by_name[classifier.image.name],
        scores=by_name[classifier.scores.name],
        logits=by_name[classifier.logits.name],
    )
    for value in by_name.values():
        # The probe's own names; a model may well have values of the same.
        if value.name in _RESERVED:
            value.name = f"{PREFIX}own/{value.name}"
    return copy, copied
