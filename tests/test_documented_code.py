"""Every fenced block of the documentation runs, is parsed, or says why not."""

from __future__ import annotations

import contextlib
import json
import re
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
from adcc_onnx.graph.autodiff.rules import rule_registry
from adcc_onnx.metrics.metric_registry import METRICS

OUTPUT = {"text", "csv"}  # what a command prints
MODELS = ("resnet50", "mobilenet_v2", "net", "net-int8", "model", "vit")
# Pages whose commands run, too, in the order of the page and on four drawings.
EXECUTED = {
    "README.md",
    "docs/getting-started.md",
    "docs/guides/ci-gate.md",
    "docs/guides/layers.md",
    "docs/guides/own-data.md",
    "docs/guides/read-the-report.md",
    "docs/guides/resume-and-merge.md",
    "docs/guides/serve-a-baked-model.md",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(page: Path, *languages: str) -> list[Block]:
    return [b for b in blocks_of(page) if b.language in languages and not b.reason]


def with_blocks(language: str) -> Callable[..., None]:
    """Run a test on every page that has blocks of a language."""
    found = [page for page in pages() if runnable(page, language)]
    return pytest.mark.parametrize("page", found, ids=name_of)


@pytest.fixture(scope="module")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name: models, photos, a card, and a run."""
    folder = tmp_path_factory.mktemp("documented")
    source = classifier_path().parent
    for name in ("classifier.onnx", "classifier.toml", "labels.txt"):
        shutil.copy(source / name, folder)
    for name in MODELS:
        shutil.copy(source / "classifier.onnx", folder / f"{name}.onnx")
    (folder / "photos").mkdir()
    for index, name in enumerate(("dog.jpg", "photo.png", "photos/a.jpg", "photos/b.jpg")):
        Image.fromarray(draw(seed=1, index=index).image).save(folder / name)
    (folder / "labels.csv").write_text("path,label\nphotos/a.jpg,3\nphotos/b.jpg,4\n")
    run = folder / "run.sqlite"
    adcc.evaluate(classifier_path(), "drawings:4", ["gradcam", "layercam"], out=run, device="cpu")
    return folder


@pytest.fixture
def folder(example_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new working folder with copies of these files; what a page registers is undone."""
    shutil.copytree(example_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rule_registry, "_RULES", dict(rule_registry._RULES))
    with METHODS.isolated(), METRICS.isolated():
        yield tmp_path


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_is_checked_or_says_why_not(page: Path) -> None:
    checked = {"python", "sh", "toml", "json", "yaml", *OUTPUT}
    for block in blocks_of(page):
        place = f"{page.name}:{block.line}"
        assert block.language, f"{place}: name the language; `text` is the output of a command"
        if not block.language.startswith("{"):
            assert block.language in checked or block.reason, (
                f"{place}: no test runs {block.language}: put <!-- not run: REASON --> before it"
            )


def executed() -> list[Path]:
    """The pages that have Python code or are executed as a whole."""
    return [p for p in pages() if runnable(p, "python") or name_of(p) in EXECUTED]


@pytest.mark.parametrize("page", executed(), ids=name_of)
def test_code_runs_in_the_order_of_the_page(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("documented_code")  # dataclasses look their module up
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in runnable(page, "python", "sh"):
        if block.language == "python":
            code = compile("\n" * block.line + block.code, str(page), "exec")
            with contextlib.redirect_stdout(None):
                exec(code, module.__dict__)
        elif name_of(page) in EXECUTED:
            run_commands(block)


def run_commands(block: Block) -> None:
    """Run the commands of a block that call the program; a file that they write may exist."""
    for line in shell_lines(block):
        words = command_line(re.sub(r"drawings:\d+", "drawings:4", line))
        if words:
            if "-o" in words and "--resume" not in words:
                Path(words[words.index("-o") + 1]).with_suffix(".sqlite").unlink(missing_ok=True)
            assert not main.main(words, standalone_mode=False), line


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_shell_commands_are_valid_also_those_that_are_not_run(page: Path) -> None:
    for block in (block for block in blocks_of(page) if block.language == "sh"):
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
