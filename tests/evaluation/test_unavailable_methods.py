"""A method that cannot serve a model is skipped with the reason, and the others run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.cli import main
from adcc_onnx.errors import AdccWarning, GradientError, ModelError, NoGradientRuleError
from adcc_onnx.explanation import unavailable_methods
from adcc_onnx.graph.autodiff.rules import rule_registry
from adcc_onnx.graph.autodiff.rules.rule_registry import Rule, find_rule
from adcc_onnx.report.text_table import results_to_table
from adcc_onnx.runtime.session import Session

RNG = np.random.default_rng(3)
IMAGES = RNG.standard_normal((3, 3, 8, 8)).astype(np.float32)
# An operator without a gradient rule between the layer and the scores.
HEAD = """flat = Flatten (pooled) first = Gather (flat, one)
  most = ScatterND <reduction = "max"> (flat, place, first)
  scores = Gemm <transB = 1> (most, weights)"""
REASON = "operator ScatterND (node 'most') cannot be differentiated"
GRADIENT_METHODS = ["gradcam", "smoothgradcam++(n=2)", "saliency"]
OTHER_METHODS = ["scorecam", "rise(masks=8)", "fakecam"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = small(HEAD)
    for name, values in {"one": [0], "place": [[0]]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_other_methods_are_evaluated(path: Path) -> None:
    model = adcc.load(path, device="cpu")
    with pytest.warns(AdccWarning, match="will be skipped: operator ScatterND") as found:
        result = adcc.evaluate(model, IMAGES, [*GRADIENT_METHODS, *OTHER_METHODS], controls=False)
    assert str(found[0].message).startswith(", ".join(GRADIENT_METHODS))
    assert list(result.methods) == [*GRADIENT_METHODS, *OTHER_METHODS]
    for name in GRADIENT_METHODS:
        assert (result.methods[name].scores, result.methods[name].failed) == ({}, len(IMAGES))
    for name in OTHER_METHODS:
        assert result.methods[name].failed == 0 and "adcc" in result.methods[name].scores
    assert all(failure.reason.startswith(REASON) for failure in result.failures)
    alone = adcc.evaluate(model, IMAGES, OTHER_METHODS)
    for name in OTHER_METHODS:
        assert alone.methods[name].scores == result.methods[name].scores
    table = results_to_table([result])
    assert f"no scores for {', '.join(GRADIENT_METHODS)}: {REASON}" in table
    assert table.count(REASON) == 1


def test_only_a_run_without_any_method_is_an_error(path: Path) -> None:
    with pytest.raises(NoGradientRuleError, match="ScatterND"):
        adcc.evaluate(path, IMAGES, GRADIENT_METHODS, device="cpu")
    with pytest.raises(NoGradientRuleError, match="ScatterND"):
        adcc.explain(path, IMAGES, "gradcam", device="cpu")
    assert adcc.explain(path, IMAGES, "scorecam", device="cpu").maps.shape == (3, 8, 8)


def test_a_layer_without_a_path_to_the_scores(tmp_path: Path) -> None:
    model = small(
        "aside = Relu (active) logits = Flatten (pooled) "
        "scores = Gemm <transB = 1> (logits, weights)"
    )
    onnx.save(model, tmp_path / "net.onnx")
    loaded = adcc.load(tmp_path / "net.onnx", layers="aside", device="cpu")
    with pytest.warns(AdccWarning, match="the scores do not depend on 'aside'"):
        result = adcc.evaluate(loaded, IMAGES, ["gradcam", "saliency", "scorecam"], controls=False)
    failed = {name: method.failed for name, method in result.methods.items()}
    assert failed == {"gradcam": 3, "saliency": 0, "scorecam": 0}
    with pytest.raises(GradientError):
        adcc.explain(loaded, IMAGES, "gradcam")


def test_the_command_line_explains_with_the_other_methods(path: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "red.png")
    arguments = ["explain", str(path), str(tmp_path / "red.png"), "--preprocess", "torch"]
    methods = ["--method", "gradcam", "--method", "scorecam", "--device", "cpu"]
    found = CliRunner().invoke(main, [*arguments, *methods, "-o", str(tmp_path / "maps")])
    assert found.exit_code == 0, found.output
    assert f"gradcam cannot explain net and will be skipped: {REASON}" in found.output
    written = [path for path in (tmp_path / "maps").rglob("*") if path.is_file()]
    assert sorted(path.suffix for path in written) == [".npy", ".png", ".png", ".png"]
    assert all("gradcam" not in path.name for path in written)


def test_a_resumed_run_keeps_the_reasons(path: Path, tmp_path: Path) -> None:
    methods, store = ["gradcam", "scorecam"], tmp_path / "run.db"
    with pytest.warns(AdccWarning):
        first = adcc.evaluate(path, IMAGES, methods, out=store, device="cpu")
    with pytest.warns(AdccWarning):
        again = adcc.evaluate(path, IMAGES, methods, out=store, resume=True, device="cpu")
    assert first.failures == again.failures and len(again.failures) == len(IMAGES)


SHIFTED = """shifted = Softplus (pooled) logits = Flatten (shifted)
  scores = Gemm <transB = 1> (logits, weights)"""


def _break_rule_of_softplus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Softplus a gradient that can be built and opened, but not run."""
    assert find_rule("", "Softplus") is not None
    broken = Rule((lambda g, n: g.op("Reshape", n.y.shape() + np.array(1, np.int64)),))
    monkeypatch.setitem(rule_registry._RULES, ("", "Softplus"), broken)


def test_a_gradient_that_fails_at_run_time_skips_its_methods_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx.save(small(SHIFTED), tmp_path / "net.onnx")
    alone = adcc.evaluate(tmp_path / "net.onnx", IMAGES, OTHER_METHODS, device="cpu")
    _break_rule_of_softplus(monkeypatch)
    model = adcc.load(tmp_path / "net.onnx", device="cpu")
    with pytest.warns(AdccWarning, match="will be skipped: onnxruntime failed.*Reshape") as found:
        result = adcc.evaluate(model, IMAGES, [*GRADIENT_METHODS, *OTHER_METHODS])
    assert str(found[0].message).startswith("gradcam, smoothgradcam++(n=2)")
    for name in GRADIENT_METHODS:
        assert (result.methods[name].scores, result.methods[name].failed) == ({}, len(IMAGES))
    for name in OTHER_METHODS:
        assert result.methods[name].scores == alone.methods[name].scores
    for name in ("gradcam", "saliency"):
        with pytest.raises(ModelError, match="onnxruntime failed to run the model"):
            adcc.explain(model, IMAGES, name)
    assert adcc.explain(model, IMAGES, "scorecam").maps.shape == (3, 8, 8)
    assert capfd.readouterr().err == ""  # onnxruntime prints nothing of its own


def test_a_session_is_tried_only_before_its_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """So explaining one image after the other takes one pass each."""
    model = adcc.load(small("softmax"), device="cpu")
    tried: list[Session] = []
    attempt = unavailable_methods._try_one_image

    def counted(model: adcc.Model, session: Session) -> None:
        tried.append(session)
        attempt(model, session)

    monkeypatch.setattr(unavailable_methods, "_try_one_image", counted)
    maps = [adcc.explain(model, IMAGES[:1], "gradcam").maps for _ in range(3)]
    assert len(tried) == 1
    np.testing.assert_array_equal(maps[0], maps[2])
