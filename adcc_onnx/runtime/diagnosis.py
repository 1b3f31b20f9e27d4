"""Diagnosis of the installation: versions, devices, and problems with the command to fix them."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import adcc_onnx
from adcc_onnx.errors import AdccWarning, first_line
from adcc_onnx.runtime.instruction_sets import instruction_sets
from adcc_onnx.runtime.onnxruntime_packages import (
    Problem,
    import_problem,
    overlap_problems,
    packages_with,
)

if TYPE_CHECKING:
    from adcc_onnx.runtime.cuda_diagnosis import CudaDiagnosis
    from adcc_onnx.runtime.precisions import CheaperPrecision

_PACKAGES = ("onnx", "onnx-ir", "onnxscript", "numba", "numpy", "scipy", "pillow")
_REINSTALL = "pip install --force-reinstall --no-deps onnxruntime-gpu, or update NVIDIA's driver"


@dataclass(frozen=True)
class RuntimeDiagnosis:
    """The onnxruntime installation and the devices that it finds.

    Attributes:
        version: Version of onnxruntime.
        cuda: Major version of CUDA that onnxruntime is built for; None for a CPU build.
        providers: Available execution providers, in onnxruntime's order.
        driver: Newest CUDA version that NVIDIA's driver supports, such as "13.0"; None without a
            driver.
        gpus: Name and memory of each GPU.
        libraries: Whether each library that the CUDA provider needs was found, by name.
        device: Device that `--device auto` chooses, with the reason.
        precisions: The cheaper precisions than float32, and why they cannot be used here.
        details: Further details of the CUDA path; None for a CPU build.
    """

    version: str
    cuda: int | None
    providers: list[str]
    driver: str | None
    gpus: list[str]
    libraries: dict[str, bool]
    device: str
    precisions: list[CheaperPrecision]
    details: CudaDiagnosis | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The result of a diagnosis.

    Attributes:
        versions: Versions of Python, this package and its dependencies, by name.
        instruction_sets: The CPU's vector instruction sets; None if they are not known.
        onnxruntime: Diagnosis of onnxruntime; None if it cannot be imported.
        kernels: Cache folder of the compiled kernels; None if they do not compile.
        problems: Problems that were found; empty for a healthy installation.
    """

    versions: dict[str, str]
    instruction_sets: list[str] | None
    onnxruntime: RuntimeDiagnosis | None
    kernels: str | None
    problems: list[Problem] = field(default_factory=list)


def examine() -> Diagnosis:
    """Examine the installation; only the kernel cache is changed.

    Returns:
        Versions, devices and problems.
    """
    problems = [*overlap_problems("onnxruntime"), *overlap_problems("cv2")]
    broken = import_problem()
    if broken is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AdccWarning)  # the overlap is a problem below
            runtime = _runtime()
        problems += _gpu_problems()
    else:
        runtime = None
        problems += [broken] if broken not in problems else []
    try:
        kernels = _kernels()
    except Exception as error:
        kernels, fix = None, "pip install --force-reinstall --no-deps numba llvmlite"
        problems.append(Problem(f"the kernels do not compile: {first_line(error)}", fix))
    return Diagnosis(_versions(), instruction_sets(), runtime, kernels, problems)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "adcc-onnx": adcc_onnx.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    for package in (*packages_with("onnxruntime"), *packages_with("cv2")):
        found.setdefault(package.name, package.version)
    return found


def _runtime() -> RuntimeDiagnosis:
    import onnxruntime

    from adcc_onnx.runtime import cuda
    from adcc_onnx.runtime.cuda_diagnosis import examine_cuda
    from adcc_onnx.runtime.devices import choose_device
    from adcc_onnx.runtime.precisions import machine_precisions

    driver = cuda.driver()
    return RuntimeDiagnosis(
        version=onnxruntime.__version__,
        cuda=cuda.built_for(),
        providers=onnxruntime.get_available_providers(),
        driver=None if driver.cuda is None else "{}.{}".format(*driver.cuda),
        gpus=[f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB" for gpu in driver.gpus],
        libraries=cuda.libraries(),
        device=choose_device("auto").reason,
        precisions=machine_precisions(),
        details=examine_cuda(),
    )


def _gpu_problems() -> Iterator[Problem]:
    """Report a GPU that exists and cannot be used; a machine without a GPU is healthy."""
    from adcc_onnx.runtime import cuda
    from adcc_onnx.runtime.devices import why_not_first_gpu

    if cuda.driver().gpus or cuda.driver().error:
        trouble = why_not_first_gpu()
        if trouble is not None:
            what, _, fix = trouble.rpartition("; ")
            yield Problem(f"the GPU cannot be used: {what or fix}", fix if what else _REINSTALL)


def _kernels() -> str:
    """Compile and run a kernel; return the cache folder."""
    import numba
    import numpy as np

    from adcc_onnx.kernels import jit
    from adcc_onnx.kernels.min_max_normalize import min_max_normalize

    normalized, _ = min_max_normalize(np.array([[[1.0, 2.0], [3.0, 5.0]]]))
    if normalized.tolist() != [[[0.0, 0.25], [0.5, 1.0]]]:
        raise RuntimeError(f"min-max normalization gives {normalized.tolist()}")
    try:
        # This compiles nothing: Numba only determines the cache folder of the kernels' file.
        return str(numba.njit(cache=True)(jit.as_kernel_array).stats.cache_path)
    except RuntimeError:
        return "no cache folder: each process compiles the kernels again; set NUMBA_CACHE_DIR"
