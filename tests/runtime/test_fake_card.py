"""The CUDA path on a card that computes nothing: everything but the values of kernels is real."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
from helpers.fake_card.model import cnn
from helpers.fake_card.programs import run_on_card

EVALUATE = """
from adcc_onnx.cams.method_registry import METHODS
from adcc_onnx.metrics.metric_registry import METRICS

short = {
    "rise": "rise(masks=20)", "scorecam": "scorecam(passes=3)", "sscam": "sscam(n=2)",
    "opticam": "opticam(steps=2)", "smoothgrad": "smoothgrad(n=2)",
    "groupcam": "groupcam(groups=2)", "smoothgradcam++": "smoothgradcam++(n=2)",
    "integratedgradients": "integratedgradients(steps=2)",
}

def evaluated(model, methods=None):
    names = [short.get(name, name) for name in METHODS.names()] if methods is None else methods
    found = adcc.evaluate(model, images, names, metrics=METRICS_USED)
    return {name: one.failed for name, one in found.methods.items()}

fast = {
    "deletion": "deletion(steps=7)", "insertion": "insertion(steps=7)",
    "max_sensitivity": "max_sensitivity(samples=1)", "infidelity": "infidelity(samples=2)",
}
of_truth = ("pointing_game", "energy_pointing_game", "iou", "best_iou")
METRICS_USED = [fast.get(name, name) for name in METRICS.names() if name not in of_truth]
"""


def answer(card: Path, program: str, *arguments: str, **faults: str) -> Any:
    """Run a program whose output is one line of JSON, and which prints nothing else."""
    done = run_on_card(card, program, *arguments, **faults)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def test_all_methods_run_in_both_precisions(card: Path) -> None:
    found = answer(
        card,
        EVALUATE
        + """
counts = {}
for kind in ("float", "float16"):
    model = adcc.load(toy(kind), device="cuda", batch_size=4)
    counts[kind] = evaluated(model)
print(json.dumps({"counts": counts, "launches": library.card_launches()}))
""",
    )
    assert found["launches"] > 1000
    for counts in found["counts"].values():
        assert len(counts) > 20 and not any(counts.values())


def test_recorded_runs_keep_their_thread_and_are_never_disturbed(card: Path) -> None:
    program = (
        EVALUATE
        + """
methods = ["gradcam", "layercam", "scorecam(passes=3)", "ablationcam", "eigencam"]
found = {}
for kind, runs in (("float", 1), ("float", 2), ("float16", 2)):
    model = adcc.load(
        toy(kind), device="cuda", batch_size=4, cuda_graph=True, concurrent_runs=runs
    )
    counts = [library.card_captures()]
    for _ in range(3):
        assert not any(evaluated(model, methods).values())
        counts.append(library.card_captures())
    found[f"{kind} {runs}"] = counts
print(json.dumps({
    "captures": found, "broken": library.card_broken_captures(), "replays": library.card_replays()
}))
"""
    )
    found = answer(card, program)
    assert found["broken"] == 0 and found["replays"] > 100
    for before, first, *later in found["captures"].values():
        assert first > before
        assert set(later) == {first}  # later evaluations replay the recordings of the first


def test_ten_evaluations_take_no_more_memory_and_sessions(card: Path) -> None:
    program = (
        EVALUATE
        + """
import gc
model = adcc.load(toy(), device="cuda", batch_size=4)
used, sessions = [], []
for _ in range(10):
    evaluated(model, ["gradcam", "layercam", "scorecam(passes=3)", "ablationcam"])
    adcc.explain(model, images, method="gradcam++")
    gc.collect()
    used.append(library.card_used())
    sessions.append(len(model.pool._sessions) + len(model.pool._cam_sessions))
print(json.dumps({"used": used[1:], "sessions": sessions}))
"""
    )
    found = answer(card, program)
    assert len(set(found["used"])) == 1
    assert len(set(found["sessions"])) == 1


def test_sessions_share_one_arena_and_one_copy_of_the_weights(card: Path) -> None:
    program = """
import onnx, onnx_ir as ir
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session

weight = onnx.numpy_helper.from_array(np.ones((2048, 2048), "f4"), "w")
text = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2048] x) => (float[N, 2048] y)'
proto = onnx.parser.parse_model(text + " { a = MatMul (x, w) b = Relu (a) y = MatMul (b, w) }")
proto.graph.initializer.append(weight)
model, device = ir.from_proto(proto), choose_device("cuda")
kept, used = [], []
for _ in range(4):
    kept.append(Session(model, device, 512))
    kept[-1].run({"x": np.ones((512, 2048), "f4")})
    used.append(library.card_used() / 2**20)
print(json.dumps(used))
"""
    first, *others = answer(card, program)
    assert 16 < first < 40  # the weight takes 16 MiB
    assert all(used == pytest.approx(first, abs=0.1) for used in others)


OUT_OF_MEMORY = (
    EVALUATE
    + """
import sys, warnings
from adcc_onnx.errors import OutOfMemoryError
from adcc_onnx.runtime.session_pool import Pass

images = np.zeros((16, 3, 16, 16), np.float32)
model = adcc.load(toy(), device="cuda", batch_size=16)
texts = []

def caught(work):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            result = work()
        except OutOfMemoryError as error:
            result = str(error)
    texts.extend(str(one.message) for one in found)
    return result
"""
)


def test_memory_that_is_too_small_is_one_line_wherever_it_ends(card: Path) -> None:
    program = (
        OUT_OF_MEMORY
        + """
from adcc_onnx.runtime.device_array import DeviceArray

library.card_limit(library.card_used() + 1)
big = np.zeros((64, 512, 512), np.float32)
found = {
    "copying": caught(lambda: DeviceArray.put(big, model.device, 64)),
    "opening": caught(lambda: adcc.load(toy(), device="cuda").pool.session(Pass.FORWARD)),
    "running": caught(lambda: model.pool.session(Pass.FORWARD)),
}
print(json.dumps(found))
"""
    )
    for text in answer(card, program).values():
        assert text.startswith("the memory is too small to run the model; give --batch-size 1")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"CARD_COUNT": "0"}, "no NVIDIA GPU found"),
        ({"CARD_BUSY": "1"}, "CUDA-capable device(s) is/are busy or unavailable"),
        (
            {"CARD_NO_KERNELS": "1", "CARD_CAPABILITY": "7.0"},
            "no kernels for the GPU's compute capability 7.0",
        ),
    ],
)
def test_a_card_that_cannot_run_is_not_chosen(card: Path, fault: dict[str, str], said: str) -> None:
    program = """
from adcc_onnx.errors import DeviceError
from adcc_onnx.runtime.devices import choose_device
try:
    named = choose_device("cuda").reason
except DeviceError as error:
    named = str(error)
print(json.dumps([choose_device("auto").reason, named]))
"""
    auto, named = answer(card, program, **fault)
    assert auto.startswith("running on the CPU (") and said in auto
    assert named.startswith("device 'cuda' is not available: ") and said in named


def test_a_card_that_is_lost_is_an_error_and_not_the_cpu(card: Path) -> None:
    program = """
import os
from adcc_onnx.errors import AdccError
model = adcc.load(toy(), device="cuda")
os.environ["CARD_BUSY"] = "1"
libc = ctypes.CDLL(None)
libc.setenv(b"CARD_BUSY", b"1", 1)
try:
    adcc.evaluate(model, images, ["gradcam"])
    text = "evaluated"
except AdccError as error:
    text = str(error)
print(json.dumps(text))
"""
    text = answer(card, program)
    assert "busy or unavailable" in text and "\n" not in text


def test_the_doctor_says_what_decides(card: Path) -> None:
    program = """
from click.testing import CliRunner
from adcc_onnx.cli.command_group import main
print(CliRunner().invoke(main, ["doctor", "--json"]).output.replace(chr(10), ""))
"""
    found = answer(card, program, CARD_CAPABILITY="8.6")["onnxruntime"]
    details = found["details"]
    assert details["capabilities"] == ["8.6"]
    assert details["kernels"] == ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_120"]
    assert details["libraries"] == {"libcudart.so.13": "13.0", "libcudnn.so.9": "9.14.0"}
    assert found["driver"] == "13.1" and found["device"] == "running on CUDA 0 (a GPU was found)"


PLACEMENT = """
import sys, warnings
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import AdccWarning
from adcc_onnx.runtime import opening
from adcc_onnx.runtime.session_pool import Pass

warnings.simplefilter("ignore", AdccWarning)  # a fixed batch
make_options = opening._options

def recording(*given):
    options = make_options(*given)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options

opening._options = recording
def off_the_card(path):
    pool = adcc.load(path, device="cuda", batch_size=4).pool
    split = pool.split_session(0)
    names = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")
    formulas = tuple(get_method(name).graph_maps for name in names)
    maps = pool.cam_session(formulas, 0)
    sessions = {"prefix": split._prefix, "suffix": split._suffix, "maps": maps}
    for kind in set(Pass) - {Pass.SUFFIX}:
        sessions[kind.name] = pool.session(kind)
    for kind in (Pass.FORWARD, Pass.ACTIVATIONS, Pass.GRADIENTS):
        sessions[f"masked {kind.name}"] = pool.session(kind, masked=True)
    return [
        f"{name}: {node.op_type} {node.name}"
        for name, session in sessions.items()
        for part in session._session.get_provider_graph_assignment_info()
        if part.ep_name != "CUDAExecutionProvider"
        for node in part.get_nodes()
    ]

print(json.dumps({path: off_the_card(path) for path in sys.argv[1:]}))
"""


def test_convolutions_with_unequal_pads_run_on_the_card(card: Path, tmp_path: Path) -> None:
    path = tmp_path / "cnn.onnx"
    onnx.save(cnn(), path)
    assert answer(card, PLACEMENT, str(path)) == {str(path): []}


NETWORKS = ["test_vit", "test_resnet", "test_vit_relpos", "test_mambaout"]
MORE_NETWORKS = [
    "cait_xxs24_224", "coatnet_pico_rw_224", "convnextv2_atto", "deit_tiny_distilled_patch16_224",
    "densenet121", "edgenext_xx_small", "efficientnet_b0", "efficientvit_b0", "fastvit_t8",
    "ghostnet_050", "hrnet_w18_small", "levit_128s", "mixer_s32_224", "mobilenetv3_small_050",
    "mobilevit_xxs", "regnetx_002", "res2next50", "resnest14d",
    "swin_tiny_patch4_window7_224", "vgg11", "xcit_nano_12_p16_224",
]  # fmt: skip


def exported(name: str, folder: Path) -> str:
    """Export a network of timm, or one of torchvision by the dynamo exporter."""
    import torch
    from helpers import all_architectures, architectures
    from helpers.library_networks import timm_network

    path = folder / f"{name.replace(':', '_')}.onnx"
    torch.manual_seed(0)
    if name.startswith("dynamo:"):
        module = all_architectures.torchvision_model(name.removeprefix("dynamo:")).eval()
        size = (64, 64)
    else:
        network = timm_network(name)
        module, size = network.module, network.size
    dynamo = name.startswith("dynamo:")
    onnx.save(architectures.export(module, torch.randn(2, 3, *size), dynamo), path)
    return str(path)


def test_no_operator_runs_off_the_card(card: Path, tmp_path: Path, torchvision: ModuleType) -> None:
    pytest.importorskip("timm")
    paths = [exported(name, tmp_path) for name in NETWORKS]
    assert answer(card, PLACEMENT, *paths) == {path: [] for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*MORE_NETWORKS, *(f"dynamo:{n}" for n in ("swin_t", "convnext_tiny", "vit_b_32"))]
)
def test_no_operator_of_more_networks_runs_off_the_card(
    card: Path, tmp_path: Path, torchvision: ModuleType, name: str
) -> None:
    pytest.importorskip("timm")
    path = exported(name, tmp_path)
    assert answer(card, PLACEMENT, path) == {path: []}
