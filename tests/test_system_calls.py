"""Nothing is sent, and nothing is written outside the named outputs, by the kernel's account."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
from helpers.system_calls import HAS_STRACE, SystemCalls, watch

import adcc_onnx
from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path

needs_strace = pytest.mark.skipif(not HAS_STRACE, reason="strace is not installed")
PACKAGE = Path(adcc_onnx.__file__).parent
MODEL = str(classifier_path())
GRADCAM = ("--method", "gradcam", "--device", "cpu")
RESUMED = ("evaluate", MODEL, "--images", "drawings:2", *GRADCAM)
SQLITE = ("", "-journal", "-wal", "-shm", "-lock")
# Each command with the names of the files or folders that it may write; a name may be followed by a
# variant in parentheses.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "inspect": (("inspect", MODEL), ()),
    "check": (("check", MODEL, "--images", "drawings:12", "--device", "cpu"), ()),
    "evaluate": (
        ("evaluate", MODEL, "--images", "drawings:3", *GRADCAM, "-o", "new.sqlite"),
        tuple(f"new.sqlite{end}" for end in SQLITE),
    ),
    "evaluate (resumed)": (
        (*RESUMED, "--metric", "adcc", "-o", "run.sqlite", "--resume"),
        tuple(f"run.sqlite{end}" for end in SQLITE),
    ),
    "evaluate (autotuned, not kept)": (
        ("evaluate", MODEL, "--images", "drawings:3", *GRADCAM, "--batch-size", "auto"),
        (),
    ),
    "evaluate (maps)": (
        ("evaluate", MODEL, "--images", "drawings:1", "--device", "cpu", "--maps", "given"),
        (),
    ),
    "explain": (
        ("explain", MODEL, "drawings:1", "--device", "cpu", "-o", "maps"),
        ("maps",),
    ),
    "expose": (("expose", MODEL, "-o", "exposed.onnx"), ("exposed.onnx",)),
    "bake": (("bake", MODEL, "--method", "gradcam", "-o", "baked.onnx"), ("baked.onnx",)),
    "report": (("report", "run.sqlite"), ()),
    "report (HTML)": (
        ("report", "run.sqlite", "--format", "html", "-o", "report.html"),
        ("report.html",),
    ),
    "report (comparison)": (("report", "run.sqlite", "--compare"), ()),
    "report (failures)": (("report", "run.sqlite", "--failures"), ()),
    "report (images)": (("report", "run.sqlite", "--per-image", "--format", "csv"), ()),
    "report (gate)": (
        ("report", "run.sqlite", "--require", "gradcam.adcc >= 0", "--junit", "gate.xml"),
        ("gate.xml",),
    ),
    "export-run": (
        ("export-run", "run.sqlite", "--to", "model-card", "-o", "card.md"),
        ("card.md",),
    ),
    "export-run (FiftyOne)": (
        ("export-run", "run.sqlite", "--to", "fiftyone", "-o", "dataset"),
        ("dataset",),
    ),
    "merge": (
        ("merge", "run.sqlite", "other.sqlite", "-o", "merged.sqlite"),
        tuple(f"merged.sqlite{end}" for end in SQLITE),
    ),
    "methods": (("methods",), ()),
    "metrics": (("metrics",), ()),
    "doctor": (("doctor",), ()),
    # The recipes of torchvision may not be installed; a wrong name is found without them.
    "export": (("export", "caffe:resnet50"), ()),
    "demo": (("demo", "-o", "pictures"), ("pictures",)),
    "benchmark": (
        ("benchmark", MODEL, "--images", "drawings:4", "--rounds", "1", "--device", "cpu"),
        (),
    ),
    "validate-metrics": (
        ("validate-metrics", "--images", "drawings:4", "--method", "gradcam", "--device", "cpu"),
        (),
    ),
    "randomize": (
        ("randomize", MODEL, "--images", "drawings:2", "--method", "gradcam", "--device", "cpu"),
        (),
    ),
    "compare-models": (
        ("compare-models", MODEL, MODEL, "--images", "drawings:2", *GRADCAM, "-o", "parity.txt"),
        ("parity.txt",),
    ),
    "reproduce": (("reproduce", "--list"), ()),
}
SLOW = ("demo", "validate-metrics", "evaluate (autotuned, not kept)")
REFUSED = ("export",)
# These run in a process of their own, all other commands one after another in one process: under
# strace, a start takes longer than most commands.
ALONE = ("evaluate", "export", *SLOW)
SEVERAL = """
import json, sys
from adcc_onnx.cli import main
for words in json.loads(sys.argv[1]):
    print(*words, flush=True)
    try:
        main(words, prog_name="adcc-onnx")
    except SystemExit as end:
        if end.code:
            raise
"""
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax")
PYTHON = f"""
import adcc_onnx as adcc
model = adcc.load({MODEL!r}, device="cpu")
assert adcc.explain(model, "drawings:1").maps.shape == (1, 112, 112)
assert adcc.evaluate(model, "drawings:2", ["gradcam"], ["adcc"]).images == 2
adcc.inspect({MODEL!r})
adcc.expose({MODEL!r})
adcc.bake({MODEL!r}, "gradcam")
adcc.doctor()
import sys
assert not set({FRAMEWORKS!r}) & sys.modules.keys()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty working directory beside an empty home directory."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work" / "given").mkdir(parents=True)
    np.save(tmp_path / "work" / "given" / "2026-0.npy", np.eye(112, dtype=np.float32))
    return tmp_path / "work"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs on different images."""
    from adcc_onnx.api.evaluating import evaluate

    path = tmp_path_factory.mktemp("runs")
    for name, images in (("run", "drawings:2"), ("other", "drawings:2@7")):
        out = path / f"{name}.sqlite"
        evaluate(classifier_path(), images, ["gradcam"], ["adcc"], out=out, device="cpu")
    return path


def environment(folder: Path) -> dict[str, str]:
    """The environment of a user whose home directory is empty, and who set no switch."""
    dropped = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    own = {"HOME": str(folder.with_name("home")), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **own, "PYTHONPATH": str(PACKAGE.parent)}


def outside(calls: SystemCalls, folder: Path, named: tuple[str, ...]) -> set[Path]:
    """What was written that is neither a named output nor documented in SECURITY.md."""
    outputs = {folder / name for name in named}
    cache = folder.with_name("home") / ".cache"
    allowed = (*outputs, cache / "adcc-onnx", PACKAGE / "kernels" / "__pycache__")
    return {
        path
        for path in calls.written - {cache, Path(os.devnull), Path("/dev/tty")}
        if not any(path.is_relative_to(one) for one in allowed)
        and not _is_temporary(
            path.relative_to(folder) if path.is_relative_to(folder) else path, named
        )
    }


def _is_temporary(path: Path, named: tuple[str, ...]) -> bool:
    """Whether a path lies in the temporary folder in which a new model is checked."""
    return any(path.parts[0].startswith(f".{name}.") for name in named)


@pytest.fixture
def with_runs(folder: Path, runs: Path) -> Path:
    """The working directory with the two runs."""
    for run in runs.iterdir():
        (folder / run.name).write_bytes(run.read_bytes())
    return folder


@needs_strace
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in ALONE],
)
def test_a_command_sends_nothing_and_writes_only_its_outputs(name: str, with_runs: Path) -> None:
    folder, (words, named) = with_runs, COMMANDS[name]
    calls = watch([sys.executable, "-m", "adcc_onnx", *words], folder, environment(folder))
    assert calls.status == (1 if name in REFUSED else 0), calls.output
    assert calls.sockets <= {"AF_UNIX"}, calls
    assert not outside(calls, folder, named)


@needs_strace
def test_the_other_commands_send_nothing_and_write_only_their_outputs(with_runs: Path) -> None:
    folder, others = with_runs, [COMMANDS[name] for name in COMMANDS if name not in ALONE]
    words = json.dumps([words for words, _ in others])
    calls = watch([sys.executable, "-c", SEVERAL, words], folder, environment(folder))
    assert calls.status == 0, calls.output
    assert calls.sockets <= {"AF_UNIX"}, calls
    assert not outside(calls, folder, tuple(name for _, named in others for name in named))


def test_the_watched_commands_are_all_commands() -> None:
    watched = {name.partition(" ")[0] for name in COMMANDS}
    assert watched == set(main.list_commands(click.Context(main)))


@needs_strace
@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
def test_an_export_without_published_weights_sends_nothing(folder: Path) -> None:
    words = ("export", "torchvision:squeezenet1_1", "--weights", "none", "-o", "net.onnx")
    calls = watch([sys.executable, "-m", "adcc_onnx", *words], folder, environment(folder))
    assert calls.status == 0, calls.output
    assert not calls.addresses
    assert {path.name for path in folder.iterdir()} == {
        "given",
        "net.onnx",
        "net.toml",
        "net.labels.txt",
    }


@needs_strace
def test_the_python_api_sends_and_writes_nothing(folder: Path) -> None:
    calls = watch([sys.executable, "-c", PYTHON], folder, environment(folder))
    assert calls.status == 0, calls.output
    assert calls.sockets <= {"AF_UNIX"}, calls
    assert not outside(calls, folder, ())
    assert [path.name for path in folder.iterdir()] == ["given"]


@needs_strace
def test_the_watch_notices_a_socket_and_a_file(folder: Path) -> None:
    program = (
        "import socket; open('written.txt', 'w').close(); "
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))"
    )
    calls = watch([sys.executable, "-c", program], folder, environment(folder))
    assert "AF_INET" in calls.sockets and calls.addresses == {"127.0.0.1"}
    assert outside(calls, folder, ()) == {folder / "written.txt"}


@needs_strace
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
@pytest.mark.ci
@pytest.mark.slow
def test_the_workers_of_a_cluster_send_no_telemetry(folder: Path) -> None:
    words = COMMANDS["evaluate"][0]
    secret = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    calls = watch(
        [sys.executable, "-m", "adcc_onnx", *words, "--cluster", "local:2"],
        folder,
        {**environment(folder), **secret},
    )
    assert calls.status == 0, calls.output
    local = {address for address in calls.addresses if "127.0.0.1" in address}
    assert local and calls.addresses == local
    assert not list(folder.with_name("home").rglob("*onnxruntime*"))


def run_python(program: str, folder: Path, **variables: str) -> str:
    """Run a program that must succeed; returns all that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**environment(folder), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_the_switch_is_set_for_subprocesses_and_the_users_own_value_stays(folder: Path) -> None:
    program = "import adcc_onnx, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run_python(program, folder) == "1\n"
    assert run_python(program, folder, ORT_DISABLE_TELEMETRY="0") == "0\n"


def test_a_warning_says_when_onnxruntime_was_imported_earlier(folder: Path) -> None:
    program = "import onnxruntime, adcc_onnx"
    said = run_python(program, folder)
    assert "AdccWarning: onnxruntime was imported before adcc_onnx" in said
    assert "ORT_DISABLE_TELEMETRY=1" in said
    assert run_python(program, folder, ORT_DISABLE_TELEMETRY="1") == ""


def test_the_import_stays_lazy(folder: Path) -> None:
    program = "import sys, adcc_onnx; print({'onnx', 'numpy', 'onnxruntime'} & set(sys.modules))"
    assert run_python(program, folder) == "set()\n"
