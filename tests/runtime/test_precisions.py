"""Which precisions a machine can compute in, and the errors that name another one."""

from __future__ import annotations

import json
from collections.abc import Callable

import onnxruntime
import pytest

import adcc_onnx as adcc
from adcc_onnx.errors import DeviceError, OptionError
from adcc_onnx.report.diagnosis_report import diagnosis_to_text
from adcc_onnx.runtime import cuda, devices, precisions
from adcc_onnx.runtime.device_trial import Trial
from adcc_onnx.runtime.devices import CPU_PROVIDER, with_openvino_settings
from adcc_onnx.runtime.precisions import choose_device_for, in_bfloat16

OPENVINO = "OpenVINOExecutionProvider"
SERVER, LAPTOP, ARM = ["AVX2", "VNNI", "bf16"], ["AVX2"], ["NEON", "dot product"]
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    def make(instructions: list[str] | None, *providers: str) -> None:
        offered = [*providers, CPU_PROVIDER]
        monkeypatch.setattr(precisions, "instruction_sets", lambda: instructions)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: offered)
        monkeypatch.setattr(devices, "run_trial", lambda provider, providers: Trial())
        monkeypatch.setattr(cuda, "driver", lambda: cuda.Driver(None, (), 0))

    return make


@pytest.mark.parametrize(
    ("instructions", "providers", "available"),
    [
        (SERVER, (OPENVINO,), ["bf16", "int8"]),
        (SERVER, (), ["int8"]),
        (LAPTOP, (OPENVINO,), []),
        (ARM, (), ["int8"]),
        (None, (OPENVINO,), ["bf16", "int8"]),  # Windows does not tell
    ],
)
def test_the_precisions_of_a_machine(
    machine: Machine,
    instructions: list[str] | None,
    providers: tuple[str, ...],
    available: list[str],
) -> None:
    machine(instructions, *providers)
    found = adcc.cheaper_precisions()
    assert [one.name for one in found if one.available] == available
    costs = {one.name: one.relative_cost for one in found}
    assert 0 < costs["int8"] < 1 and costs["bf16"] == (0.4 if instructions is None else 1.0)


def test_auto_selects_the_device_of_the_precision(machine: Machine) -> None:
    machine(SERVER, OPENVINO)
    chosen = choose_device_for("bf16")
    assert chosen.name == "openvino:CPU"
    assert chosen.reason == "running on OpenVINO CPU (the default of --precision bf16)"
    chosen = choose_device_for("int8")
    assert chosen.name == "cpu" and [one.name for one in chosen.alternatives] == ["openvino:CPU"]
    assert choose_device_for("int8", "cpu").alternatives == ()
    assert choose_device_for("int8", "openvino").name == "openvino:CPU"
    assert choose_device_for("fp32").name == "cpu"


def test_openvino_is_told_to_compute_in_bfloat16(machine: Machine) -> None:
    machine(SERVER, OPENVINO)
    (_, options), _ = in_bfloat16(choose_device_for("bf16")).providers
    assert options["load_config"] == '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'


@pytest.mark.parametrize(
    ("instructions", "precision", "message"),
    [
        (SERVER, "bf16", "needs --device openvino.*pip install onnxruntime-openvino.*or use "
         "--precision int8 or fp32"),
        (LAPTOP, "bf16", "no bf16 .*instructions.*or use --precision fp32"),
        (LAPTOP, "int8", r"no 8-bit dot product \(VNNI\) instructions.*use --precision fp32"),
    ],
)  # fmt: skip
def test_a_precision_that_the_machine_lacks(
    machine: Machine, instructions: list[str], precision: str, message: str
) -> None:
    machine(instructions)
    with pytest.raises(DeviceError, match=f"--precision {precision} is not available.*{message}"):
        choose_device_for(precision)


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("bf16", "cpu", "needs --device openvino.*or use --precision int8 there"),
        ("bf16", "openvino:GPU", "which run on CPUs, not openvino:GPU.*use --precision fp16"),
        ("int8", "tpu", "no device 'tpu'"),
        ("int9", "auto", "no precision 'int9'; did you mean 'int8'"),
    ],
)
def test_a_precision_for_another_device(
    machine: Machine, precision: str, device: str, message: str
) -> None:
    machine(SERVER, OPENVINO)
    with pytest.raises(OptionError, match=message):
        choose_device_for(precision, device)


def test_doctor_lists_the_precisions(machine: Machine) -> None:
    machine(SERVER)
    text = " ".join(diagnosis_to_text(adcc.doctor()).split())
    assert "--precision int8 with --device cpu" in text
    assert "--precision bf16 no: it needs --device openvino" in text


def test_settings_of_openvino_are_joined(machine: Machine) -> None:
    machine(SERVER, OPENVINO)
    device = in_bfloat16(choose_device_for("bf16"))
    (_, options), *_ = with_openvino_settings(device, INFERENCE_NUM_THREADS=2).providers
    assert json.loads(options["load_config"]) == {
        "CPU": {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 2}
    }
