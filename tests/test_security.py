"""What SECURITY.md promises of untrusted files, as far as no other test shows it."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import ExternalDataError, ModelError, OptionError

PACKAGE = Path(adcc.__file__).parent
IMAGES = np.ones((1, 3, 8, 8), np.float32)
CUSTOM = """features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
    scales = Constant <value = float[2, 2] {2.0, 0.0, 0.0, 4.0}> ()
    inverse = ai.onnx.contrib.Inverse (scales) size = ReduceMax <keepdims = 0> (inverse)
    active = Mul (features, size) pooled = GlobalAveragePool (active)
    flat = Flatten (pooled) scores = Gemm <transB = 1> (flat, weights)"""

# In a child: everything that is opened for writing, run, connected to or unpickled.
WATCH = """
import json, os, sys
from pathlib import Path
import adcc_onnx
from adcc_onnx.errors import AdccError
from adcc_onnx.graph.programs.inspection import inspect
from adcc_onnx.images.sources.open_images import open_source
import PIL.Image
PIL.Image.init()
seen = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NAMED = ("os.", "shutil.", "subprocess.", "socket.", "pickle.", "tempfile.", "ctypes.dlopen")
HARMLESS = ("os.listdir", "os.scandir", "os.fwalk", "os.walk")
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        seen.append([event, str(arguments[0])])
    elif event.startswith(NAMED) and not event.startswith(HARMLESS):
        seen.append([event, str(arguments)[:200]])
sys.dont_write_bytecode = True
sys.addaudithook(watch)
results = []
for name in sys.argv[1:]:
    try:
        if name.endswith(".onnx"):
            results.append(inspect(name)["nodes"])
        else:
            for record in open_source(name):
                try:
                    results.append(list(record.load().shape))
                except AdccError as error:
                    results.append(str(error))
    except AdccError as error:
        results.append(str(error))
open(os.devnull, "w").close()  # the watch is awake
print(json.dumps({"seen": seen, "results": results}))
"""


def _png() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _hostile_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        for name in ("good.png", "../up.png", "/tmp/absolute.png", "deep/../../out.png"):
            member = tarfile.TarInfo(name)
            member.size = len(_png())
            archive.addfile(member, io.BytesIO(_png()))
        for name, kind in (("link.png", tarfile.SYMTYPE), ("hard.png", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)


def test_reading_writes_nothing_runs_nothing_and_calls_nobody(tmp_path: Path) -> None:
    """Python's audit hooks see nothing: a folder, a list, a hostile tar, a pickle, a model."""
    _hostile_tar(tmp_path / "images.tar")
    objects = np.empty(1, object)
    objects[0] = {"a": 1}
    np.savez(tmp_path / "pickled.npz", x=objects)
    (tmp_path / "model.onnx").write_bytes(small("softmax").SerializeToString())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "image.png").write_bytes(_png())
    (tmp_path / "list.csv").write_text("path,label\nfolder/image.png,1\n")
    before = sorted(tmp_path.rglob("*"))
    names = ("folder", "list.csv", "images.tar", "pickled.npz", "model.onnx")
    files = [str(tmp_path / name) for name in names]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    ended = subprocess.run(
        [sys.executable, "-c", WATCH, *files],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=tmp_path,
    )
    found = json.loads(ended.stdout)
    assert found["seen"] == [["open", os.devnull]]
    assert sorted(tmp_path.rglob("*")) == before
    pictures = [result for result in found["results"] if result == [8, 8, 3]]
    refusals = [result for result in found["results"] if isinstance(result, str)]
    assert len(pictures) == 3 and len(refusals) == 6 and isinstance(found["results"][-1], int)


def test_no_code_of_ours_unpickles_or_evaluates() -> None:
    forbidden = {"eval", "exec", "__import__", "compile"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
                assert not names & {"pickle", "marshal", "shelve", "dill", "joblib"}, path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert called not in forbidden, f"{path}:{node.lineno}"
                if called in ("np.load", "np.lib.format.read_array"):
                    assert given.get("allow_pickle") == "False", f"{path}:{node.lineno}"
                if called.endswith("torch.load"):
                    assert given.get("weights_only") == "True", f"{path}:{node.lineno}"
                assert given.get("shell") != "True", f"{path}:{node.lineno}"


def test_a_model_in_memory_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no folder; the working directory is not one."""
    model = small()
    kernel = model.graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(kernel.raw_data)
    kernel.ClearField("raw_data")
    kernel.data_location = onnx.TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="weights.bin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExternalDataError, match=r"'weights\.bin'"):
        adcc.expose(model)


def _custom_model(path: Path) -> Path:
    model = small(CUSTOM)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.contrib", 1))
    del model.graph.node[:3]  # the network of the template before the head
    path.write_bytes(model.SerializeToString())
    return path


def test_no_library_is_loaded_unless_it_is_named(tmp_path: Path) -> None:
    path = _custom_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"operator ai\.onnx\.contrib\.Inverse .* --custom-ops"):
        adcc.explain(adcc.load(path, device="cpu"), IMAGES, "scorecam")
    with pytest.raises(OptionError, match="no such library"):
        adcc.load(path, device="cpu", custom_ops=[tmp_path / "absent.so"])
    (tmp_path / "text.so").write_text("no library")
    model = adcc.load(path, device="cpu", custom_ops=[tmp_path / "text.so"])
    with pytest.raises(ModelError, match=r"text\.so"):
        adcc.explain(model, IMAGES, "scorecam")


def test_a_library_that_is_named_is_loaded(tmp_path: Path) -> None:
    extensions = pytest.importorskip("onnxruntime_extensions")
    path = _custom_model(tmp_path / "model.onnx")
    library = extensions.get_library_path()
    maps = adcc.explain(
        adcc.load(path, device="cpu", custom_ops=[library]), IMAGES, "scorecam"
    ).maps
    assert maps.shape == (1, 8, 8) and maps.max() == 1


def test_an_error_steers_no_terminal(tmp_path: Path) -> None:
    model = small("softmax")
    model.graph.input[0].name = "\x1b]0;owned\x07\x1b[2J"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    result = CliRunner().invoke(main, ["inspect", str(path), "--scores-output", "nobody"])
    assert result.exit_code == 1
    assert result.stderr.strip() and result.stderr.rstrip("\n").isprintable()
