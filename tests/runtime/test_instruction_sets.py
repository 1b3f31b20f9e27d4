"""The CPU's instruction sets, from texts that real machines print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from adcc_onnx.report.diagnosis_report import instruction_sets_text
from adcc_onnx.runtime import instruction_sets as module

# Excerpts of /proc/cpuinfo, and of `sysctl hw.optional machdep.cpu` on macOS.
SAPPHIRE_RAPIDS = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 avx fma avx2 avx512f avx512_vnni avx512_bf16 avx_vnni amx_bf16 amx_tile amx_int8
bugs\t\t: spectre_v1
"""
HASWELL = "model name\t: Intel Core i5-4590\nflags\t\t: fpu sse2 avx fma avx2\n"
GRAVITON_3 = "BogoMIPS\t: 2100.00\nFeatures\t: fp asimd asimddp sve i8mm bf16\n"
RASPBERRY_PI_4 = "Features\t: fp asimd evtstrm crc32 cpuid\n"
POWER_9 = "cpu\t\t: POWER9\nclock\t\t: 3800.000000MHz\n"
M2 = """hw.optional.floatingpoint: 1
hw.optional.neon: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_SME: 0
machdep.cpu.brand_string: Apple M2
"""
INTEL_MAC = """hw.optional.avx2_0: 1
machdep.cpu.features: FPU SSE2 FMA AVX1.0
machdep.cpu.leaf7_features: BMI1 AVX2 AVX512F AVX512VNNI
"""


@pytest.mark.parametrize(
    ("system", "text", "expected"),
    [
        ("linux", SAPPHIRE_RAPIDS, ["AVX2", "AVX-512", "VNNI", "bf16", "AMX"]),
        ("linux", HASWELL, ["AVX2"]),
        ("linux", GRAVITON_3, ["bf16", "NEON", "dot product", "i8mm", "SVE"]),
        ("linux", RASPBERRY_PI_4, ["NEON"]),
        ("linux", "flags\t\t: fpu sse2\n", []),
        ("linux", POWER_9, None),
        ("darwin", M2, ["bf16", "NEON", "dot product", "i8mm"]),
        ("darwin", INTEL_MAC, ["AVX2", "AVX-512", "VNNI"]),
        ("darwin", "", None),
    ],
)
def test_the_known_sets_are_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    system: str,
    text: str,
    expected: list[str] | None,
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=text))
    monkeypatch.setattr(sys, "platform", system)
    assert module.instruction_sets() == expected


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(sys, "platform", "win32")
    assert module.instruction_sets() is None
    assert instruction_sets_text(None) == "unknown"
    assert instruction_sets_text([]) == "none of those known"
