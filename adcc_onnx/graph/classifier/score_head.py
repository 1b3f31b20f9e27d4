"""Choose the output that holds the class scores, and find the logits behind it.

Published classifiers end in many ways: with logits, probabilities or both; in one score for two
classes; in the best five classes only; with auxiliary heads, boxes or embeddings as further
outputs.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from adcc_onnx.errors import AdccWarning, NoClassScoresError, did_you_mean
from adcc_onnx.graph.autodiff.builder import dims_of
from adcc_onnx.graph.classifier.image_input import describe_values
from adcc_onnx.graph.passes.custom_shapes import CLASSIFIERS, DOMAIN
from adcc_onnx.graph.passes.resolve_shapes import shapes_at

# Operators that change the shape or the element type of the scores, but not the scores.
_PASS_THROUGH = {
    "Cast",
    "DequantizeLinear",
    "Dropout",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_KINDS = {"Softmax": "probabilities", "LogSoftmax": "log-probabilities", "Sigmoid": "sigmoid"}
_SCORE_TYPES = {
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
}
# Operators that turn scores into a decision, and the input that holds the scores.
_DECISIONS = {"TopK": 0, "ArgMax": 0}
_AFTER_DECISION = {"ArrayFeatureExtractor": 1, "Gather": 1, "LabelEncoder": 0}
_SCORE_WORDS = re.compile(r"logit|prob|score|class|softmax|pred|\bcls|\bfc\b")
_AUXILIARY_WORDS = re.compile(r"aux")
_EMBEDDING_WORDS = re.compile(r"embed|feature|descriptor|latent")
_REGRESSION_WORDS = re.compile(
    r"bbox|boxes|landmark|keypoint|pose|angle|yaw|pitch|\bage\b|depth|coord|offset|regress"
)
_TRIAL_BATCH = 8


@dataclass(frozen=True)
class ScoreHead:
    """The class scores of a model.

    Attributes:
        scores: The value with one row of scores per image; an output of the model, or what a
            TopK or ArgMax at the end takes.
        kind: The kind of scores: "logits", "probabilities", "log-probabilities" or "sigmoid".
        logits: The value before the final softmax, sigmoid or quantization; `scores` if there is
            none.
        classes: The number of classes; 2 for a binary model.
        binary: Whether there is one score for two classes: z for class 1, and -z for class 0.
        reason: Why these scores were chosen, in one sentence; empty if there was no choice.
    """

    scores: ir.Value
    kind: str
    logits: ir.Value
    classes: int
    binary: bool
    reason: str


def find_score_head(model: ir.Model, image: ir.Value, name: str | None = None) -> ScoreHead:
    """Find the class scores of a prepared model.

    Args:
        model: The prepared model.
        image: Its image input.
        name: The name of the output with the scores; if None, the most likely output.

    Returns:
        The scores. A warning says if they are probably no class scores.

    Raises:
        NoClassScoresError: There is no such output, it does not have the shape of class scores, it
            is an embedding, or it has another number of rows than the batch has images.
    """
    outputs = list(model.graph.outputs)
    heads = [h for output in outputs for h in _head_of(output, image, output.name == name)]
    if name is not None:
        heads = [(output, head) for output, head in heads if output.name == name]
    if not heads:
        raise NoClassScoresError(
            f"{_problem(outputs, name)}; its outputs are {describe_values(outputs)}"
        )
    output, chosen = max(heads, key=lambda found: _evidence(*found))
    _refuse_embedding(chosen.scores, output)
    _refuse_other_rows(model, image, chosen.scores, output)
    _warn_if_doubtful(chosen, output)
    return chosen if name is not None else _with_reason(chosen, output, heads)


def find_logits(scores: ir.Value) -> tuple[str, ir.Value]:
    """Find the value before a final softmax, sigmoid or quantization.

    The quantization of the scores is skipped, because it may saturate at the highest score and
    stop its gradient.

    Returns:
        The kind of the scores (see `ScoreHead.kind`), and the logits.
    """
    value, logits = scores, scores
    if _are_probabilities_of_an_estimator(_producer(scores)):
        return "probabilities", scores
    while (node := value.producer()) is not None and node.domain == "" and node.inputs[0]:
        if node.op_type in _KINDS:
            return _KINDS[node.op_type], node.inputs[0]
        if (shares := _normalized_shares(node)) is not None:
            return "probabilities", _logits_of_shares(shares) or scores
        if node.op_type not in _PASS_THROUGH:
            break
        value = node.inputs[0]
        if node.op_type == "QuantizeLinear":
            logits = value
    return "logits", logits


def _normalized_shares(node: ir.Node) -> ir.Value | None:
    """The numbers that a node divides by their sum; None if it does something else."""
    if node.op_type != "Div" or node.inputs[1] is None:
        return None
    total = node.inputs[1].producer()
    while total is not None and total.op_type in ("Clip", "Max") and total.inputs[0] is not None:
        total = total.inputs[0].producer()
    if total is None or total.op_type not in ("ReduceSum", "ReduceL1"):
        return None
    return node.inputs[0] if total.inputs[0] is node.inputs[0] else None


def _logits_of_shares(shares: ir.Value) -> ir.Value | None:
    """The logits of probabilities that a softmax or exponentials give; None for other numbers."""
    node = shares.producer()
    if node is None or node.op_type not in ("Exp", "Softmax") or node.inputs[0] is None:
        return None
    shifted = node.inputs[0].producer()
    if node.op_type == "Exp" and shifted is not None and shifted.op_type == "Sub":
        logits, maximum = shifted.inputs
        largest = None if maximum is None else maximum.producer()
        if largest is not None and largest.op_type == "ReduceMax" and largest.inputs[0] is logits:
            return logits
    return node.inputs[0]


def _are_probabilities_of_an_estimator(node: ir.Node | None) -> bool:
    """Whether a tree ensemble or a support vector machine gives probabilities, not votes."""
    if node is None or node.domain != DOMAIN or node.op_type not in CLASSIFIERS:
        return False
    transformed = node.attributes.get_string("post_transform", "NONE") != "NONE"
    if node.op_type == "SVMClassifier" or transformed:
        return True
    return min(node.attributes.get_floats("class_weights", [0.0]), default=0.0) >= 0


def _head_of(
    output: ir.Value, image: ir.Value, named: bool
) -> Iterable[tuple[ir.Value, ScoreHead]]:
    """The scores that an output holds or was decided from; none if it has no such shape."""
    scores = _before_quantization(_before_decision(output) or output)
    if scores.dtype not in _SCORE_TYPES:
        return
    count = _class_count(scores, image)
    if count is None or count < 1:
        return
    kind, logits = find_logits(scores)
    if count > 1:
        yield output, ScoreHead(scores, kind, logits, count, False, "")
    elif kind in ("logits", "sigmoid"):
        yield output, ScoreHead(scores, "sigmoid", logits, 2, True, "")


def _before_decision(output: ir.Value) -> ir.Value | None:
    """The scores that a TopK or ArgMax at the end of the model takes."""
    value: ir.Value | None = output
    while value is not None and (node := value.producer()) is not None:
        if node.op_type in _DECISIONS:
            return node.inputs[_DECISIONS[node.op_type]]
        index = _AFTER_DECISION.get(node.op_type, 0 if node.op_type in _PASS_THROUGH else -1)
        value = node.inputs[index] if 0 <= index < len(node.inputs) else None
    return None


def _before_quantization(scores: ir.Value) -> ir.Value:
    """The floating-point scores of a model that returns integers."""
    node = scores.producer()
    quantized = node is not None and node.op_type == "QuantizeLinear" and not node.domain
    return node.inputs[0] or scores if quantized and node is not None else scores


def _class_count(scores: ir.Value, image: ir.Value) -> int | None:
    """The number of columns of scores [batch, classes], further axes of size 1 allowed.

    It is 1 for [batch] and [batch, 1], and None for any other shape.
    """
    dims = dims_of(scores)
    if not dims:
        return None
    if len(dims) == 1:
        batch = (dims_of(image) or (None,))[0]
        return 1 if dims[0] == batch or not isinstance(dims[0], int) else None
    wide = [size for size in dims[1:] if size != 1]
    if not wide:
        return 1
    return wide[0] if len(wide) == 1 and isinstance(wide[0], int) else None


def _evidence(output: ir.Value, head: ScoreHead) -> tuple[bool, bool, bool, bool, bool]:
    """What speaks for an output, the strongest evidence first; of equals, the first is taken."""
    name = (output.name or "").lower()
    other = _EMBEDDING_WORDS.search(name) or _REGRESSION_WORDS.search(name)
    return (
        not _AUXILIARY_WORDS.search(name) and not other,
        not head.binary,
        find_logits(head.scores)[0] != "logits",
        bool(_SCORE_WORDS.search(name)),
        head.scores is output,
    )


def _with_reason(
    chosen: ScoreHead, output: ir.Value, heads: list[tuple[ir.Value, ScoreHead]]
) -> ScoreHead:
    """Add the reason for a choice between heads, and say where the scores come from."""
    others = {o.name for o, head in heads if head.logits is not chosen.logits}
    reason = ""
    if others:
        ends = "it ends in a " + {
            "probabilities": "softmax",
            "log-probabilities": "log-softmax",
            "sigmoid": "sigmoid",
        }.get(chosen.kind, "row of scores")
        listed = ", ".join(f"'{name}'" for name in sorted(filter(None, others)))
        reason = (
            f"output '{output.name}' was chosen because {ends}; other candidates are {listed} "
            "(--scores-output NAME chooses)"
        )
    elif chosen.scores is not output:
        reason = f"the scores are '{chosen.scores.name}', before the decision in '{output.name}'"
    return ScoreHead(
        chosen.scores, chosen.kind, chosen.logits, chosen.classes, chosen.binary, reason
    )


def _refuse_embedding(scores: ir.Value, output: ir.Value) -> None:
    """Refuse scores that end in a normalization to length 1."""
    node = _producer(scores)
    if node is None:
        return
    normalized = node.op_type == "LpNormalization"
    if node.op_type == "Div" and node.inputs[1] is not None:
        normalized = node.inputs[0] is not None and _is_norm_of(node.inputs[1], node.inputs[0])
    if normalized:
        raise NoClassScoresError(
            f"output '{output.name}' is an embedding of length 1 (it is divided by its norm), not "
            "class scores: name another output with --scores-output, or export the model with "
            "its classification head"
        )


def _is_norm_of(value: ir.Value, vector: ir.Value) -> bool:
    """Whether a value is the L2 norm of a vector, perhaps clipped or expanded."""
    for _ in range(8):
        node = value.producer()
        if node is None or not node.inputs or node.inputs[0] is None:
            return False
        if node.op_type in ("ReduceL2", "ReduceSumSquare"):
            return node.inputs[0] is vector
        if node.op_type == "ReduceSum":
            square = node.inputs[0].producer()
            return (
                square is not None
                and square.op_type in ("Mul", "Pow")
                and square.inputs[0] is vector
            )
        if node.op_type not in ("Clip", "Max", "Expand", "Add", "Sqrt", "Pow", "Unsqueeze"):
            return False
        value = node.inputs[0]
    return False


def _producer(value: ir.Value) -> ir.Node | None:
    """The node that computes a value, behind operators that only change its shape or type."""
    node = value.producer()
    while node is not None and node.op_type in _PASS_THROUGH and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node


def _refuse_other_rows(
    model: ir.Model, image: ir.Value, scores: ir.Value, output: ir.Value
) -> None:
    """Refuse scores that do not have one row per image."""
    batch, rows = ((dims_of(value) or (None,))[0] for value in (image, scores))
    if rows == batch and batch is not None:
        return
    images = batch if isinstance(batch, int) else _TRIAL_BATCH
    if not isinstance(rows, int):
        rows = (shapes_at(model, image, images).get(scores.name or "") or (None,))[0]
    if isinstance(rows, int) and rows != images:
        raise NoClassScoresError(
            f"output '{output.name}' has {rows} rows of scores for {images} images: every image "
            "needs a row of its own (does the model classify clips of several frames?)"
        )


def _warn_if_doubtful(head: ScoreHead, output: ir.Value) -> None:
    """Warn about outputs that are probably no class scores."""
    name = (output.name or "").lower()
    ends_in_scores = find_logits(head.scores)[0] != "logits"
    doubt = None
    if ends_in_scores:
        return
    if _EMBEDDING_WORDS.search(name):
        doubt = "its name is that of an embedding"
    elif _REGRESSION_WORDS.search(name) and head.classes <= 4:
        doubt = "its name is that of a regression"
    elif head.binary:
        doubt = "it is one number without a sigmoid, which may be a regression"
    if doubt is not None:
        taken = "the logit of a binary model" if head.binary else "class scores"
        warnings.warn(
            f"output '{output.name}' is taken as {taken}, but {doubt}: its explanations are "
            "meaningless if it is not (--scores-output NAME chooses another output)",
            AdccWarning,
            stacklevel=2,
        )


def _problem(outputs: list[ir.Value], name: str | None) -> str:
    if name is None:
        return "no output of the model holds class scores of shape [batch, classes]"
    if any(value.name == name for value in outputs):
        return f"output '{name}' does not hold class scores of shape [batch, classes]"
    known = [value.name or "" for value in outputs]
    return f"the model has no output '{name}'{did_you_mean(name, known)}"
