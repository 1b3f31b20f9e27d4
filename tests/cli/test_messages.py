"""What a command says beside its result: quiet, verbose, JSON lines, colors and first steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from helpers.small_models import small
from onnx import save

from adcc_onnx.cli.command_group import main
from adcc_onnx.cli.message_settings import shows_colors
from adcc_onnx.drawings import classifier_path

EVALUATE = ["evaluate", str(classifier_path()), "--images", "drawings:2", "--method", "fakecam"]


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


def completed(words: list[str], incomplete: str) -> list[str]:
    found = ShellComplete(main, {}, "adcc-onnx", "_X").get_completions(words, incomplete)
    return [f"{item.type}:{item.value}" if item.type == "file" else item.value for item in found]


def test_without_a_command_the_first_steps_are_shown() -> None:
    result = run()
    assert result.exit_code == 2 and result.stdout == ""
    assert [line.split()[:2] for line in result.stderr.splitlines()] == [
        ["adcc-onnx", word] for word in ("demo", "inspect", "evaluate")
    ]
    assert all(len(line) <= 100 for line in result.stderr.splitlines())


def test_quiet_prints_the_result_and_nothing_else() -> None:
    plain, quiet = run(*EVALUATE, "--device", "cpu"), run(*EVALUATE, "--device", "cpu", "--quiet")
    assert quiet.exit_code == 0 and quiet.stderr == "" and "fakecam" in quiet.stdout
    assert "kept in" in plain.stderr
    failed = run("inspect", "nowhere.onnx", "--quiet")
    assert failed.exit_code == 1 and "no such model file" in failed.stderr


def test_json_messages_are_one_object_per_line() -> None:
    result = run(*EVALUATE, "--device", "cpu", "--log-format", "json", "--verbose")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert result.exit_code == 0 and len(lines) >= 2
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert {line["level"] for line in lines} <= {"debug", "info", "warning"}
    (last,) = [line for line in lines if line["level"] == "debug"][-1:]
    assert last["seconds"] > 0
    (error,) = run("inspect", "nowhere.onnx", "--log-format=json").stderr.splitlines()
    assert json.loads(error)["level"] == "error" and json.loads(error)["exit_status"] == 1


def test_quiet_and_verbose_exclude_each_other() -> None:
    assert run("inspect", "net.onnx", "--quiet", "--verbose").exit_code == 2


@pytest.mark.parametrize(
    ("variables", "terminal", "colors"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_the_environment_decides_about_colors(
    variables: dict[str, str], terminal: bool, colors: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stream:
        def isatty(self) -> bool:
            return terminal

    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert shows_colors(Stream()) == colors


def test_the_shell_completes_names_and_leaves_files_alone(tmp_path: Path) -> None:
    save(small(), tmp_path / "net.onnx")
    net = str(tmp_path / "net.onnx")
    assert completed(["evaluate", net, "--method"], "eigen") == ["eigencam", "eigengradcam"]
    assert completed(["evaluate", net, "--metric"], "compl") == ["complexity"]
    assert completed(["evaluate", net, "--preprocess"], "t") == ["torch", "tf"]
    assert completed(["evaluate", net, "--preprocess"], "card") == ["file:card"]
    assert "features" in completed(["explain", net, "--layer"], "f")
    assert completed(["explain", str(tmp_path / "gone.onnx"), "--layer"], "f") == []
    assert completed(["inspect"], "n") == ["file:n"]
    assert completed(["evaluate", net, "--images"], "ph") == ["file:ph"]
    assert completed([], "ev") == ["evaluate"]
