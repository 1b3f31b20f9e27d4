"""The classifier with its activations and gradients as further outputs, for our own runs.

Its input is `image`, float32 [batch, C, H, W], and its output `logits`, [batch, classes], whatever
the layout and the precision of the model itself are.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from adcc_onnx.graph.autodiff.builder import FLOAT, Builder, Tensor
from adcc_onnx.graph.autodiff.gradient import gradients
from adcc_onnx.graph.classifier.attentions import with_open_attentions
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.attention_outputs import (
    attention_values,
    gradient_outputs,
    value_outputs,
)
from adcc_onnx.graph.programs.clone_classifier import clone_classifier
from adcc_onnx.graph.programs.differentiated_scores import differentiated_scores
from adcc_onnx.graph.programs.endpoints import (
    Output,
    add_target,
    class_scores,
    connect_image,
    image_input,
    one_hot,
    set_endpoints,
)
from adcc_onnx.graph.programs.map_formulas import to_feature_map, upsample_maps
from adcc_onnx.graph.programs.tensor_names import (
    ACTIVATIONS,
    BASELINE,
    GRADIENTS,
    LOGITS,
    MASKS,
    NAME_PREFIX,
    layer_output,
)
from adcc_onnx.graph.programs.token_transforms import transform_outputs


def build_instrumented(
    classifier: Classifier,
    layers: Sequence[Layer] = (),
    with_gradients: bool = False,
    masked: bool = False,
    with_attentions: bool = False,
    with_transforms: bool = False,
) -> ir.Model:
    """Build the model that gives the logits, the activations and the gradients in one run.

    Args:
        classifier: The classifier; its image size must be fixed.
        layers: The layers. Each adds the output `activations`, float32 [batch, K, h, w]; see
            `layer_output` for the names of all but the first.
        with_gradients: Whether to add the input `target`, int64 [batch], and for every layer the
            output `gradients`, float32 [batch, K, h, w]: d y_c / d A, with y_c the differentiated
            score of the target.
        masked: Whether the classifier sees image * up(mask) + baseline * (1 - up(mask)) instead of
            the image. Adds the inputs `masks`, float32 [batch, h, w] of any h and w, and
            `baseline`, float32 [1, C, 1, 1].
        with_attentions: Whether to add the outputs of `attention_outputs`.
        with_transforms: Whether to add the outputs of `token_transforms`, too.

    Raises:
        GradientError: The logits cannot be differentiated with respect to a layer.
        ModelError: The model has no attentions over all tokens, but `with_attentions` is set, or
            their projections are not found, but `with_transforms` is set.
    """
    if with_attentions:
        classifier = with_open_attentions(classifier)
    clone, layers = clone_classifier(classifier, layers)
    builder = Builder(clone.model.graph, NAME_PREFIX)
    score = class_scores(builder, clone)
    outputs: list[Output] = [(LOGITS, score.cast(FLOAT), (clone.batch, clone.classes))]
    # The Identity keeps a layer that is the image itself, which is replaced below.
    activations = [builder.upcast(layer.value).op("Identity") for layer in layers]
    outputs += layer_outputs(ACTIVATIONS, activations, clone, layers)
    inputs: list[ir.Value] = []
    seen = attention_values(clone, with_gradients) if with_attentions else {}
    outputs += value_outputs(builder, seen)
    outputs += transform_outputs(builder, clone) if with_transforms else []
    if with_gradients:
        target = add_target(builder, clone)
        inputs.append(target.value)
        own, others = [layer.value for layer in layers], [v for part in seen.values() for v in part]
        differentiated = differentiated_scores(score, clone, clone.differentiated)
        seed = one_hot(differentiated, target)
        found = gradients(builder, differentiated.value, seed, [*own, *others])
        outputs += layer_outputs(GRADIENTS, found[: len(own)], clone, layers)
        outputs += gradient_outputs(seen, found[len(own) :])
    image = image_input(clone)
    images = builder.wrap(image)
    if masked:
        masks = ir.val(MASKS, dtype=FLOAT, shape=[clone.batch, "mask_height", "mask_width"])
        baseline = ir.val(BASELINE, dtype=FLOAT, shape=[1, clone.channels, 1, 1])
        inputs += [masks, baseline]
        upsampled = upsample_maps(builder.wrap(masks), clone.fixed_size)
        images = images * upsampled + builder.wrap(baseline) * (1.0 - upsampled)
    connect_image(builder, clone, images)
    return set_endpoints(builder, clone.model, [image, *inputs], outputs)


def layer_outputs(
    name: str, tensors: Sequence[Tensor], classifier: Classifier, layers: Sequence[Layer]
) -> list[Output]:
    """Return one output per layer, as feature maps.

    Args:
        name: The name of the output of the first layer; see `layer_output`.
        tensors: The values, each of the shape of its layer.
        classifier: The classifier.
        layers: The layers.
    """
    outputs: list[Output] = []
    for index, (layer, tensor) in enumerate(zip(layers, tensors, strict=True)):
        feature_map = to_feature_map(tensor, layer).cast(FLOAT)
        dims = (classifier.batch, layer.channels, *layer.grid)
        outputs.append((layer_output(name, index), feature_map, dims))
    return outputs
