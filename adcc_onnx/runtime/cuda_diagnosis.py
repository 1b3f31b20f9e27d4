"""Diagnosis of the CUDA path: the card, the kernels in the wheel, and the versions of libraries."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from adcc_onnx.runtime import cuda
from adcc_onnx.runtime.onnxruntime_import import onnxruntime

# The header of a CUDA fat binary and of each of its parts; cuobjdump reads the same fields.
_MAGIC = 0xBA55ED50
_HEADER = struct.Struct("<IHHQ")  # magic, version, size of the header, size of all parts
_PART = struct.Struct("<HHIQ")  # kind, version, size of the header, size of the part
_ARCHITECTURE_OFFSET = 28
_PTX, _MACHINE_CODE = 1, 2
_SECTION = b".nv_fatbin"


@dataclass(frozen=True)
class CudaDiagnosis:
    """What decides whether onnxruntime's CUDA provider runs on this machine.

    Attributes:
        capabilities: Compute capability of each GPU, such as "9.0"; "unknown" without CUDA's
            runtime library.
        kernels: Architectures that this onnxruntime has kernels for, such as "sm_90"; an
            architecture with PTX, which newer GPUs can compile, is named "compute_90".
        driver: Version of NVIDIA's driver, such as "580.65.06"; None if it is not known.
        libraries: Versions of CUDA's libraries by name, such as "13.0".
    """

    capabilities: list[str] = field(default_factory=list)
    kernels: list[str] = field(default_factory=list)
    driver: str | None = None
    libraries: dict[str, str] = field(default_factory=dict)


def examine_cuda() -> CudaDiagnosis | None:
    """Examine the CUDA path; None if onnxruntime is built without CUDA."""
    if cuda.built_for() is None:
        return None
    found = [cuda.capability(index) for index in range(len(cuda.driver().gpus))]
    capabilities = ["unknown" if one is None else "{}.{}".format(*one) for one in found]
    return CudaDiagnosis(capabilities, _kernels(), _driver_version(), _library_versions())


def architectures(binary: bytes | mmap.mmap) -> list[str]:
    """List the architectures of the CUDA kernels in a library, the oldest first.

    Args:
        binary: The content of an ELF file with the section `.nv_fatbin`; others have no kernels.
    """
    start, size = _fat_binaries(binary)
    found: set[tuple[int, int]] = set()
    at = start
    while at + _HEADER.size <= start + size:
        magic, _, header, length = _HEADER.unpack_from(binary, at)
        if magic != _MAGIC:
            at += 8  # the padding between fat binaries
            continue
        found.update(_parts(binary, at + header, at + header + length))
        at += header + length
    names = {_PTX: "compute", _MACHINE_CODE: "sm"}
    return [f"{names[kind]}_{number}" for number, kind in sorted(found)]


def _parts(binary: bytes | mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int]]:
    while at + _PART.size <= end:
        kind, _, header, length = _PART.unpack_from(binary, at)
        if kind in (_PTX, _MACHINE_CODE):
            (number,) = struct.unpack_from("<I", binary, at + _ARCHITECTURE_OFFSET)
            yield number, kind
        at += header + length
        if not header:
            return


def _fat_binaries(binary: bytes | mmap.mmap) -> tuple[int, int]:
    """Return the offset and the size of the section with CUDA's kernels; (0, 0) without one."""
    if binary[:5] != b"\x7fELF\x02":
        return 0, 0
    (table,) = struct.unpack_from("<Q", binary, 40)
    entry, count, names = struct.unpack_from("<HHH", binary, 58)
    sections = [struct.unpack_from("<IIQQQQ", binary, table + i * entry) for i in range(count)]
    strings = sections[names][4]
    for name, _, _, _, offset, size in sections:
        text = binary[strings + name : strings + name + len(_SECTION) + 1]
        if text == _SECTION + b"\0":
            return offset, size
    return 0, 0


@cache
def _kernels() -> list[str]:
    folder = Path(onnxruntime.__file__).parent / "capi"
    path = folder / "libonnxruntime_providers_cuda.so"
    if not path.is_file():
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        return architectures(binary)


def _driver_version() -> str | None:
    """Ask NVIDIA's management library, which comes with the driver."""
    try:
        library = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(96)
        if library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(text, len(text)):
            return None
    except (OSError, AttributeError):
        return None
    return text.value.decode(errors="replace")


def _library_versions() -> dict[str, str]:
    versions = {}
    for name, there in cuda.libraries().items():
        found = _library_version(name) if there else None
        if found is not None:
            versions[name] = found
    return versions


def _library_version(name: str) -> str | None:
    library, part = ctypes.CDLL(name), ctypes.c_int(0)
    try:
        if "cudart" in name:
            library.cudaRuntimeGetVersion(ctypes.byref(part))
            return f"{part.value // 1000}.{part.value % 1000 // 10}"
        if "cudnn" in name:
            library.cudnnGetVersion.restype = ctypes.c_size_t
            version = library.cudnnGetVersion()
            return f"{version // 10000}.{version % 10000 // 100}.{version % 100}"
        if "cublasLt" in name:
            library.cublasLtGetVersion.restype = ctypes.c_size_t
            version = library.cublasLtGetVersion()
            return f"{version // 10000}.{version % 10000 // 100}.{version % 100}"
    except AttributeError:  # another library of the same name
        return None
    return None
