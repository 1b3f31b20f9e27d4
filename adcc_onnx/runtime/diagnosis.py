"""Diagnosis of the installation: versions, devices, and problems with the command to fix them."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distributions, version
from typing import TYPE_CHECKING

import adcc_onnx
from adcc_onnx.errors import first_line

if TYPE_CHECKING:
    from adcc_onnx.runtime.cuda_diagnosis import CudaDiagnosis

_PACKAGES = ("onnx", "onnx-ir", "onnxscript", "numba", "numpy", "scipy", "pillow")
# Packages whose names look like an onnxruntime.
_NO_RUNTIME = ("onnxruntime-extensions", "onnxruntime-genai", "onnxruntime-tools")
_REINSTALL = "pip install --force-reinstall onnxruntime-gpu, or update NVIDIA's driver"


@dataclass(frozen=True)
class Problem:
    """A part of the installation that does not work.

    Attributes:
        what: Description of the problem.
        fix: Command or action that solves it.
    """

    what: str
    fix: str


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
        details: Further details of the CUDA path; None for a CPU build.
    """

    version: str
    cuda: int | None
    providers: list[str]
    driver: str | None
    gpus: list[str]
    libraries: dict[str, bool]
    device: str
    details: CudaDiagnosis | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The result of a diagnosis.

    Attributes:
        versions: Versions of Python, this package and its dependencies, by name.
        onnxruntime: Diagnosis of onnxruntime; None if it cannot be imported.
        kernels: Cache folder of the compiled kernels; None if they do not compile.
        problems: Problems that were found; empty for a healthy installation.
    """

    versions: dict[str, str]
    onnxruntime: RuntimeDiagnosis | None
    kernels: str | None
    problems: list[Problem] = field(default_factory=list)


def examine() -> Diagnosis:
    """Examine the installation; only the kernel cache is changed.

    Returns:
        Versions, devices and problems.
    """
    problems = [*_conflicts("onnxruntime", _runtimes()), *_conflicts("OpenCV", _opencvs())]
    try:
        runtime = _runtime()
        problems += _gpu_problems()
    except Exception as error:
        runtime = None
        name = next(iter(_runtimes()), "onnxruntime-gpu")
        fix = f"pip install --force-reinstall {name}"
        problems.append(Problem(f"onnxruntime does not work: {first_line(error)}", fix))
    try:
        kernels = _kernels()
    except Exception as error:
        kernels, fix = None, "pip install --force-reinstall numba llvmlite"
        problems.append(Problem(f"the kernels do not compile: {first_line(error)}", fix))
    return Diagnosis(_versions(), runtime, kernels, problems)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "adcc-onnx": adcc_onnx.__version__}
    for name in (*_PACKAGES, *_runtimes(), *_opencvs()):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _runtime() -> RuntimeDiagnosis:
    import onnxruntime

    from adcc_onnx.runtime import cuda
    from adcc_onnx.runtime.cuda_diagnosis import examine_cuda
    from adcc_onnx.runtime.devices import choose_device

    driver = cuda.driver()
    return RuntimeDiagnosis(
        version=onnxruntime.__version__,
        cuda=cuda.built_for(),
        providers=onnxruntime.get_available_providers(),
        driver=None if driver.cuda is None else "{}.{}".format(*driver.cuda),
        gpus=[f"{gpu.name}, {gpu.memory / 2**30:.0f} GiB" for gpu in driver.gpus],
        libraries=cuda.libraries(),
        device=choose_device("auto").reason,
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


def _conflicts(what: str, names: list[str]) -> Iterator[Problem]:
    """Report packages that overwrite each other's files, so that a mixture is imported."""
    if len(names) > 1:
        preferred = [name for name in names if name in ("onnxruntime-gpu", "opencv-python")]
        keep = (preferred or names)[0]
        yield Problem(
            f"{len(names)} packages of {what} overwrite each other's files: {', '.join(names)}",
            f"pip uninstall -y {' '.join(names)} && pip install {keep}",
        )


def _runtimes() -> list[str]:
    """List the installed packages that contain the module `onnxruntime`."""
    return [
        name
        for name in _installed()
        if (name == "onnxruntime" or name.startswith(("onnxruntime-", "ort-")))
        and not name.startswith(("onnxruntime-ep-", *_NO_RUNTIME))
    ]


def _opencvs() -> list[str]:
    """List the installed packages that contain the module `cv2`."""
    return [n for n in _installed() if n.startswith(("opencv-python", "opencv-contrib-python"))]


def _installed() -> list[str]:
    names = (dist.metadata["Name"] for dist in distributions())
    return sorted({name.lower().replace("_", "-") for name in names if name})


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
