"""Autotuning of a model for the methods that will be run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from adcc_onnx.cams.method import Need
from adcc_onnx.explanation.required_passes import pass_for
from adcc_onnx.model import Model
from adcc_onnx.runtime.autotuning import AutotuneResult, autotune, relative_time
from adcc_onnx.runtime.devices import Device
from adcc_onnx.runtime.passes import Pass

_GAINS_NOTHING = 0.95


def autotuned(
    model: Model, needs: frozenset[Need], report: Callable[[str], None] = lambda line: None
) -> Model:
    """Return the same model with the fastest run settings, measured once and then cached on disk.

    Args:
        model: The model.
        needs: What the methods need; the settings are tuned for the pass that provides it.
        report: A function that receives a line about the chosen settings.

    Raises:
        ModelError: The model does not run at any batch size.
    """
    kind = pass_for(needs)
    model, found = _fastest_device(model, kind, report)
    tuned = replace(model, settings=found.settings)
    ratio = relative_time(tuned.pool, kind)
    report(f"{model.name}: {found}{'' if ratio is None else _gain(model, ratio)}")
    return tuned


def _fastest_device(
    model: Model, kind: Pass, report: Callable[[str], None]
) -> tuple[Model, AutotuneResult]:
    """Return the model on the fastest of the devices that it may run on, and its settings."""
    others = [on_alternative(model, device) for device in model.device.alternatives]
    found = [(one, autotune(one.pool, kind, one.sha256)) for one in (model, *others)]
    best = max(found, key=lambda pair: pair[1].speed)
    if others:
        speeds = ", ".join(f"{one.device.kind} {result.speed:.0f}" for one, result in found)
        report(
            f"{model.name}: --device {best[0].device.kind} is the fastest for {model.precision} "
            f"(images/s per pass: {speeds})"
        )
    return best


def on_alternative(model: Model, device: Device) -> Model:
    """Return a model on another device, chosen once and for all.

    Args:
        model: The model.
        device: The device.
    """
    return replace(model, device=replace(device, alternatives=()))


def _gain(model: Model, ratio: float) -> str:
    """Say in one line what a cheaper precision gains."""
    text = f"; a pass in {model.precision} takes {ratio:.2f} times as long as in float32"
    if ratio < _GAINS_NOTHING:
        return text
    return f"{text}, so that --precision fp32 --device {model.device.kind} is the better choice"
