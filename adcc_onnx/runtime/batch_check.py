"""Checks that a model with a dynamic batch still computes the same scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adcc_onnx.errors import ModelError
from adcc_onnx.graph.classifier.image_classifier import Classifier
from adcc_onnx.graph.programs.instrument import build_instrumented
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.runtime.devices import Device, choose_device
from adcc_onnx.runtime.session import Session

# Kernels may sum in another order for another batch size, which rounds differently.
_TOLERANCE = 1e-3


def takes_any_batch(classifier: Classifier, device: Device) -> bool:
    """Return whether a batch of two images gives the same logits as each image alone.

    The model runs on the CPU, because TF32 and half precision on a card round by more than the
    tolerance. It runs on the device only if the CPU cannot run it.

    Args:
        classifier: A classifier with a dynamic batch.
        device: The device that the model will run on.
    """
    cpu = replace(choose_device("cpu"), custom_ops=device.custom_ops)
    for place in (cpu, device)[: 1 if device.kind == "cpu" else 2]:
        try:
            return _gives_the_same(classifier, place)
        except ModelError:
            continue
    return False


def _gives_the_same(classifier: Classifier, device: Device) -> bool:
    shape = (2, classifier.channels, *classifier.fixed_size)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    graph = build_instrumented(classifier)
    together = Session(graph, device, batch=2).run({IMAGE: images})[LOGITS]
    alone = Session(graph, device, batch=1).run({IMAGE: images})[LOGITS]
    if together.shape != alone.shape:
        return False
    spread = float(np.abs(alone).max()) or 1.0
    return bool(np.abs(together - alone).max() <= _TOLERANCE * spread)
