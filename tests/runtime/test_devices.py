"""Which device is chosen, and the reason that the user reads."""

from __future__ import annotations

import onnxruntime
import pytest

from adcc_onnx.errors import DeviceError, OptionError
from adcc_onnx.runtime import cuda, devices
from adcc_onnx.runtime.device_trial import Trial, run_trial
from adcc_onnx.runtime.devices import CPU_PROVIDER, choose_device

TENSORRT, OPENVINO = "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
CONVOLUTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}
CARD = cuda.Gpu("a card", 8 * 2**30)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine; every provider that is there can be opened unless `broken`."""

    def make(
        gpus: int = 0,
        providers: tuple[str, ...] = (cuda.PROVIDER,),
        missing: tuple[str, ...] = (),
        driver: tuple[int, int] = (13, 0),
        error: int = 0,
        broken: bool = False,
        crashing: bool = False,
        version: str = "1.31.1",
    ) -> None:
        offered = [*providers, CPU_PROVIDER]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
        monkeypatch.setattr(onnxruntime, "__version__", version)
        found = cuda.Driver(driver, (CARD,) * gpus, error)
        monkeypatch.setattr(cuda, "driver", lambda: found)
        names = ("libcudart.so.13", "libcudnn.so.9")
        monkeypatch.setattr(cuda, "libraries", lambda: {n: n not in missing for n in names})
        monkeypatch.setattr(cuda, "built_for", lambda: 13 if cuda.PROVIDER in providers else None)
        monkeypatch.setattr(cuda, "loads", lambda name: name not in missing)
        trial = Trial(error="CUDA failure 46: busy") if broken else Trial(crashed=crashing)
        monkeypatch.setattr(devices, "run_trial", lambda provider, providers: trial)

    return make


def test_a_working_gpu_is_chosen(machine) -> None:
    machine(2)
    assert choose_device("auto").name == "cuda:0"
    chosen = choose_device("cuda:1")
    assert (chosen.name, chosen.kind) == ("cuda:1", "cuda")
    options = {"device_id": "1", **CONVOLUTIONS, "use_tf32": "1"}
    assert chosen.providers == [(cuda.PROVIDER, options), CPU_PROVIDER]
    assert chosen.reason == "running on CUDA 1 (requested)" and chosen.tf32


def test_full_float32_disables_tf32(machine) -> None:
    machine(1)
    for requested in ("auto", "cuda"):
        chosen = choose_device(requested, tf32=False)
        options = {"device_id": "0", **CONVOLUTIONS, "use_tf32": "0"}
        assert chosen.providers[0] == (cuda.PROVIDER, options)
        assert not chosen.tf32
    assert not choose_device("cpu").tf32


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"gpus": 0}, "no NVIDIA GPU found"),
        ({"gpus": 1, "providers": ()}, "&& pip install onnxruntime-gpu"),
        ({"gpus": 1, "version": "1.30.0"}, "AveragePool wrongly on CUDA; pip install --upgrade"),
        ({"gpus": 1, "missing": ("libcudnn.so.9",)}, "libcudnn.so.9 not found; pip install"),
        ({"gpus": 1, "driver": (12, 4)}, "the driver supports CUDA 12.4, onnxruntime needs 13"),
        ({"gpus": 1, "error": 803}, "CUDA error 803"),
        ({"gpus": 1, "broken": True}, "onnxruntime cannot use it (CUDA failure 46: busy)"),
    ],
)
def test_auto_chooses_the_cpu_with_a_reason_without_a_gpu(
    machine, state: dict, reason: str
) -> None:
    machine(**state)
    chosen = choose_device("auto")
    assert (chosen.name, chosen.providers) == ("cpu", [CPU_PROVIDER])
    assert reason in chosen.reason and "\n" not in chosen.reason
    with pytest.raises(DeviceError, match="'cuda' is not available") as caught:
        choose_device("cuda")
    assert reason in str(caught.value)


def test_tensorrt_falls_back_on_cuda_operator_by_operator(machine) -> None:
    machine(2, (TENSORRT, cuda.PROVIDER))
    assert choose_device("auto").name == "cuda:0"  # engines take minutes to build: only by name
    assert choose_device("tensorrt:1").providers == [
        (TENSORRT, {"device_id": "1"}),
        (cuda.PROVIDER, {"device_id": "1", **CONVOLUTIONS, "use_tf32": "1"}),
        CPU_PROVIDER,
    ]
    machine(1, (TENSORRT, cuda.PROVIDER), missing=("libnvinfer.so.10", "nvinfer_10.dll"))
    with pytest.raises(DeviceError, match="pip install 'tensorrt-cu13<11'"):
        choose_device("tensorrt")


def test_openvino_names_its_device(machine) -> None:
    machine(providers=(OPENVINO,))
    assert choose_device("auto").name == "cpu"
    for requested, which in {
        "openvino": "CPU",
        "openvino:GPU": "GPU",
        "openvino:GPU.1": "GPU.1",
    }.items():
        chosen = choose_device(requested)
        assert chosen.name == f"openvino:{which}"
        assert chosen.providers[0] == (OPENVINO, {"device_type": which, "precision": "ACCURACY"})
    machine()
    with pytest.raises(DeviceError, match="&& pip install onnxruntime-openvino"):
        choose_device("openvino")


def test_an_onnxruntime_for_other_hardware_needs_no_replacement_without_a_gpu(machine) -> None:
    machine(providers=(OPENVINO,))
    assert choose_device("auto").reason == "running on the CPU (no NVIDIA GPU found)"


@pytest.mark.parametrize(("requested", "system"), [("directml", "Windows"), ("coreml", "macOS")])
def test_a_device_of_another_operating_system(
    machine, monkeypatch: pytest.MonkeyPatch, requested: str, system: str
) -> None:
    machine()
    monkeypatch.setattr(devices.sys, "platform", "linux")
    with pytest.raises(DeviceError, match=f"exists on {system} only"):
        choose_device(requested)


def test_a_missing_gpu_is_an_error(machine) -> None:
    machine(2)
    with pytest.raises(DeviceError, match="numbered 0 to 1"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    "requested", ["tpu", "cuda:x", "cuda:-1", "cpu:0", "auto:1", "openvino:0", "coreml:1", ""]
)
def test_an_unknown_device_is_an_error(machine, requested: str) -> None:
    machine(1)
    with pytest.raises(OptionError, match=f"no device '{requested}'"):
        choose_device(requested)


def test_the_cpu_is_chosen_by_name(machine) -> None:
    machine(1)
    assert choose_device("cpu").providers == [CPU_PROVIDER]


def test_a_device_whose_trial_crashes_is_used_only_if_it_is_named(machine) -> None:
    machine(1, crashing=True)
    assert "on the GPU, a trial convolution crashed" in choose_device("auto").reason
    named = choose_device("cuda")
    assert (named.name, named.reason) == (
        "cuda:0",
        "running on CUDA 0 (requested; a trial convolution crashed)",
    )


def test_the_trial_detects_a_provider_that_fails_or_is_dropped() -> None:
    """Here for real: the CPU's provider, and CUDA's provider where there is no card."""
    assert run_trial(CPU_PROVIDER, [CPU_PROVIDER]).passed
    if cuda.trouble() is None:
        pytest.skip("CUDA works here")
    failed = run_trial(cuda.PROVIDER, [(cuda.PROVIDER, {"device_id": "0"}), CPU_PROVIDER])
    assert failed.error and not failed.passed
