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
    "deletion": "deletion(steps=7)", "insertion": "insertion(steps=7)",
    "max_sensitivity": "max_sensitivity(samples=1)", "infidelity": "infidelity(samples=2)",
}
of_truth = ("pointing_game", "energy_pointing_game", "iou", "best_iou")
metrics = [short.get(name, name) for name in METRICS.names() if name not in of_truth]
few = ["gradcam", "layercam", "scorecam(passes=3)", "ablationcam"]

def failed(model, methods, metrics=("adcc",)):
    found = adcc.evaluate(model, images, methods, metrics=metrics)
    return {name: one.failed for name, one in found.methods.items()}
"""
PLACEMENT = """
import sys, warnings
from contextlib import suppress
from adcc_onnx.cams.method_registry import get_method
from adcc_onnx.errors import AdccWarning, ModelError
from adcc_onnx.runtime.session_pool import Pass

warnings.simplefilter("ignore", AdccWarning)  # a fixed batch
def off_the_card(path):
    pool = adcc.load(path, device="cuda", batch_size=4).pool
    split = pool.split_session(0)
    names = ("gradcam", "gradcam++", "xgradcam", "layercam", "hirescam")
    formulas = tuple(get_method(name).graph_maps for name in names)
    maps = pool.cam_session(formulas, 0)
    sessions = {"prefix": split._prefix, "suffix": split._suffix, "maps": maps}
    for kind in set(Pass) - {Pass.SUFFIX}:
        with suppress(ModelError):  # without attention, or for networks without attention only
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

"""
HEALTHY = """
import gc, os, sys, warnings
import onnx, onnx_ir as ir
from click.testing import CliRunner
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import AdccError, OutOfMemoryError
from adcc_onnx.runtime.device_array import DeviceArray
from adcc_onnx.runtime.devices import choose_device
from adcc_onnx.runtime.session import Session
from adcc_onnx.runtime.session_pool import Pass

MIB = 2**20
found = {}
device = choose_device("cuda")

weight = onnx.numpy_helper.from_array(np.ones((2048, 2048), "f4"), "w")
text = '<ir_version: 8, opset_import: ["" : 18]> g (float[N, 2048] x) => (float[N, 2048] y)'
proto = onnx.parser.parse_model(text + " { a = MatMul (x, w) b = Relu (a) y = MatMul (b, w) }")
proto.graph.initializer.append(weight)
graph, kept, used = ir.from_proto(proto), [], []
for _ in range(4):
    kept.append(Session(graph, device, 512))
    kept[-1].run({"x": np.ones((512, 2048), "f4")})
    used.append(library.card_used() / MIB)
found["arena"] = used
kept.clear()

# The model has no attention, and no linear layer behind global average pooling, as CAM needs.
names = [
    short.get(c.name, c.name)
    for c in METHODS.classes() if c.family != "attention" and c.name != "cam"
]
models = {kind: adcc.load(toy(kind), device="cuda", batch_size=4) for kind in ("float", "float16")}
found["failed"] = {kind: failed(model, names, metrics) for kind, model in models.items()}
found["launches"] = library.card_launches()

model, used, sessions = models["float"], [], []
for _ in range(10):
    failed(model, few)
    adcc.explain(model, images, method="gradcam++")
    gc.collect()
    used.append(library.card_used())
    sessions.append(len(model.pool._sessions) + len(model.pool._cam_sessions))
found["used"], found["sessions"] = used[1:], sessions

found["doctor"] = CliRunner().invoke(main, ["doctor", "--json"]).output
found["cnn"] = off_the_card(sys.argv[1])

def error_of(work):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            work()
        except AdccError as error:
            return [type(error).__name__, str(error)]

big = np.zeros((64, 512, 512), np.float32)
session = model.pool.session(Pass.FORWARD)
library.card_limit(library.card_used() + 1)
found["full"] = {
    "copying": error_of(lambda: DeviceArray.put(big, device, 64)),
    "opening": error_of(lambda: Session(ir.from_proto(cnn()), device, 4).run({"image": images})),
    "running": error_of(lambda: session.run({"image": np.zeros((4, 3, 16, 16), "f4")}))
    or error_of(lambda: Session(graph, device, 4096).run({"x": np.zeros((4096, 2048), "f4")})),
}
library.card_limit(0)
ctypes.CDLL(None).setenv(b"CARD_BUSY", b"1", 1)
found["lost"] = error_of(lambda: adcc.evaluate(adcc.load(toy(), device="cuda"), images, few))
print(json.dumps(found))
"""


def answer(card: Path, program: str, *arguments: str, **faults: str) -> Any:
    """Run a program whose output is one line of JSON, and which prints nothing else."""
    done = run_on_card(card, program, *arguments, **faults)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    return json.loads(line)


@pytest.fixture(scope="module")
def found(card: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one long program finds on a card that works."""
    path = tmp_path_factory.mktemp("models") / "cnn.onnx"
    onnx.save(cnn(), path)
    program = EVALUATE + PLACEMENT + HEALTHY
    return answer(card, program, str(path), CARD_CAPABILITY="8.6")


def test_all_methods_run_in_both_precisions(found: Any) -> None:
    assert found["launches"] > 1000
    for failures in found["failed"].values():
        assert len(failures) > 20 and not any(failures.values())


def test_ten_evaluations_take_no_more_memory_and_sessions(found: Any) -> None:
    assert len(set(found["used"])) == 1
    assert len(set(found["sessions"])) == 1


def test_sessions_share_one_arena_and_one_copy_of_the_weights(found: Any) -> None:
    first, *others = found["arena"]
    assert 16 < first < 40  # the weight takes 16 MiB
    assert all(used == pytest.approx(first, abs=0.1) for used in others)


@pytest.mark.parametrize("place", ["copying", "opening", "running"])
def test_memory_that_is_too_small_is_one_line_wherever_it_ends(found: Any, place: str) -> None:
    kind, text = found["full"][place]
    assert kind == "OutOfMemoryError"
    assert text.startswith("the memory is too small to run the model; give --batch-size 1")


def test_a_card_that_is_lost_is_an_error_and_not_the_cpu(found: Any) -> None:
    _, text = found["lost"]
    assert "busy or unavailable" in text and "\n" not in text


def test_the_doctor_says_what_decides(found: Any) -> None:
    runtime = json.loads(found["doctor"])["onnxruntime"]
    details = runtime["details"]
    assert details["capabilities"] == ["8.6"]
    assert {"sm_75", "sm_80", "sm_90"} <= set(details["kernels"])
    assert details["libraries"] == {"libcudart.so.13": "13.0", "libcudnn.so.9": "9.14.0"}
    assert (
        runtime["driver"] == "13.1" and runtime["device"] == "running on CUDA 0 (a GPU was found)"
    )


def test_convolutions_with_unequal_pads_run_on_the_card(found: Any) -> None:
    assert found["cnn"] == []


def test_recorded_runs_keep_their_thread_and_are_never_disturbed(card: Path) -> None:
    program = """
counts = {}
for kind, runs in (("float", 1), ("float16", 2)):
    model = adcc.load(
        toy(kind), device="cuda", batch_size=4, cuda_graph=True, concurrent_runs=runs
    )
    made = [library.card_captures()]
    for _ in range(3):
        assert not any(failed(model, [*few, "eigencam"]).values())
        made.append(library.card_captures())
    counts[f"{kind} {runs}"] = made
broken, replays = library.card_broken_captures(), library.card_replays()
print(json.dumps({"captures": counts, "broken": broken, "replays": replays}))
"""
    found = answer(card, EVALUATE + program)
    assert found["broken"] == 0 and found["replays"] > 100
    for before, first, *later in found["captures"].values():
        assert first > before
        assert set(later) == {first}  # later evaluations replay the recordings of the first


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


PRINT_PLACEMENT = "print(json.dumps({path: off_the_card(path) for path in sys.argv[1:]}))"
NETWORKS = ["test_vit", "test_resnet"]
MORE_NETWORKS = [
    "cait_xxs24_224", "coatnet_pico_rw_224", "convnextv2_atto", "deit_tiny_distilled_patch16_224",
    "densenet121", "edgenext_xx_small", "efficientnet_b0", "efficientvit_b0", "fastvit_t8",
    "ghostnet_050", "hrnet_w18_small", "levit_128s", "mixer_s32_224", "mobilenetv3_small_050",
    "mobilevit_xxs", "regnetx_002", "res2next50", "resnest14d",
    "swin_tiny_patch4_window7_224", "test_mambaout", "test_vit_relpos", "vgg11",
    "xcit_nano_12_p16_224",
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
        # Below 224, this VGG needs an average pool that ONNX does not have.
        module, size = network.module, (224, 224) if name == "vgg11" else network.size
    dynamo = name.startswith("dynamo:")
    onnx.save(architectures.export(module, torch.randn(2, 3, *size), dynamo), path)
    return str(path)


def test_no_operator_runs_off_the_card(card: Path, tmp_path: Path, torchvision: ModuleType) -> None:
    pytest.importorskip("timm")
    paths = [exported(name, tmp_path) for name in NETWORKS]
    assert answer(card, PLACEMENT + PRINT_PLACEMENT, *paths) == {path: [] for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*MORE_NETWORKS, *(f"dynamo:{n}" for n in ("swin_t", "convnext_tiny", "vit_b_32"))]
)
def test_no_operator_of_more_networks_runs_off_the_card(
    card: Path, tmp_path: Path, torchvision: ModuleType, name: str
) -> None:
    pytest.importorskip("timm")
    path = exported(name, tmp_path)
    assert answer(card, PLACEMENT + PRINT_PLACEMENT, path) == {path: []}
