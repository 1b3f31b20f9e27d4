"""The passes of a model that run in a cheaper precision than float32."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

from adcc_onnx.errors import OptionError
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.classifier.layers import Layer
from adcc_onnx.graph.programs.integer_classifier import (
    build_integer_classifier,
    require_quantizable,
)
from adcc_onnx.runtime.calibration import Calibration
from adcc_onnx.runtime.devices import Device, with_integer_kernels
from adcc_onnx.runtime.passes import Pass
from adcc_onnx.runtime.precisions import in_bfloat16

# Scores, and gradients that end at the explained layers, which are usually the last ones. Passes
# whose gradients reach further back stay in float32.
CHEAPER = frozenset(
    (
        Pass.FORWARD,
        Pass.ACTIVATIONS,
        Pass.GRADIENTS,
        Pass.MASKED,
        Pass.BLENDED,
        Pass.RANKED,
        Pass.SUFFIX,
    )
)


class Place(NamedTuple):
    """What a pass is built from, and where it runs.

    Attributes:
        classifier: The classifier.
        layers: Its explained layers.
        device: The device.
    """

    classifier: Classifier
    layers: tuple[Layer, ...]
    device: Device


class CheaperPasses:
    """How the passes of `CHEAPER` run in a cheaper precision.

    Args:
        precision: "bf16" or "int8".
        exact: What the other passes are built from.
        calibration: The statistics of activations, for "int8".

    Attributes:
        precision: The precision.

    Raises:
        ModelError: The model cannot be quantized.
    """

    def __init__(self, precision: str, exact: Place, calibration: Calibration | None) -> None:
        if precision == "int8" and calibration is None:
            require_quantizable(exact.classifier)
        self.precision = precision
        self._exact, self._calibration = exact, calibration

    @cached_property
    def place(self) -> Place:
        """What these passes are built from, and where they run.

        Raises:
            OptionError: The model must be calibrated first.
            ModelError: The model cannot be quantized.
        """
        classifier, layers, device = self._exact
        if self.precision == "bf16":
            return Place(classifier, layers, in_bfloat16(device))
        if self._calibration is None:
            raise OptionError(
                "a model with precision int8 must be calibrated on images first: the commands do "
                "so, and so does model.calibrated(tensors) in Python; or use another precision"
            )
        quantized = _quantized(classifier, layers, self._calibration)
        return Place(*quantized, with_integer_kernels(device))


# Models that differ in their run settings or device share the quantized graph.
_Quantized = tuple[Classifier, tuple[Layer, ...]]
_known: WeakKeyDictionary[Calibration, dict[tuple[Layer, ...], _Quantized]] = WeakKeyDictionary()


def _quantized(
    classifier: Classifier, layers: tuple[Layer, ...], calibration: Calibration
) -> _Quantized:
    """Quantize a classifier, or return what was quantized with the same calibration before.

    A layer belongs to one graph, and the ranges of a calibration to one model.
    """
    known = _known.setdefault(calibration, {})
    if layers not in known:
        known[layers] = build_integer_classifier(
            classifier, layers, calibration.ranges, calibration.means
        )
    return known[layers]
