"""Programs that the pages name exist with their options, and selections of tests are not empty."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.documented_code import ROOT, blocks_of, pages, prose, shell_lines


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of a page, in shell blocks and in code within sentences."""
    text = prose(page.read_text("utf-8"))
    lines = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", text)]
    lines += [line for b in blocks_of(page) if b.language == "sh" for line in shell_lines(b)]
    for line in lines:
        if re.match(r"(\S*/)?(python|pytest) ", line):
            yield shlex.split(line, comments=True)


def programs() -> Iterator[tuple[str, list[str]]]:
    """Scripts of the repository with the words that follow them."""
    for page in pages():
        for words in commands(page):
            if words[1].endswith(".py"):
                yield words[1], words[2:]


def test_scripts_exist_and_have_their_options() -> None:
    found = list(programs())
    assert len({name for name, _ in found}) > 10
    for name, words in found:
        source = (ROOT / name).read_text("utf-8")
        for word in words:
            if word.startswith("-"):
                assert f'"{word}"' in source, f"{name} has no option {word}"


def selections() -> list[tuple[list[str], str]]:
    """The files and the expression `-k` of every command that runs a part of the slow tests."""
    found = []
    for page in pages():
        for words in commands(page):
            files = [word for word in words if word.endswith(".py")]
            if words[0].endswith("pytest") and files:
                assert words[words.index("-m") + 1] == "slow", words
                found.append((files, words[words.index("-k") + 1] if "-k" in words else ""))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="some of these files only run on Linux")
def test_selections_of_slow_tests_are_not_empty() -> None:
    every_file = sorted({name for names, _ in selections() for name in names})
    options = ["--collect-only", "-q", "-o", "addopts=", "-m", "slow", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *every_file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for names, expression in selections():
        assert re.fullmatch(r"\w*", expression), f"extend this test for -k '{expression}'"
        for name in names:
            chosen = [one for one in done.stdout.splitlines() if one.startswith(f"{name}::")]
            assert any(expression in one for one in chosen), f"{name} -k '{expression}'"
