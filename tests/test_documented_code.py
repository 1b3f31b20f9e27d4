"""Every fenced block of the documentation runs, is parsed, or says why not."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from helpers.documented_code import ROOT, Block, blocks_of, command_line, pages, shell_lines
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import METHODS
from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw
from adcc_onnx.metrics.metric_registry import METRICS

OUTPUT = {"text", "csv"}  # what a command prints
MODELS = ("resnet50", "net", "model", "vit")
# Pages whose commands run, too, with the built-in classifier as every model.
EXECUTED = {"docs/guides/read-the-report.md"}


def with_blocks(language: str) -> Callable[..., None]:
    """Run a test on every page that has blocks of a language."""
    found = [
        p for p in pages() if any(b.language == language and not b.reason for b in blocks_of(p))
    ]
    return pytest.mark.parametrize("page", found, ids=lambda page: str(page.relative_to(ROOT)))


def runnable(page: Path, language: str) -> list[Block]:
    return [b for b in blocks_of(page) if b.language == language and not b.reason]


@pytest.fixture(scope="module")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name: models, photos, a card, and a run."""
    folder = tmp_path_factory.mktemp("documented")
    source = classifier_path().parent
    for name in MODELS:
        shutil.copy(source / "classifier.onnx", folder / f"{name}.onnx")
    (folder / "photos").mkdir()
    for index, name in enumerate(("dog.jpg", "cat.jpg", "photos/a.jpg", "photos/b.jpg")):
        Image.fromarray(draw(seed=1, index=index).image).save(folder / name)
    run = folder / "run.sqlite"
    adcc.evaluate(classifier_path(), "drawings:4", ["gradcam", "layercam"], out=run, device="cpu")
    return folder


@pytest.fixture
def folder(example_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new working folder with copies of these files; methods that a page registers are undone."""
    shutil.copytree(example_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with METHODS.isolated(), METRICS.isolated():
        yield tmp_path


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_checked_or_says_why_not(page: Path) -> None:
    checked = {"python", "sh", "toml", "json", "yaml", *OUTPUT}
    for block in blocks_of(page):
        place = f"{page.name}:{block.line}"
        assert block.language, f"{place}: name the language; `text` is the output of a command"
        if not block.language.startswith("{"):
            assert block.language in checked or block.reason, (
                f"{place}: no test runs {block.language}: put <!-- not run: REASON --> before it"
            )


@with_blocks("python")
def test_python_runs_in_the_order_of_the_page(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("documented_code")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in runnable(page, "python"):
        code = compile("\n" * block.line + block.code, str(page), "exec")
        with contextlib.redirect_stdout(None):
            exec(code, module.__dict__)


@with_blocks("sh")
def test_shell_commands_are_valid(page: Path) -> None:
    for block in runnable(page, "sh"):
        done = subprocess.run(["bash", "-n", "-c", block.code], capture_output=True, text=True)
        assert done.returncode == 0, f"{page.name}:{block.line}: {done.stderr}"
        for line in shell_lines(block):
            for part in line.split("&&"):
                words = command_line(part.partition("|")[0])
                if words:
                    parse(words, f"{page.name}:{block.line}")


def parse(words: list[str], place: str) -> None:
    """Parse a command line as Click does, but look for no file."""
    if words[0].startswith("-"):
        return
    group = click.Context(main)
    command = main.get_command(group, words[0])
    assert command is not None, f"{place}: there is no command '{words[0]}'"
    context = click.Context(command, info_name=words[0], parent=group)
    try:
        values, rest, _ = command.make_parser(context).parse_args(words[1:])
        assert not rest, f"{place}: what is {rest}?"
        for parameter in command.get_params(context):
            value = values.get(str(parameter.name))
            given = value not in (None, (), []) and not str(value).startswith("Sentinel")
            if given and not isinstance(parameter.type, click.Path | click.File):
                parameter.type_cast_value(context, value)
            assert given or not parameter.required or "--help" in words, (
                f"{place}: {parameter.name}"
            )
    except click.UsageError as error:
        pytest.fail(f"{place}: {words}: {error.format_message()}")


@pytest.mark.parametrize("name", sorted(EXECUTED))
def test_commands_of_a_page_run(name: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "run.sqlite").unlink()
    for block in runnable(ROOT / name, "sh"):
        for line in shell_lines(block):
            words = command_line(line)
            if words:
                status = main.main(words, standalone_mode=False)
                assert not status, f"{line}: {capfd.readouterr()}"


@with_blocks("toml")
def test_toml_is_valid(page: Path) -> None:
    for block in runnable(page, "toml"):
        tomllib.loads(block.code)


@with_blocks("json")
def test_json_is_valid(page: Path) -> None:
    for block in runnable(page, "json"):
        json.loads(block.code)


@with_blocks("yaml")
def test_yaml_is_valid(page: Path) -> None:
    yaml = pytest.importorskip("yaml")
    for block in runnable(page, "yaml"):
        yaml.safe_load(block.code)
