"""The doctor: this machine is healthy, and every known problem is found and has a fix."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from click.testing import CliRunner
from helpers.fake_packages import fake_package

from adcc_onnx.cli.command_group import main
from adcc_onnx.runtime import cuda, cuda_diagnosis, devices, onnxruntime_packages
from adcc_onnx.runtime.device_trial import Trial
from adcc_onnx.runtime.instruction_sets import instruction_sets

CARD = cuda.Gpu("NVIDIA H100", 80 * 2**30)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Pretend that exactly these packages of onnxruntime and OpenCV are installed."""

    def install(*names: str) -> None:
        for name in names:
            fake_package(tmp_path, name, "1.31.1")

    monkeypatch.setattr(onnxruntime, "__version__", "1.31.1")
    monkeypatch.setattr(onnxruntime_packages, "_folders", lambda: [tmp_path])
    return install


def _gpu(monkeypatch: pytest.MonkeyPatch, *missing: str, serves: int = 13) -> None:
    offered = [cuda.PROVIDER, devices.CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
    monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver((serves, 1), (CARD,)))
    monkeypatch.setattr(cuda, "built_for", lambda: 13)
    monkeypatch.setattr(cuda, "runtime_library", lambda: None)
    monkeypatch.setattr(cuda_diagnosis, "_library_version", lambda name: None)
    names = ("libcudart.so.13", "libcudnn.so.9")
    monkeypatch.setattr(cuda, "libraries", lambda: {n: n not in missing for n in names})


def test_this_machine_is_examined() -> None:
    status, text = _run()
    _, found = _run("--json")
    health = json.loads(found)
    assert status == (0 if health["healthy"] else 1)
    assert health["onnxruntime"]["version"] == onnxruntime.__version__
    assert health["onnxruntime"]["providers"] == onnxruntime.get_available_providers()
    assert health["onnxruntime"]["device"] == devices.choose_device("auto").reason
    assert health["instruction_sets"] == instruction_sets()
    for line in (
        "python  ",
        "instruction sets  ",
        "numpy  ",
        "providers  ",
        "--device auto  ",
        "kernels  ",
    ):
        assert any(row.startswith(line) for row in text.splitlines()), line


def test_a_machine_without_a_gpu_is_healthy(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver())
    installed("onnxruntime-gpu", "opencv-python")
    assert _run()[0] == 0


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("onnxruntime", "onnxruntime-gpu"), "&& pip install onnxruntime-gpu"),
        (("onnxruntime_openvino", "onnxruntime"), "&& pip install onnxruntime-openvino"),
        (
            ("opencv-python", "opencv-python-headless"),
            "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python",
        ),
    ],
)
def test_packages_that_overwrite_each_other(
    monkeypatch: pytest.MonkeyPatch, installed, names: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver())
    installed(*names)
    status, text = _run()
    assert status == 1
    assert "2 packages of" in text and said in text


def test_plugins_of_onnxruntime_do_not_conflict(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver())
    installed("onnxruntime-gpu", "onnxruntime-extensions", "onnxruntime-ep-nv-tensorrt-rtx")
    assert _run()[0] == 0


def test_a_gpu_without_its_libraries(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    installed("onnxruntime-gpu")
    _gpu(monkeypatch, "libcudnn.so.9")
    status, text = _run()
    assert status == 1
    assert "GPU 0" in text and "NVIDIA H100, 80 GiB, compute capability unknown" in text
    assert "libcudart.so.13     found" in text
    assert "problem: the GPU cannot be used: libcudnn.so.9 not found" in text
    assert "fix: pip install 'adcc-onnx[cuda]'" in text


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    installed("onnxruntime-gpu")
    _gpu(monkeypatch, serves=12)
    status, text = _run()
    assert status == 1 and "fix: update the driver" in text


def test_a_gpu_that_onnxruntime_does_not_open(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    installed("onnxruntime-gpu")
    _gpu(monkeypatch)
    monkeypatch.setattr(devices, "run_trial", lambda *given: Trial(error="CUDA failure 46: busy"))
    status, text = _run()
    assert status == 1 and "onnxruntime cannot use it (CUDA failure 46: busy)" in text
    assert "fix: end the processes that hold it, or reinstall onnxruntime" in text


def test_an_onnxruntime_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, installed) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    installed("onnxruntime-gpu")
    status, text = _run()
    assert status == 1
    assert "fix: pip install --force-reinstall --no-deps onnxruntime-gpu" in text


def test_kernels_that_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(maps: object) -> None:
        raise RuntimeError("LLVM is\nbroken")

    monkeypatch.setattr("adcc_onnx.kernels.min_max_normalize.min_max_normalize", broken)
    status, text = _run()
    assert status == 1 and "do not compile: LLVM is\n" in text
