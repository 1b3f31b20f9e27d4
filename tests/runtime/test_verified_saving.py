"""What `expose` and `bake` write: checked first, then renamed; the input is never overwritten."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import AdccWarning, ModelError, OptionError
from adcc_onnx.graph.loading import saving
from adcc_onnx.runtime import verified_saving

SAVERS: dict[str, Callable[..., Any]] = {"expose": adcc.save_exposed, "bake": adcc.save_baked}
IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    onnx.save(small(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("command", SAVERS)
def test_a_written_file_is_valid_and_alone(command: str, net: Path) -> None:
    out = net.with_name("out.onnx")
    SAVERS[command](net, out)
    assert names(net.parent) == ["net.onnx", "out.onnx"]
    onnx.checker.check_model(str(out), full_check=True)
    onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("command", SAVERS)
@pytest.mark.parametrize("tool", ["onnx.checker", "onnxruntime"])
def test_a_failed_check_leaves_nothing(
    command: str, tool: str, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise RuntimeError(f"{given[0]} is broken\nsecond line")

    if tool == "onnx.checker":
        monkeypatch.setattr(onnx.checker, "check_model", fail)
    else:
        monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    out = net.with_name("out.onnx")
    result = CliRunner().invoke(main, [command, str(net), "-o", str(out)])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"{out} was not written, because the new model is invalid ({tool}: {out}" in (
        result.stderr
    )
    assert names(net.parent) == ["net.onnx"]


def test_an_invalid_graph_is_found(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_damaged(model: Any, path: Path) -> None:
        proto = small()
        proto.graph.node[1].input[0] = "nowhere"
        onnx.save(proto, path)

    monkeypatch.setattr(verified_saving, "save", write_damaged)
    with pytest.raises(ModelError, match=r"invalid \(onnx\.checker: .*nowhere"):
        adcc.save_exposed(net, net.with_name("out.onnx"))
    monkeypatch.setattr(onnx.checker, "check_model", lambda path: None)
    with pytest.raises(ModelError, match=r"invalid \(onnxruntime: .*nowhere"):
        adcc.save_exposed(net, net.with_name("out.onnx"))
    assert names(net.parent) == ["net.onnx"]


@pytest.mark.parametrize("command", SAVERS)
def test_an_existing_file_needs_force(command: str, net: Path) -> None:
    out = net.with_name("out.onnx")
    out.write_text("precious")
    result = CliRunner().invoke(main, [command, str(net), "-o", str(out)])
    assert result.exit_code == 1
    assert result.stderr == (
        f"adcc-onnx: {out} exists: choose another name with -o, or replace the file with --force\n"
    )
    assert out.read_text() == "precious"
    result = CliRunner().invoke(main, [command, str(net), "-o", str(out), "--force"])
    assert result.exit_code == 0, result.stderr
    onnx.checker.check_model(str(out))


@pytest.mark.parametrize("command", SAVERS)
@pytest.mark.parametrize("kind", ["same", "relative", "symlink", "link", "linked input"])
def test_the_input_is_never_replaced(command: str, kind: str, net: Path) -> None:
    before = net.read_bytes()
    given, out = net, net.with_name("other.onnx")
    if kind == "same":
        out = net
    elif kind == "relative":
        out = net.parent / ".." / net.parent.name / net.name
    elif kind == "symlink":
        out.symlink_to(net)
    elif kind == "link":
        out.hardlink_to(net)
    else:
        given = net.with_name("alias.onnx")
        given.symlink_to(net)
        out = net
    for force in (False, True):
        with pytest.raises(OptionError, match="is the input model or its weights"):
            SAVERS[command](given, out, force=force)
    with pytest.raises(OptionError, match="is the input model or its weights"):
        SAVERS[command](adcc.load(given, device="cpu"), out, force=True)
    assert net.read_bytes() == before


@pytest.mark.parametrize("name", ["weights.bin", "weights"])
def test_the_weights_of_the_input_are_never_replaced(name: str, tmp_path: Path) -> None:
    # `-o weights` would write its own weights to `weights.data`.
    stored = name if name == "weights.bin" else "weights.data"
    net = tmp_path / "net.onnx"
    onnx.save(small(), net, save_as_external_data=True, location=stored, size_threshold=0)
    before = (tmp_path / stored).read_bytes()
    for model in (net, adcc.load(net, device="cpu")):
        with pytest.raises(OptionError, match=f"{stored} is the input model or its weights"):
            adcc.save_exposed(model, tmp_path / name, force=True)
    assert (tmp_path / stored).read_bytes() == before


def test_large_weights_go_to_a_checked_file_beside_it(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "_MAX_EMBEDDED_WEIGHTS", 0)
    out = net.with_name("out.onnx")
    out.with_name("out.onnx.data").write_text("precious")
    with pytest.raises(OptionError, match=r"out\.onnx\.data exists, and the weights would"):
        adcc.save_exposed(net, out)
    assert names(net.parent) == ["net.onnx", "out.onnx.data"]
    adcc.save_exposed(net, out, "active", force=True)
    assert names(net.parent) == ["net.onnx", "out.onnx", "out.onnx.data"]
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    feeds = {"image": IMAGES, "target": np.array([1, 2])}
    inside = onnxruntime.InferenceSession(
        adcc.expose(net, "active").SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for found, expected in zip(session.run(None, feeds), inside.run(None, feeds), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_external_weights_of_the_input_work_as_a_path_and_as_a_model(tmp_path: Path) -> None:
    net = tmp_path / "net.onnx"
    onnx.save(small(), net, save_as_external_data=True, location="w.bin", size_threshold=0)
    for number, model in enumerate((net, adcc.load(net, device="cpu"))):
        added = adcc.save_exposed(model, tmp_path / f"{number}.onnx", "active")
        assert added == ["active.activation", "active.gradient"]
        onnx.checker.check_model(str(tmp_path / f"{number}.onnx"))


@pytest.mark.parametrize("reason", ["missing folder", "folder", "not writable"])
def test_a_place_that_cannot_be_written_is_named(
    reason: str, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = net.with_name("out.onnx")
    if reason == "missing folder":
        out = net.parent / "none" / "out.onnx"
    elif reason == "folder":
        out.mkdir()
    else:  # permissions do not bind the superuser, so the system's answer is imitated

        def deny(**given: Any) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(tempfile, "mkdtemp", deny)
    before = names(net.parent)
    result = CliRunner().invoke(main, ["expose", str(net), "-o", str(out), "--force"])
    assert result.exit_code == 1
    expected = {
        "missing folder": f"cannot write {out}: No such file or directory; choose",
        "folder": f"{out} is not a regular file: choose another name with -o",
        "not writable": f"cannot write {out}: Permission denied; choose another file or folder",
    }
    assert expected[reason] in result.stderr
    assert names(net.parent) == before


def test_a_model_with_its_own_custom_operators_is_written_with_a_warning(tmp_path: Path) -> None:
    head = """own = my.domain.Scale (image) again = Conv <pads = [1, 1, 1, 1]> (own, kernel)
      late = Relu (again) mean = GlobalAveragePool (late) flat = Flatten (mean)
      scores = Gemm <transB = 1> (flat, weights)"""
    model = small(head)
    shape = ["batch", 3, 8, 8]
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info("own", onnx.TensorProto.FLOAT, shape)
    )
    with pytest.warns(AdccWarning, match=r"not opened in onnxruntime: .*my\.domain\.Scale"):
        adcc.save_exposed(model, tmp_path / "out.onnx", "late")
    written = onnx.load(tmp_path / "out.onnx")
    assert {opset.domain: opset.version for opset in written.opset_import}["my.domain"] == 1


def test_ordinary_models_are_written_without_a_warning(net: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AdccWarning)
        adcc.save_baked(net, net.with_name("out.onnx"))


def test_a_half_precision_model_is_written(tmp_path: Path) -> None:
    adcc.save_exposed(small(kind="float16"), tmp_path / "out.onnx")
    assert names(tmp_path) == ["out.onnx"]


def test_a_bfloat16_model_is_written_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(AdccWarning, match="was not opened in onnxruntime: the CPU lacks a kernel"):
        adcc.save_exposed(small(kind="bfloat16", opset=22), tmp_path / "out.onnx")
    assert names(tmp_path) == ["out.onnx"]
