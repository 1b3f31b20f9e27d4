"""Which device is chosen, and that it is said why; nothing is asked for that is not there."""

from __future__ import annotations

import pytest

from adcc_onnx.errors import DeviceError, OptionError
from adcc_onnx.runtime import devices
from adcc_onnx.runtime.devices import CPU_PROVIDER, CUDA_PROVIDER, choose_device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def make(gpus: int, provider: bool = True, missing: tuple[str, ...] = ()) -> None:
        offered = [CPU_PROVIDER, *([CUDA_PROVIDER] if provider else [])]
        monkeypatch.setattr(devices.onnxruntime, "get_available_providers", lambda: offered)
        monkeypatch.setattr(devices, "cuda_devices", lambda: gpus)
        monkeypatch.setattr(devices, "_cuda_libraries", lambda: ["libone.so", "libtwo.so"])
        monkeypatch.setattr(devices, "_loads", lambda name: name not in missing)
        devices.cuda_trouble.cache_clear()

    yield make
    devices.cuda_trouble.cache_clear()


def test_a_gpu_that_works_is_taken(machine) -> None:
    machine(2)
    assert choose_device("auto").name == "cuda:0"
    chosen = choose_device("cuda:1")
    assert chosen.name == "cuda:1"
    assert chosen.providers == [(CUDA_PROVIDER, {"device_id": "1"}), CPU_PROVIDER]


@pytest.mark.parametrize(
    ("gpus", "provider", "missing", "reason"),
    [
        (0, True, (), "no NVIDIA GPU found"),
        (1, False, (), "built without CUDA"),
        (1, True, ("libtwo.so",), "libtwo.so not found; pip install 'adcc-onnx[cuda]'"),
    ],
)
def test_without_one_auto_takes_the_cpu_and_says_why(
    machine, gpus: int, provider: bool, missing: tuple[str, ...], reason: str
) -> None:
    machine(gpus, provider, missing)
    chosen = choose_device("auto")
    assert (chosen.name, chosen.providers) == ("cpu", [CPU_PROVIDER])
    assert reason in chosen.reason and "\n" not in chosen.reason
    with pytest.raises(DeviceError, match="'cuda' is not available"):
        choose_device("cuda")


def test_what_is_not_there_is_an_error(machine) -> None:
    machine(1)
    with pytest.raises(DeviceError, match="there are 1 NVIDIA GPUs"):
        choose_device("cuda:3")
    with pytest.raises(OptionError, match="no device 'tpu'"):
        choose_device("tpu")


def test_the_cpu_is_the_cpu(machine) -> None:
    machine(1)
    assert choose_device("cpu").providers == [CPU_PROVIDER]
