"""Devices: which ones exist, why one cannot be used, and which one is chosen."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from adcc_onnx.errors import DeviceError, OptionError, did_you_mean
from adcc_onnx.runtime import cuda
from adcc_onnx.runtime.device_errors import lacks_kernels, reason_of
from adcc_onnx.runtime.device_trial import Trial, run_trial
from adcc_onnx.runtime.onnxruntime_import import onnxruntime
from adcc_onnx.runtime.onnxruntime_packages import replacement

CPU_PROVIDER = "CPUExecutionProvider"
_IN_CUDA_MEMORY = ("cuda", "tensorrt")
_CUDA_GRAPH = "enable_cuda_graph"  # an option of the CUDA provider
_TENSORRT = 10  # the major version of TensorRT that onnxruntime's provider is linked to


@dataclass(frozen=True)
class Device:
    """A device that can be used.

    Attributes:
        name: The name as a user gives it, such as "cpu" or "cuda:0".
        reason: One line for the user: which device was chosen and why.
        providers: The execution providers for `onnxruntime.InferenceSession`.
        custom_ops: The paths of libraries with custom operators; every session loads them.
        tf32: Whether factors of float32 products may be rounded to TF32, with 10 bits.
        captures: Whether runs of a full batch are recorded as CUDA graphs; see `capturing`.
        integers: Whether quantized operators run in integer kernels, and not in real numbers.
        alternatives: Devices that autotuning may choose instead, because the user named none.
    """

    name: str
    reason: str
    providers: list[Any] = field(compare=False)
    custom_ops: tuple[str, ...] = ()
    tf32: bool = False
    captures: bool = False
    integers: bool = False
    alternatives: tuple[Device, ...] = field(default=(), compare=False)

    @property
    def memory(self) -> tuple[str, int]:
        """The memory of the device, as (name, index) for `onnxruntime.OrtValue`."""
        _, _, which = self.name.partition(":")
        return ("cuda", int(which or 0)) if self.kind in _IN_CUDA_MEMORY else ("cpu", 0)

    @property
    def remote(self) -> bool:
        """Whether the device has its own memory, so that copies to it take time."""
        return self.memory[0] != "cpu"

    @property
    def kind(self) -> str:
        """The name without the number, such as "cpu" or "cuda"."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class _Kind:
    """A kind of device.

    Attributes:
        title: The name in messages.
        provider: The name of the execution provider.
        package: The package of onnxruntime with the provider.
        option: The provider's option for the text after the colon; None if there is none.
        which: The default and the pattern of the text after the colon.
        options: Further options of the provider.
        trouble: A function that returns why the kind cannot be used, although onnxruntime has the
            provider; None if it can be used.
        system: The only operating system with the kind, and its `sys.platform`; empty for all.
        helpers: Kinds of devices that run the operators that the provider does not support.
    """

    title: str
    provider: str
    package: str
    option: str | None = "device_id"
    which: tuple[str, ...] = ("0", r"\d+")
    options: tuple[tuple[str, str], ...] = ()
    trouble: Callable[[], str | None] = lambda: None
    system: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()


def _no_tensorrt() -> str | None:
    library = f"nvinfer_{_TENSORRT}.dll" if os.name == "nt" else f"libnvinfer.so.{_TENSORRT}"
    found = cuda.trouble()
    if found is None and not cuda.loads(library):
        found = (
            f"{library} not found; pip install 'tensorrt-cu{cuda.built_for()}<{_TENSORRT + 1}' and "
            "put the folder tensorrt_libs on LD_LIBRARY_PATH"
        )
    return found


_CRASHED = "a trial convolution crashed"
_KINDS = {
    "cuda": _Kind(
        "CUDA",
        cuda.PROVIDER,
        "onnxruntime-gpu",
        # Trying all algorithms of cuDNN would take long for every new batch size.
        options=(("cudnn_conv_algo_search", "HEURISTIC"),),
        trouble=cuda.trouble,
    ),
    "tensorrt": _Kind(
        "TensorRT",
        "TensorrtExecutionProvider",
        "onnxruntime-gpu",
        trouble=_no_tensorrt,
        helpers=("cuda",),
    ),
    "openvino": _Kind(
        "OpenVINO",
        "OpenVINOExecutionProvider",
        "onnxruntime-openvino",
        option="device_type",
        which=("CPU", r"CPU|NPU|GPU(\.\d+)?"),
        # The default of the provider may compute in half precision.
        options=(("precision", "ACCURACY"),),
    ),
    "directml": _Kind(
        "DirectML", "DmlExecutionProvider", "onnxruntime-directml", system=("Windows", "win32")
    ),
    "coreml": _Kind(
        "Core ML",
        "CoreMLExecutionProvider",
        "onnxruntime",
        option=None,
        system=("macOS", "darwin"),
    ),
}


def choose_device(requested: str = "auto", tf32: bool = True) -> Device:
    """Return a device.

    Args:
        requested: "auto" (CUDA if it works, else the CPU), "cpu", "cuda" or "cuda:1", "tensorrt" or
            "tensorrt:1", "openvino" or "openvino:GPU", "directml", "coreml".
        tf32: Whether CUDA may compute products in TF32.

    Raises:
        DeviceError: The device cannot be used; the message says what is missing and how to
            install it.
        OptionError: There is no such device.

    Example:
        >>> choose_device("cpu").name
        'cpu'
    """
    name, _, which = requested.partition(":")
    if name in ("auto", "cpu") and not which:
        return _auto(tf32) if name == "auto" else _cpu("requested")
    kind = _KINDS.get(name)
    if kind is None or (which and not _fits(kind, which)):
        known = ["auto", "cpu", *_KINDS]
        raise OptionError(
            f"no device '{requested}'{did_you_mean(requested, known)}; choose {', '.join(known)}, "
            "with a number as in cuda:1, or openvino:GPU"
        )
    device = _device(name, which or kind.which[0], "requested", tf32)
    trouble = why_not(name) or _missing(device)
    trial = Trial() if trouble else _trial(device)
    if trial.crashed:
        # A model without the operators of the trial may run, and the user named the device.
        return replace(device, reason=f"{device.reason[:-1]}; {_CRASHED})")
    trouble = trouble or _why_failed(trial, device)
    if trouble is not None:
        raise DeviceError(
            f"device '{requested}' is not available: {trouble}; or use --device auto or cpu"
        )
    return device


def capturing(device: Device) -> Device:
    """Return the same device with CUDA graphs: a full batch is recorded once and then replayed.

    Args:
        device: The device.

    Raises:
        OptionError: The device is not a CUDA device.
    """
    if device.kind != "cuda":
        raise OptionError(f"CUDA graphs need --device cuda, not {device.name}")
    (provider, options), *others = device.providers
    with_graphs = (provider, {**options, _CUDA_GRAPH: "1"})
    return replace(device, providers=[with_graphs, *others], captures=True)


def uncapturing(device: Device) -> Device:
    """Return the same device without CUDA graphs.

    Args:
        device: The device.
    """
    (provider, options), *others = device.providers
    plain = {key: value for key, value in options.items() if key != _CUDA_GRAPH}
    return replace(device, providers=[(provider, plain), *others], captures=False)


def with_integer_kernels(device: Device) -> Device:
    """Return the same device, which runs quantized operators in integer kernels.

    Args:
        device: The device.
    """
    return replace(device, integers=True)


def with_openvino_settings(device: Device, **settings: Any) -> Device:
    """Return the same OpenVINO device with further settings of its CPU plug-in.

    Args:
        device: An OpenVINO device on a CPU.
        **settings: The settings by OpenVINO's names.
    """
    (provider, options), *others = device.providers
    known = json.loads(options.get("load_config", "{}")).get("CPU", {})
    config = json.dumps({"CPU": {**known, **settings}})
    return replace(device, providers=[(provider, {**options, "load_config": config}), *others])


def why_not(name: str) -> str | None:
    """Return why a kind of device cannot be used and how to fix it; None if it can be used.

    Args:
        name: The kind of device, without a number.
    """
    kind = _KINDS[name]
    if kind.provider not in onnxruntime.get_available_providers():
        if kind.system and sys.platform != kind.system[1]:
            return f"{kind.title} exists on {kind.system[0]} only"
        instead = replacement(kind.package)
        return f"this onnxruntime is built without {kind.title}; {instead}"
    return kind.trouble()


def kinds() -> list[str]:
    """Return all kinds of devices except the CPU."""
    return list(_KINDS)


def why_not_first_gpu(tf32: bool = True) -> str | None:
    """Return why the first GPU cannot be used and how to fix it; None if it can be used.

    Args:
        tf32: Whether CUDA may compute products in TF32.
    """
    device = _first_gpu(tf32)
    trouble = cuda.trouble() or _missing(device)
    if trouble is not None:
        return trouble
    trial = _trial(device)
    return f"on the GPU, {_CRASHED}" if trial.crashed else _why_failed(trial, device)


def _auto(tf32: bool) -> Device:
    trouble = why_not_first_gpu(tf32)
    return _first_gpu(tf32) if trouble is None else _cpu(trouble)


def _first_gpu(tf32: bool) -> Device:
    return _device("cuda", "0", "a GPU was found", tf32)


def _cpu(reason: str) -> Device:
    return Device("cpu", f"running on the CPU ({reason})", [CPU_PROVIDER])


def _device(name: str, which: str, reason: str, tf32: bool) -> Device:
    kind = _KINDS[name]
    providers = [_provider(_KINDS[n], which, tf32) for n in (name, *kind.helpers)]
    full, title = (
        (name, kind.title) if kind.option is None else (f"{name}:{which}", f"{kind.title} {which}")
    )
    rounds = tf32 and any("use_tf32" in options for _, options in providers)
    return Device(full, f"running on {title} ({reason})", [*providers, CPU_PROVIDER], tf32=rounds)


def _provider(kind: _Kind, which: str, tf32: bool) -> tuple[str, dict[str, str]]:
    own = {} if kind.option is None else {kind.option: which}
    rounding = {"use_tf32": str(int(tf32))} if kind.provider == cuda.PROVIDER else {}
    return kind.provider, {**own, **dict(kind.options), **rounding}


def _fits(kind: _Kind, which: str) -> bool:
    return kind.option is not None and re.fullmatch(kind.which[1], which) is not None


def _missing(device: Device) -> str | None:
    """Return why there is no such device, although its kind can be used; None if there is one."""
    number = device.name.partition(":")[2]
    if device.kind in _IN_CUDA_MEMORY and int(number) >= len(cuda.driver().gpus):
        return f"the NVIDIA GPUs are numbered 0 to {len(cuda.driver().gpus) - 1}"
    return None


def _trial(device: Device) -> Trial:
    return run_trial(_KINDS[device.kind].provider, device.providers)


def _why_failed(trial: Trial, device: Device) -> str | None:
    """Return why the trial of a device failed, for the user; None if it passed."""
    if trial.error is None:
        return None
    error = RuntimeError(trial.error)
    if lacks_kernels(error):
        return cuda.no_kernels_for(int(device.memory[1]))
    return (
        f"onnxruntime cannot use it ({reason_of(error)}); end the processes that hold it, or "
        "reinstall onnxruntime and the driver"
    )
