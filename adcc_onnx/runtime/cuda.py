"""NVIDIA's driver and CUDA's libraries on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
from dataclasses import dataclass
from functools import cache

from adcc_onnx.runtime.onnxruntime_import import onnxruntime
from adcc_onnx.runtime.onnxruntime_packages import MINIMUM_CUDA, release, replacement

PROVIDER = "CUDAExecutionProvider"
INSTALL = "pip install 'adcc-onnx[cuda]'"
_PACKAGE = "onnxruntime-gpu"
_NO_DEVICE = 100  # the status of cuInit with a driver but no GPU
_MAJOR, _MINOR = 75, 76  # the attributes of a device with its compute capability


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        name: The name of the GPU.
        memory: Its memory in bytes.
    """

    name: str
    memory: int


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        cuda: The newest supported CUDA version, (major, minor); None without a driver.
        gpus: The GPUs in the order of their numbers.
        error: CUDA's error code from the driver's initialization; 0 if it succeeded.
    """

    cuda: tuple[int, int] | None = None
    gpus: tuple[Gpu, ...] = ()
    error: int = 0


@cache
def driver() -> Driver:
    """Return the driver and its GPUs."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return Driver()
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    cuda = (version.value // 1000, version.value % 1000 // 10)
    error = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count))
    if error:
        return Driver(cuda, error=0 if error == _NO_DEVICE else error)
    return Driver(cuda, tuple(_gpu(library, index) for index in range(count.value)))


def built_for() -> int | None:
    """Return the major version of CUDA that onnxruntime is built for; None without CUDA."""
    if PROVIDER not in onnxruntime.get_available_providers():
        return None
    from onnxruntime.capi import build_and_package_info

    return int(str(getattr(build_and_package_info, "cuda_version", "13")).split(".")[0])


@cache
def libraries() -> dict[str, bool]:
    """Return whether each library of the CUDA provider is found, by the library's name."""
    major = built_for()
    if major is None:
        return {}
    # Makes the libraries of NVIDIA's wheels available. Its output is suppressed, because `trouble`
    # reports missing libraries.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    if os.name == "nt":
        names = [f"cudart64_{major}.dll", f"cublasLt64_{major}.dll", "cudnn64_9.dll"]
    else:
        parts = ("libcudart", "libcublas", "libcublasLt")
        names = [*(f"{part}.so.{major}" for part in parts), "libcurand.so.10", "libcudnn.so.9"]
    return {name: loads(name) for name in names}


def runtime_library() -> ctypes.CDLL | None:
    """Return CUDA's runtime library, or None if it is not found."""
    found = [name for name, there in libraries().items() if there and "cudart" in name]
    return ctypes.CDLL(found[0]) if found else None


def capability(index: int) -> tuple[int, int] | None:
    """Return the compute capability of a GPU, such as (9, 0); None if it is not known.

    Args:
        index: The number of the GPU.
    """
    library, found = runtime_library(), ctypes.c_int(0)
    if library is None:
        return None
    parts = []
    for attribute in (_MAJOR, _MINOR):
        if library.cudaDeviceGetAttribute(ctypes.byref(found), attribute, index):
            return None
        parts.append(found.value)
    return parts[0], parts[1]


def no_kernels_for(index: int) -> str:
    """Return a text for the user: onnxruntime has no kernels for a GPU.

    Args:
        index: The number of the GPU.
    """
    found = capability(index)
    which = "the GPU" if found is None else "the GPU's compute capability {}.{}".format(*found)
    return (
        f"this onnxruntime has no kernels for {which}; install a build of onnxruntime-gpu that has "
        "them (adcc-onnx doctor lists those of this one)"
    )


def loads(library: str) -> bool:
    """Return whether the system can load a library.

    Args:
        library: The file name of the library.
    """
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def trouble() -> str | None:
    """Return why CUDA cannot be used and how to fix it, or None if it can be used."""
    wanted, found = built_for(), driver()
    if not found.gpus and not found.error:
        return "no NVIDIA GPU found"
    if wanted is None:
        return f"this onnxruntime is built without CUDA; {replacement(_PACKAGE)}"
    if release(onnxruntime.__version__) < MINIMUM_CUDA:
        return (
            f"onnxruntime {onnxruntime.__version__} computes AveragePool wrongly on CUDA; "
            f"pip install --upgrade '{_PACKAGE}>={MINIMUM_CUDA[0]}.{MINIMUM_CUDA[1]}'"
        )
    if found.error:
        return f"NVIDIA's driver fails to start (CUDA error {found.error}); reinstall the driver"
    if found.cuda is not None and found.cuda[0] < wanted:
        has = "{}.{}".format(*found.cuda)
        return f"the driver supports CUDA {has}, onnxruntime needs {wanted}; update the driver"
    missing = [name for name, there in libraries().items() if not there]
    return f"{', '.join(missing)} not found; {INSTALL}" if missing else None


def _gpu(library: ctypes.CDLL, index: int) -> Gpu:
    handle, name, memory = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    library.cuDeviceGet(ctypes.byref(handle), index)
    library.cuDeviceGetName(name, len(name), handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return Gpu(name.value.decode(errors="replace"), memory.value)
