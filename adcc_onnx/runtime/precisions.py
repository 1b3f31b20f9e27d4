"""Precisions: which ones this machine can compute in, why not, and on which device."""

from __future__ import annotations

from dataclasses import dataclass, replace

from adcc_onnx.errors import DeviceError, OptionError, did_you_mean
from adcc_onnx.runtime.devices import (
    Device,
    choose_device,
    why_not,
    why_not_first_gpu,
    with_openvino_settings,
)
from adcc_onnx.runtime.instruction_sets import instruction_sets

PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
# The precisions of a part of the passes; the others are those of the whole model.
PARTIAL = ("bf16", "int8")
_DEVICES = {"bf16": ("openvino",), "int8": ("cpu", "openvino")}
# One of these makes a precision faster than float32.
_INSTRUCTIONS = {"bf16": ("bf16", "AMX"), "int8": ("VNNI", "dot product")}
_TITLES = {"bf16": "bf16 (AVX512_BF16, AMX)", "int8": "8-bit dot product (VNNI)"}
# Usual time of a pass relative to float32 on the CPU; docs/results/performance.md has measurements.
_COSTS = {("fp16", "cuda"): 0.6, ("bf16", "openvino"): 0.4, ("int8", "cpu"): 0.4}
# bf16 instructions alone do no more products in a cycle than those of float32 on many CPUs.
_BF16_WITHOUT_AMX = 1.0


@dataclass(frozen=True)
class CheaperPrecision:
    """A cheaper precision than float32.

    Attributes:
        name: The value of `precision`: "fp16", "bf16" or "int8".
        device: The kind of device that computes in it.
        why_not: Why this machine cannot use it, and what would help; None if it can.
        relative_cost: The usual time of a pass relative to float32.
    """

    name: str
    device: str
    why_not: str | None
    relative_cost: float

    @property
    def available(self) -> bool:
        """Whether this machine can use it."""
        return self.why_not is None


def machine_precisions() -> list[CheaperPrecision]:
    """List the precisions that are cheaper than float32, also those that this machine lacks."""
    found = []
    for (name, device), cost in _COSTS.items():
        trouble = why_not_first_gpu() if name == "fp16" else _why_not(name, device)
        if name == "bf16" and "AMX" not in (instruction_sets() or ["AMX"]):
            cost = _BF16_WITHOUT_AMX
        found.append(CheaperPrecision(name, device, trouble, cost))
    return found


def choose_device_for(precision: str, requested: str = "auto") -> Device:
    """Return the device for a precision.

    Args:
        precision: One of `PRECISIONS`.
        requested: The device as `choose_device` takes it. With "auto", "bf16" selects OpenVINO and
            "int8" the CPU, with OpenVINO as an alternative if it is there.

    Returns:
        The device in float32 (or TF32); see `in_bfloat16`.

    Raises:
        OptionError: There is no such precision, or the device has no such kernels.
        DeviceError: The machine lacks the device, or the CPU its instructions.
    """
    if precision not in PRECISIONS:
        hint = did_you_mean(precision, PRECISIONS)
        raise OptionError(f"no precision '{precision}'{hint}; choose {', '.join(PRECISIONS)}")
    if precision not in PARTIAL:
        return choose_device(requested, tf32=precision != "fp32")
    devices = _DEVICES[precision]
    kind, _, which = requested.partition(":")
    if kind != "auto" and (kind not in devices or which not in ("", "CPU")):
        other = choose_device(requested).name  # an unknown device has an error of its own
        instead = "int8" if other == "cpu" else "fp16"
        raise OptionError(
            f"--precision {precision} needs --device {' or '.join(devices)}, which run on CPUs, "
            f"not {other}; or use --precision {instead} there"
        )
    name = devices[0] if kind == "auto" else kind
    trouble = _why_not(precision, name)
    if trouble is not None:
        raise DeviceError(
            f"--precision {precision} is not available: {trouble}; or use --precision "
            f"{_alternative(precision)}"
        )
    if kind != "auto":
        return choose_device(name)
    found = [
        _by_default(precision, other) for other in devices if _why_not(precision, other) is None
    ]
    return replace(found[0], alternatives=tuple(found[1:]))


def _by_default(precision: str, name: str) -> Device:
    device = choose_device(name)
    where = device.reason.partition(" (")[0]
    return replace(device, reason=f"{where} (the default of --precision {precision})")


def in_bfloat16(device: Device) -> Device:
    """Return the same OpenVINO device, which computes in bfloat16.

    Args:
        device: An OpenVINO device on a CPU.
    """
    return with_openvino_settings(device, INFERENCE_PRECISION_HINT="bf16")


def _why_not(precision: str, device: str) -> str | None:
    """Return why a precision cannot be used on a device, and what would help; None if it can."""
    known = instruction_sets()
    if known is not None and not set(_INSTRUCTIONS[precision]) & set(known):
        return f"this CPU has no {_TITLES[precision]} instructions, without which it gains nothing"
    trouble = why_not(device) if device != "cpu" else None
    return trouble and f"it needs --device {device}, but {trouble}"


def _alternative(precision: str) -> str:
    """Return another precision that this machine has."""
    if precision == "bf16" and _why_not("int8", "cpu") is None:
        return "int8 or fp32"
    return "fp32"
