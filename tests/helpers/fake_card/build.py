"""Compile libraries that stand in for CUDA's driver, runtime, cuBLAS, cuRAND and cuDNN.

onnxruntime's own CUDA provider opens on them, so options, the kernel registry, the placement
of operators, bindings, arenas, CUDA graphs and error messages are the real ones. Kernels compute
nothing: device memory is host memory, and a launch leaves it as it is.

The libraries define the symbols that the provider of the installed wheel needs and no others. Those
with a behavior of their own are in `card.c`; all others return success.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections import defaultdict
from pathlib import Path

_SOURCE = Path(__file__).with_name("card.c")
_PROVIDER = "libonnxruntime_providers_cuda.so"
# Libraries that a provider is linked to, and the one that it opens by itself.
_LINKED = re.compile(r"lib(cudart|cublas|cublasLt)\.so\.\d+")
_CUDNN = "libcudnn.so.9"
_DRIVER = ("libcuda.so.1", "cuTensorMapEncodeTiled")
_UNUSED = ("libcurand.so.10", "curandCreateGenerator")
_BY_ITSELF = re.compile(rb"(?<=\0)(cudnn[A-Z]\w+)(?=\0)")


def provider() -> Path | None:
    """Return the installed CUDA provider of onnxruntime, if there is one."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "capi" / _PROVIDER
    return path if path.is_file() else None


def build(out: Path) -> None:
    """Compile all libraries into a folder.

    Args:
        out: The folder, which programs then find through `LD_LIBRARY_PATH`.

    Raises:
        RuntimeError: There is no CUDA provider.
    """
    path = provider()
    if path is None:
        raise RuntimeError("this onnxruntime has no CUDA provider")
    libraries = needed_symbols(path)
    libraries[_CUDNN] = {name.decode() for name in _BY_ITSELF.findall(path.read_bytes())}
    for library, symbol in (_DRIVER, _UNUSED):
        libraries[library] = {symbol}
    for library, symbols in libraries.items():
        _compile(library, symbols, out)


def needed_symbols(path: Path) -> defaultdict[str, set[str]]:
    """Return the undefined symbols of a library, by the CUDA library that must define them.

    Args:
        path: The library.
    """
    listed = subprocess.run(
        ["readelf", "--dyn-syms", "--wide", path], capture_output=True, text=True, check=True
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in listed.stdout.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[6] != "UND" or "@" not in fields[7]:
            continue
        name, _, version = fields[7].partition("@")
        if _LINKED.fullmatch(version):
            found[version].add(name)
    return found


def _compile(library: str, symbols: set[str], out: Path) -> None:
    part = library.removeprefix("lib").partition(".")[0].upper()
    own = subprocess.run(
        ["gcc", "-E", "-P", f"-DPART_{part}", _SOURCE], capture_output=True, text=True, check=True
    ).stdout
    defined = set(re.findall(r"\b((?:__)?cu\w+)\(", own))
    stubs = "\n".join(f"long {name}(void) {{ return 0; }}" for name in sorted(symbols - defined))
    source, versions = out / f"{part}.c", out / f"{part}.map"
    source.write_text(f'#define PART_{part}\n#include "{_SOURCE}"\n{stubs}\n')
    versions.write_text(f"{library} {{ global: *; }};\n")
    options = ["-w", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{library}"]
    if _LINKED.fullmatch(library):
        options.append(f"-Wl,--version-script={versions}")
    subprocess.run(["gcc", *options, "-o", out / library, source], check=True)
    source.unlink()
    versions.unlink()
