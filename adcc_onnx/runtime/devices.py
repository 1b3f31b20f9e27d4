"""Which device runs the model: found out before it is asked for, and said in one line."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import onnxruntime

from adcc_onnx.errors import DeviceError, OptionError

CUDA_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"


@dataclass(frozen=True)
class Device:
    """A device that is there.

    Attributes:
        name: "cpu" or "cuda:0".
        reason: one line for a person: what was chosen and why.
        providers: as `onnxruntime.InferenceSession` takes them.
    """

    name: str
    reason: str
    providers: list[Any] = field(compare=False)


def choose_device(asked: str = "auto") -> Device:
    """The device to run on.

    Args:
        asked: "auto" (CUDA where it works, else the CPU), "cpu", "cuda" or "cuda:1".

    Raises:
        DeviceError: CUDA was asked for by name and cannot be used; says what is missing.
        OptionError: no such device.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", asked)
    if match is None:
        raise OptionError(f"no device '{asked}'; choose auto, cpu, cuda or cuda:1")
    if asked == "cpu":
        return _cpu("it was asked for")
    missing, index = cuda_trouble(), int(match[1] or 0)
    if missing is None and index >= cuda_devices():
        missing = f"there are {cuda_devices()} NVIDIA GPUs, numbered from 0"
    if missing is None:
        return _cuda(index, "it was asked for" if asked != "auto" else "a GPU was found")
    if asked == "auto":
        return _cpu(missing)
    raise DeviceError(f"device '{asked}' is not available: {missing}; use --device cpu or auto")


def _cpu(reason: str) -> Device:
    return Device("cpu", f"running on the CPU ({reason})", [CPU_PROVIDER])


def _cuda(index: int, reason: str) -> Device:
    provider = (CUDA_PROVIDER, {"device_id": str(index)})
    return Device(
        f"cuda:{index}", f"running on CUDA device {index} ({reason})", [provider, CPU_PROVIDER]
    )


@cache
def cuda_trouble() -> str | None:
    """Why CUDA cannot be used here, None where it can."""
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return "this onnxruntime is built without CUDA; install onnxruntime-gpu"
    if not cuda_devices():
        return "no NVIDIA GPU found"
    missing = [name for name in _cuda_libraries() if not _loads(name)]
    if missing:
        return f"{', '.join(missing)} not found; pip install 'adcc-onnx[cuda]'"
    return None


@cache
def cuda_devices() -> int:
    """How many NVIDIA GPUs the driver shows."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _cuda_libraries() -> list[str]:
    """What the CUDA provider links to, once the wheels' copies have been looked for."""
    from onnxruntime.capi import build_and_package_info

    # It prints what it misses, where we say it in a line of our own.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    major = str(getattr(build_and_package_info, "cuda_version", "13")).split(".")[0]
    if os.name == "nt":
        return [f"cublasLt64_{major}.dll", "cudnn64_9.dll"]
    return [f"libcudart.so.{major}", f"libcublasLt.so.{major}", "libcudnn.so.9"]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
