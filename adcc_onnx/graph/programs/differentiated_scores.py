"""The scores that gradient methods differentiate: logits, or functions of them."""

from __future__ import annotations

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.graph.autodiff.builder import Tensor
from adcc_onnx.graph.classifier.image_classifier import Classifier

SCORES = ("logits", "probabilities", "log-probabilities", "rest")


def require_scores(scores: str) -> None:
    """Check the kind of the differentiated scores.

    Args:
        scores: The kind.

    Raises:
        OptionError: It is not one of `SCORES`.
    """
    if scores not in SCORES:
        known = f"{', '.join(SCORES[:-1])} or {SCORES[-1]}"
        close = did_you_mean(str(scores), SCORES)
        raise OptionError(f"scores must be {known}, not '{scores}'{close}")


def differentiated_scores(logits: Tensor, classifier: Classifier, scores: str) -> Tensor:
    """Compute the scores to differentiate, [batch, classes].

    All kinds order the classes as the logits do, so the predicted class is the same.

    Args:
        logits: The logits y, [batch, classes].
        classifier: The classifier, whose probability p is a softmax or, for multi-label and binary
            models, a sigmoid.
        scores: "logits" (y), "probabilities" (p), "log-probabilities" (log p), or "rest", the
            residual softmax target y + log p (Cai, CAMs as Shapley Value-based Explainers, 2025,
            https://arxiv.org/abs/2501.06261, as its published code computes it).
    """
    sigmoid = classifier.scores_kind == "sigmoid"
    if scores == "logits":
        return logits
    if scores == "probabilities":
        return logits.op("Sigmoid") if sigmoid else logits.op("Softmax", axis=1)
    # The logarithm of a rounded probability would be infinite where the logit is very low.
    log_p = -(-logits).op("Softplus") if sigmoid else logits.op("LogSoftmax", axis=1)
    return log_p if scores == "log-probabilities" else logits + log_p
