"""Gates: requirements and their errors, comparison with a baseline, exit status and JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.simulations import explained
from helpers.stored_runs import CONFIG, METRICS, write_run

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import ExpressionError, OptionError, StoreError
from adcc_onnx.results.requirements import parse_requirement
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

Values = np.ndarray


def run_file(path: Path, names: list[str] | None = None, **methods: Values) -> Path:
    with Store.create(path) as store:
        write_run(store, methods, names)
    return path


def worse(values: Values, drop: float) -> Values:
    """The same images with a coherency that is smaller by a constant."""
    return values - np.array([[0.0], [drop], [0.0]])


@pytest.fixture
def values() -> Values:
    return np.clip(explained(np.random.default_rng(1), 80), 0.0, [[1.0], [0.95], [1.0]]) * 0.9


@pytest.mark.parametrize(
    ("text", "method", "score", "comparison", "bound"),
    [
        ("gradcam.adcc >= 0.70", "gradcam", "adcc", ">=", 0.7),
        (" gradcam++.average_drop<.2 ", "gradcam++", "average_drop", "<", 0.2),
        (
            "smoothgradcam++(n=4, sigma=0.1).deletion(steps=28) <= 1e-1",
            "smoothgradcam++(n=4, sigma=0.1)", "deletion(steps=28)", "<=", 0.1,
        ),
        ('"maps of v1.2" . adcc > -0.5', "maps of v1.2", "adcc", ">", -0.5),
    ],
)  # fmt: skip
def test_requirements_are_parsed(
    text: str, method: str, score: str, comparison: str, bound: float
) -> None:
    found = parse_requirement(text)
    assert (found.method, found.score) == (method, score)
    assert (found.comparison, found.bound) == (comparison, bound)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("gradcam", 8),
        ("gradcam >= 0.7", 9),
        ("gradcam. >= 0.7", 10),
        ("gradcam.adcc", 13),
        ("gradcam.adcc = 0.7", 14),
        ("gradcam.adcc => 0.7", 14),
        ("gradcam.adcc >= high", 17),
        ("gradcam.adcc >= nan", 17),
        ("gradcam.adcc >= ", 17),
        ("gradcam.adcc >= 0.7 and more", 21),
        ("__import__('os').system('id')", 30),
    ],
)
def test_errors_tell_the_position(text: str, position: int) -> None:
    with pytest.raises(ExpressionError, match=f"at position {position}$") as caught:
        parse_requirement(text)
    assert caught.value.position == position and caught.value.exit_code == 2


def test_a_requirement_compares_the_score_itself(tmp_path: Path, values: Values) -> None:
    run = run_file(tmp_path / "run.sqlite", gradcam=values)
    mean = float(values[1].mean())
    above, below = f"gradcam.coherency >= {mean - 1e-6}", f"gradcam.coherency >= {mean + 1e-6}"
    found = adcc.gate(run, require=[above, below])
    assert [check.outcome for check in found.checks] == ["passed", "failed"]
    assert not found.passed and len(found.failures) == 1
    assert f"the score is {mean:.6g}" in found.failures[0]


def test_names_and_bounds_that_cannot_be_meant_are_errors(tmp_path: Path, values: Values) -> None:
    run = run_file(tmp_path / "run.sqlite", gradcam=values)
    for text, message in (
        ("gradcan.adcc >= 0.7", "no method 'gradcan'; did you mean 'gradcam'"),
        ("gradcam.adc >= 0.7", "no score 'adc'; did you mean 'adcc'"),
        ("gradcam.adcc >= 70", "scores are fractions, not percent"),
    ):
        with pytest.raises(OptionError, match=message):
            adcc.gate(run, require=text)
    with pytest.raises(OptionError, match="nothing to check"):
        adcc.gate(run)
    with pytest.raises(OptionError, match="margin"):
        adcc.gate(run, not_worse_than=run, margin=-0.1)


def test_a_score_without_images_fails(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with Store.create(path) as store:
        run = store.begin({**CONFIG, "methods": ["gradcam"], "metrics": METRICS})
        image = ImageRow(0, "a.png", 1, 1, 1, 0.5, None)
        store.write(run, [image], [ScoreRow(0, "gradcam", False, "the map holds NaN", {})])
        store.finish(run)
    (failure,) = adcc.gate(path, require="gradcam.adcc >= 0").failures
    assert "no image has this score" in failure


@pytest.mark.parametrize(("drop", "margin", "passed"), [
    (0.0, 0.0, True), (0.05, 0.0, False), (0.05, 0.049, False), (0.05, 0.051, True),
])  # fmt: skip
def test_worse_means_by_more_than_the_margin(
    tmp_path: Path, values: Values, drop: float, margin: float, passed: bool
) -> None:
    # Every image loses exactly `drop`, so that the interval of the paired difference is a point.
    base = run_file(tmp_path / "base.sqlite", gradcam=values)
    new = run_file(tmp_path / "new.sqlite", gradcam=worse(values, drop))
    found = adcc.gate(new, not_worse_than=base, by="coherency", margin=margin)
    assert found.passed == passed
    (check,) = found.comparisons
    assert check.difference is not None
    assert check.difference.value == pytest.approx(-drop, abs=1e-9)
    assert check.difference.interval == pytest.approx((-drop, -drop), abs=1e-9)
    # For a score that is better when lower, the same loss is a gain.
    assert adcc.gate(base, not_worse_than=new, by="coherency").passed


def test_lower_is_better_is_respected(tmp_path: Path, values: Values) -> None:
    base = run_file(tmp_path / "base.sqlite", gradcam=values)
    shifted = values + np.array([[0.0], [0.0], [0.05]])
    new = run_file(tmp_path / "new.sqlite", gradcam=shifted)
    assert not adcc.gate(new, not_worse_than=base, by="complexity").passed
    assert adcc.gate(base, not_worse_than=new, by="complexity").passed


def test_pairs_are_matched_by_name_and_lost_images_are_named(
    tmp_path: Path, values: Values
) -> None:
    names = [f"{i}.png" for i in range(values.shape[1])]
    base = run_file(tmp_path / "base.sqlite", names, gradcam=values)
    new = run_file(tmp_path / "new.sqlite", names[:9:-1], gradcam=worse(values, 0.02)[:, :9:-1])
    (check,) = adcc.gate(new, not_worse_than=base, by="coherency").comparisons
    assert check.difference is not None and check.difference.images == len(names) - 10
    assert check.difference.interval == pytest.approx((-0.02, -0.02), abs=1e-9)
    assert check.only_in_baseline == 10 and check.outcome == "failed"
    line = adcc.gate(new, not_worse_than=base, by="coherency").lines[0]
    assert "10 images lost their score" in line


def test_the_false_alarms_are_as_rare_as_promised() -> None:
    from adcc_onnx.results.evaluation_result import summarize_run
    from adcc_onnx.results.quality_gate import compare_with_baseline
    from adcc_onnx.statistics.resampling import Resampling

    rng, alarms, runs = np.random.default_rng(3), 0, 30
    for _ in range(runs):
        truth = explained(rng, 50)
        results = []
        for _ in range(2):
            noisy = {
                name: np.clip(truth + rng.normal(0, 0.05, truth.shape), 0, 1)
                for name in ("gradcam", "layercam")
            }
            with Store.create(None) as store:
                number = write_run(store, noisy)
                results.append(summarize_run(
                    store.run(number), store.images(number), resampling=Resampling(replicates=200)
                ))  # fmt: skip
        settings = Resampling(replicates=500)
        found = compare_with_baseline(results[:1], results[1:], None, 0.0, settings)
        alarms += any(check.outcome == "failed" for check in found)
    # At 95 % and one side, 2.5 % of the gates may fail: 5 of 30 have a probability of 0.1 %.
    assert alarms < 5


def test_runs_that_cannot_be_compared_are_errors(tmp_path: Path, values: Values) -> None:
    base = run_file(tmp_path / "base.sqlite", gradcam=values)
    other = run_file(tmp_path / "other.sqlite", [f"x{i}" for i in range(80)], gradcam=values)
    with pytest.raises(StoreError, match="no method has two scored images in common"):
        adcc.gate(other, not_worse_than=base)
    with Store.create(tmp_path / "target.sqlite") as store:
        write_run(store, {"gradcam": values}, target="label")
    with pytest.raises(StoreError, match="cannot be compared"):
        adcc.gate(tmp_path / "target.sqlite", not_worse_than=base)


def test_the_exit_status_is_3_and_junit_is_well_formed(tmp_path: Path, values: Values) -> None:
    hostile = 'a<b>&"\x1b[31m\n]]>'
    base = run_file(tmp_path / "base.sqlite", **{"gradcam": values, hostile: values})
    bad = {"gradcam": worse(values, 0.1), hostile: values, "scorecam": values}
    new, junit = run_file(tmp_path / "new.sqlite", **bad), tmp_path / "gate.xml"
    arguments = ["report", str(new), "--not-worse-than", str(base), "--margin", "0.01"]
    arguments += ["--require", "gradcam.adcc >= 0.1", "--junit", str(junit)]
    done = CliRunner().invoke(main, [*arguments, "--format", "json"])
    assert done.exit_code == 3
    assert "adcc-onnx: 1 of 4 checks failed" in done.stderr
    assert "\x1b" not in done.stderr and done.stdout.startswith("{")
    (suite,) = ElementTree.parse(junit).getroot()
    assert [suite.get(key) for key in ("tests", "failures", "errors", "skipped")] == list("4101")
    cases = {case.get("name", ""): case for case in suite}
    failed = cases["gradcam.adcc not worse than the baseline"][0]
    assert failed.tag == "failure" and "failed, the paired difference is -" in failed.get(
        "message", ""
    )
    assert cases["scorecam.adcc not worse than the baseline"][0].tag == "skipped"
    assert any(name.startswith('a<b>&"\\x1b[31m\\n]]>') for name in cases)
    assert b"time" not in junit.read_bytes()


def test_the_junit_file_never_replaces_a_run(tmp_path: Path, values: Values) -> None:
    run = run_file(tmp_path / "run.sqlite", gradcam=values)
    base = run_file(tmp_path / "base.sqlite", gradcam=values)
    for junit in (run, base):
        before = junit.read_bytes()
        with pytest.raises(OptionError):
            adcc.gate(run, not_worse_than=base, junit=junit)
        assert junit.read_bytes() == before


def test_wrong_usage_is_status_2(tmp_path: Path, values: Values) -> None:
    run = str(run_file(tmp_path / "run.sqlite", gradcam=values))
    for arguments, message in (
        (["--require", "gradcam.adcc = 1"], "at position 14"),
        (["--margin", "0.1"], "--margin and --junit need"),
        (["--by", "adcc"], "--compare or --not-worse-than"),
    ):
        done = CliRunner().invoke(main, ["report", run, *arguments])
        assert done.exit_code == 2 and message in done.stderr
    assert CliRunner().invoke(main, ["report", run, "--require", "gradcam.adcc > 0"]).exit_code == 0
