"""External weights are found beside the model, whatever the working directory is."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.selected import slow_except
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.cli import main

IMAGES = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
# A small tensor (its shape is read while the model is prepared) and a large one.
HEAD = """spread = Reshape (active, sizes) back = Reshape (spread, square)
  wide = Conv (back, large) pool = GlobalAveragePool (wide) flat = Flatten (pool)
  scores = Gemm <transB = 1> (flat, ends)"""


def saved(opset: int, folder: Path, one_file: bool) -> Path:
    model = small(HEAD, opset=opset)
    rng = np.random.default_rng(2)
    values = {
        "sizes": np.array([0, 4, 64]),
        "square": np.array([0, 4, 8, 8]),
        "large": rng.standard_normal((600, 4, 1, 1)).astype(np.float32),
        "ends": rng.standard_normal((5, 600)).astype(np.float32),
    }
    del model.graph.initializer[1]
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
    path = folder / "net.onnx"
    onnx.save(model, folder / "whole.onnx")
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="net.data" if one_file else None,
        size_threshold=0,
    )
    return path


@pytest.mark.parametrize(
    ("opset", "one_file"),
    slow_except(
        [(9, True), (13, False), (21, True)],
        [(9, True), (11, False), (12, True), (13, False), (15, True), (17, False), (18, True),
         (18, False), (21, True)],
    ),
)  # fmt: skip
def test_external_weights_from_another_folder(
    opset: int, one_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    folder.mkdir(), elsewhere.mkdir()
    path = saved(opset, folder, one_file)
    assert any(t.data_location for t in onnx.load(path, load_external_data=False).graph.initializer)
    monkeypatch.chdir(elsewhere)
    for given in (path, Path(os.path.relpath(path))):
        result = adcc.evaluate(given, IMAGES, ["gradcam", "scorecam"], device="cpu")
        assert not result.failures
    whole = adcc.explain(folder / "whole.onnx", IMAGES, "gradcam", target=1, device="cpu").maps
    np.testing.assert_array_equal(
        adcc.explain(path, IMAGES, "gradcam", target=1, device="cpu").maps, whole
    )
    onnx.checker.check_model(adcc.expose(path, ["active"]), full_check=True)


@pytest.mark.parametrize("command", ["expose", "bake"])
def test_commands_write_whole_models(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    path = saved(13, tmp_path / "models", True)
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(main, [command, str(path), "-o", "out.onnx"])
    assert found.exit_code == 0, found.output
    (tmp_path / "models" / "net.data").unlink()
    onnx.checker.check_model(onnx.load("out.onnx"), full_check=True)
