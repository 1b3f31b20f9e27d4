"""The vector instructions of the CPU that onnxruntime's kernels use where they exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What makes an instruction set: its names in /proc/cpuinfo and in macOS' sysctl, in lower case.
_SETS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx512vnni", "avx_vnni"),
    "bf16": ("avx512_bf16", "bf16", "feat_bf16"),
    "AMX": ("amx_tile",),
    "NEON": ("asimd", "neon", "advsimd"),
    "dot product": ("asimddp", "feat_dotprod"),
    "i8mm": ("i8mm", "feat_i8mm"),
    "SVE": ("sve",),
    "SME": ("sme", "feat_sme"),
}
_CPUINFO = Path("/proc/cpuinfo")
_SYSCTL = ["/usr/sbin/sysctl", "hw.optional", "machdep.cpu"]


def instruction_sets() -> list[str] | None:
    """Return the CPU's vector instruction sets, such as ["AVX2", "AVX-512", "VNNI"].

    Returns:
        The known sets; None if the operating system does not tell.
    """
    try:
        if sys.platform == "darwin":
            done = subprocess.run(_SYSCTL, capture_output=True, text=True, check=False, timeout=10)
            return _known(_mac_features(done.stdout))
        return _known(_linux_features(_CPUINFO.read_text("utf-8", errors="replace")))
    except (OSError, subprocess.SubprocessError):
        return None


def _linux_features(cpuinfo: str) -> set[str]:
    """Return the features of the first core in the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.lower().split())
    return set()


def _mac_features(sysctl: str) -> set[str]:
    """Return the features in the output of sysctl: lists, and switches of value 1."""
    found: set[str] = set()
    for line in sysctl.lower().splitlines():
        key, _, value = line.partition(":")
        if key.endswith("features"):
            found.update(value.split())
        elif value.strip() == "1":
            found.add(key.rpartition(".")[2])
    return found


def _known(features: set[str]) -> list[str] | None:
    if not features:
        return None
    return [name for name, signs in _SETS.items() if not features.isdisjoint(signs)]
