"""CAMs that explain the difference between the class and other classes: Finer-CAM."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adcc_onnx.cams.method import MethodContext, Need, WeightedMethod
from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.kernels.gradient_maps import gradcam_weights


@dataclass(frozen=True)
class FinerCAM(WeightedMethod):
    """Grad-CAM of y_c - alpha sum_d q_d y_d, over the classes d whose logits are closest to y_c.

    The shares q_d are the softmax over the logits of these classes, through which the gradient
    passes, too, as in pytorch-grad-cam; or they are equal, as in the paper and in torch-cam.
    Zhang et al., CVPR 2025, https://arxiv.org/abs/2501.11309.

    Attributes:
        comparisons: Number of similar classes, at least 1; all others if there are fewer.
        alpha: Strength of the comparison, at least 0; 0 gives Grad-CAM.
        shares: Shares of the similar classes, "softmax" or "equal".

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> from adcc_onnx.cams.array_context import ArrayContext
        >>> a = np.array([[[[1, 0]], [[0, 2]]]], np.float32)
        >>> # y_0 = 3 mean A_1 + 3 mean A_2 and y_1 = 3 mean A_2
        >>> context = ArrayContext(
        ...     activations=a,
        ...     logits=np.array([[4.5, 3]], np.float32),
        ...     mixed_gradient=lambda v: (v @ [[1.5, 1.5], [0, 1.5]])[:, :, None, None],
        ... )
        >>> FinerCAM().raw_maps(context)  # what both classes share cancels
        array([[[1.5, 0. ]]], dtype=float32)
    """

    name = "finercam"
    title = "Finer-CAM"
    family = "gradient"
    summary = "Grad-CAM of the difference between the class and the most similar classes"
    cost = "1 + 1 with backward"
    needs = frozenset({Need.ACTIVATIONS, Need.MIXED_GRADIENTS})

    comparisons: int = 3
    alpha: float = 1.0
    shares: Literal["softmax", "equal"] = "softmax"

    def __post_init__(self) -> None:
        if self.comparisons < 1:
            raise OptionError(f"finercam: comparisons must be at least 1, not {self.comparisons}")
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise OptionError(f"finercam: alpha must be at least 0, not {self.alpha}")

    def weights(self, context: MethodContext) -> Float32Array:
        """Grad-CAM's weights for the weighted sum of logits, [N, K]."""
        pairs = zip(context.logits.astype(np.float64), context.targets, strict=True)
        mixture = np.stack([self._logit_weights(logits, int(target)) for logits, target in pairs])
        return gradcam_weights(context.mixed_gradients(mixture.astype(np.float32)))

    def _logit_weights(self, logits: Float64Array, target: int) -> Float64Array:
        """The derivative of the explained difference in each logit, [classes]."""
        order = np.argsort(np.abs(logits - logits[target]), kind="stable")
        similar = order[order != target][: self.comparisons]
        weights = np.zeros(len(logits))
        weights[target] = 1.0
        others = logits[similar]
        shares = np.full(len(similar), 1 / max(len(similar), 1))
        if self.shares == "softmax" and len(similar):
            powers = np.exp(others - others.max())
            shares = powers / powers.sum()
            # The derivative of sum_d q_d y_d, with q the softmax of y.
            shares = shares * (1 + others - shares @ others)
        weights[similar] = -self.alpha * shares
        return weights
