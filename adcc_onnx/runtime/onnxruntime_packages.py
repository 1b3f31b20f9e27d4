"""The installed packages that contain the module `onnxruntime`, and what is wrong with them.

Several packages contain this module: onnxruntime, onnxruntime-gpu, onnxruntime-openvino and others.
Installed together, they overwrite each other's files. The same holds for the packages of OpenCV.
"""

from __future__ import annotations

import importlib
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

from adcc_onnx.errors import first_line

MINIMUM = (1, 23)
MINIMUM_CUDA = (1, 31)  # before, AveragePool is wrong on CUDA
# How the names of the packages begin, by the module.
_BEGINNINGS = {"onnxruntime": ("onnxruntime", "ort_"), "cv2": ("opencv_",)}
_TITLES = {"onnxruntime": "onnxruntime", "cv2": "OpenCV"}
# The packages for everyone, which are the first choice for an installation that must be fixed.
_PREFERRED = ("onnxruntime-gpu", "opencv-python")


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
class Package:
    """An installed package.

    Attributes:
        name: The name that pip knows, such as "onnxruntime-gpu".
        version: The version.
        folder: The folder that the package is installed in.
    """

    name: str
    version: str
    folder: Path


def packages_with(module: str) -> list[Package]:
    """List the installed packages that contain a module, by their lists of files.

    Args:
        module: "onnxruntime" or "cv2".

    Returns:
        The packages in the order in which Python searches their folders.
    """
    found = []
    for folder in _folders():
        for beginning in _BEGINNINGS[module]:
            for info in sorted(folder.glob(f"{beginning}*.dist-info")):
                package = Distribution.at(info)
                if f"\n{module}/__init__.py," in "\n" + (package.read_text("RECORD") or ""):
                    name = package.metadata["Name"].lower().replace("_", "-")
                    found.append(Package(name, package.version, folder))
    return found


def overlap_problems(module: str) -> Iterator[Problem]:
    """Report packages that overwrite each other's files, so that a mixture is imported.

    Args:
        module: "onnxruntime" or "cv2".

    Yields:
        A problem for each folder with several packages.
    """
    found = packages_with(module)
    for folder in dict.fromkeys(package.folder for package in found):
        names = [package.name for package in found if package.folder == folder]
        if len(names) > 1:
            yield Problem(
                f"{len(names)} packages of {_TITLES[module]} overwrite each other's files: "
                f"{', '.join(names)}",
                f"pip uninstall -y {' '.join(names)} && pip install {_kept(names)}",
            )


def import_problem() -> Problem | None:
    """Import onnxruntime and return why it cannot be used, or None if it can be used."""
    try:
        module = importlib.import_module("onnxruntime")
        version = str(getattr(module, "__version__", ""))
        # Without its __init__.py, the rest of an incomplete package is still importable.
        trouble = None if hasattr(module, "InferenceSession") else "its files are incomplete"
    except Exception as error:
        version, trouble = "", first_line(error)
    package = next(iter(packages_with("onnxruntime")), None)
    if trouble is not None:
        return _broken(package, trouble)
    if release(version) < MINIMUM:
        name = "onnxruntime" if package is None else package.name
        needed = ".".join(map(str, MINIMUM))
        return Problem(
            f"onnxruntime {version} is too old, version {needed} is needed",
            f"pip install --upgrade {name}",
        )
    return None


def release(version: str) -> tuple[int, int]:
    """Return the two first numbers of a version.

    Args:
        version: A version, such as "1.31.0.dev20260101".

    Example:
        >>> release("1.31.1")
        (1, 31)
    """
    first, second = re.findall(r"\d+", f"{version}.0.0")[:2]
    return int(first), int(second)


def replacement(name: str) -> str:
    """Return the command that installs a package of onnxruntime in place of the present one.

    Args:
        name: The package, such as "onnxruntime-openvino".
    """
    present = [package.name for package in packages_with("onnxruntime")]
    removal = f"pip uninstall -y {' '.join(present)} && " if present else ""
    return f"{removal}pip install {name}"


def recommended() -> str:
    """Return the package of onnxruntime for this platform, of which onnxruntime-gpu covers two."""
    has_gpu_package = (sys.platform, platform.machine()) in {
        ("linux", "x86_64"),
        ("win32", "AMD64"),
    }
    return "onnxruntime-gpu" if has_gpu_package else "onnxruntime"


def _folders() -> list[Path]:
    return list(dict.fromkeys(Path(entry).resolve() for entry in sys.path))


def _broken(package: Package | None, trouble: str) -> Problem:
    overlap = next(overlap_problems("onnxruntime"), None)
    if overlap is not None:
        return overlap
    if package is None:
        return Problem("no onnxruntime is installed", f"pip install {recommended()}")
    return Problem(f"{package.name} does not work: {trouble}", _reinstall(package.name))


def _reinstall(name: str) -> str:
    return f"pip install --force-reinstall --no-deps {name}"


def _kept(names: list[str]) -> str:
    """Return the package to keep: a preferred one, else one that was chosen for its hardware."""
    preferred = [name for name in names if name in _PREFERRED]
    special = [name for name in names if name not in _TITLES.values()]
    return (preferred or special or names)[0]
