"""The help pages: whole summaries, grouped options with defaults, and an example."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from adcc_onnx.cli.command_group import main

COMMANDS = main.list_commands(click.Context(main))


def page(*words: str, width: int = 80) -> str:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=width)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_of_commands_has_whole_summaries(width: int) -> None:
    lines = [line.split(maxsplit=1) for line in page(width=width).splitlines()]
    summaries = {line[0]: line[1] for line in lines if len(line) == 2 and line[0] in COMMANDS}
    assert list(summaries) == COMMANDS
    for summary in summaries.values():
        assert len(summary) <= 60 and summary.endswith(".") and "..." not in summary


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_a_sentence_a_paragraph_and_an_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.help is not None
    sentence, *paragraphs = command.help.split("\n\n")
    assert f"  {sentence}\n" in page() or f" {sentence}\n" in page()
    assert paragraphs and all(len(paragraph) > 40 for paragraph in paragraphs)
    text = page(name)
    assert re.search(rf"\nExample:\n  adcc-onnx {name}\b", text)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.index("Other:") == text.rindex("Other:") > text.index(sentence.split()[0])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    context = click.Context(command, info_name=name)
    for option in command.get_params(context):
        if isinstance(option, click.Option):
            assert option.help and option.help[0].isupper(), option.name
            text = option.help.partition("  [default")[0]
            assert text.endswith((".", "...")), text
            assert getattr(option, "heading", "Other") != "Other" or "--help" in option.opts


def test_the_options_of_evaluate_are_grouped() -> None:
    text = page("evaluate")
    headings = ["Images:", "Methods and metrics:", "Model:", "Device:", "Output:", "Other:"]
    places = [text.index(f"\n{heading}\n") for heading in headings]
    assert places == sorted(places)
    assert "--second-maps DIR" in text and "(needed" in text


def test_the_old_name_of_target_is_hidden() -> None:
    for name in ("bake", "explain"):
        assert "--class" not in page(name).replace("--class-names", "")
    result = CliRunner().invoke(main, ["bake", "none.onnx", "--class", "3", "-o", "out.onnx"])
    assert "no such model file" in result.stderr


def test_a_misspelled_command_gets_a_suggestion() -> None:
    result = CliRunner().invoke(main, ["evalute"])
    assert result.exit_code == 2 and "did you mean 'evaluate'?" in result.stderr


def test_help_is_fast() -> None:
    """Below 0.3 s of CPU time, which a busy machine changes less than the time on the clock."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    taken = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "adcc_onnx", "--help"],
            check=True,
            capture_output=True,
            env=environment,
        )
        after = os.times()
        taken.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(taken) < 0.3
