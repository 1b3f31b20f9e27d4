"""Everything that the documentation names exists: tests, files, commands, options, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from helpers.documented_code import ROOT, command_line, external_links, pages, prose

import adcc_onnx
from adcc_onnx.cli import main

PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)

CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
REPOSITORY_PATH = re.compile(r"(?:tests|benchmarks|models|docs|adcc_onnx)/[\w./-]*")
# Functions that only the command line needs: each writes the result of another one to files.
ALSO_FUNCTIONS = {"demo", "save_baked", "save_explanations", "save_exposed"}
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def anchor(heading: str) -> str:
    """The fragment of a heading's address, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_page
def test_a_page_has_one_title_and_then_a_paragraph(page: Path) -> None:
    text = prose(page.read_text("utf-8"))
    titles = [title for marks, title in HEADING.findall(text) if marks == "#"]
    assert len(titles) == 1
    title, empty, paragraph = text.splitlines()[:3]
    assert title == f"# {titles[0]}" and not empty
    assert paragraph[0].isalnum() or paragraph[0] in "`["


@every_page
def test_a_number_at_the_start_of_a_line_belongs_to_a_list(page: Path) -> None:
    """Markdown makes a list of a sentence whose last word is `14.` on a line of its own."""
    last = 0
    for number in map(
        int, re.findall(r"^ *(\d+)\. ", prose(page.read_text("utf-8")), re.MULTILINE)
    ):
        assert number in (1, last + 1), f"a line begins with '{number}. '"
        last = number


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        assert target.exists(), link
        if fragment:
            headings = HEADING.findall(prose(target.read_text("utf-8")))
            assert fragment in [anchor(heading) for _, heading in headings], link


def test_addresses_on_the_web_are_well_formed() -> None:
    for address, names in external_links().items():
        parts = urlsplit(address)
        assert parts.scheme == "https", f"{names}: {address}"
        assert re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]+", parts.netloc), f"{names}: {address}"
        assert re.fullmatch(r"[\w./~%@+#?=&:-]*", parts.path + parts.query), f"{names}: {address}"


@every_page
def test_files_and_tests_exist(page: Path) -> None:
    for code in CODE.findall(prose(page.read_text("utf-8"))):
        if REPOSITORY_PATH.match(code):
            path = code.partition("::")[0]
            assert (ROOT / path).exists(), code
    for path, name in TEST.findall(page.read_text("utf-8")):
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), name


def claims(text: str) -> Iterator[tuple[str, str]]:
    """The rows of all tables with a column "test", as (the whole row, the cell with the tests)."""
    column = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            column = None
        elif "test" in cells:
            column = cells.index("test")
        elif column is not None and not line.startswith("| ---"):
            yield line, cells[column]


def is_test(path: Path) -> bool:
    """Whether a file or a folder has tests; a helper that is run by hand counts, too."""
    if path.is_dir():
        return any(is_test(file) for file in path.rglob("test_*.py"))
    text = path.read_text("utf-8")
    return re.search(r"^(def test_|if __name__ == )", text, re.MULTILINE) is not None


@pytest.mark.parametrize(
    "name", ["SECURITY.md", "docs/reference/devices.md", "docs/results/proofs.md"]
)
def test_every_claim_names_tests_that_exist(name: str) -> None:
    found = list(claims((ROOT / name).read_text("utf-8")))
    assert len(found) > 10
    for row, cell in found:
        tests = [code for code in CODE.findall(cell) if code.startswith("tests/")]
        assert tests, f"no test: {row}"
        for code in tests:
            path, _, function = code.partition("::")
            assert is_test(ROOT / path), code
            text = (ROOT / path).read_text("utf-8") if function else ""
            assert not function or re.search(rf"^def {function}\(", text, re.MULTILINE), code


def test_the_kinds_of_malformed_models_that_are_named_exist() -> None:
    from helpers.malformed_models.corpus import corpus

    names = [name for name, _ in corpus()]
    for _, cell in claims((ROOT / "SECURITY.md").read_text("utf-8")):
        for kind in re.findall(r"`([\w-]+)(?:\*)?`", cell):
            assert any(name.startswith(kind) for name in names), kind


@every_page
def test_helpers_that_are_run_exist(page: Path) -> None:
    for name in re.findall(r"python -m helpers\.(\w+)", page.read_text("utf-8")):
        assert (ROOT / "tests" / "helpers" / f"{name}.py").exists(), name


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of every `adcc-onnx ...` in code within prose; blocks have a test of their own."""
    for code in CODE.findall(prose(text)):
        words = command_line(code)
        if words is not None:
            yield words


def options_of(command: click.Command) -> set[str]:
    parameters = command.params
    names = [n for p in parameters for n in (*p.opts, *p.secondary_opts)]
    return {*names, "--help", "-h"}


def command_named(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found is not None, f"there is no command '{name}'"
    return found


@every_page
def test_commands_have_the_options_that_they_are_given(page: Path) -> None:
    for words in command_lines(page.read_text("utf-8")):
        if not words or words[0].startswith("-"):
            assert set(words) <= options_of(main) | {"--version"}
            continue
        known = options_of(command_named(words[0]))
        for word in words[1:]:
            option = word.strip("[]").partition("=")[0]
            if option.startswith("-"):
                assert option in known, f"adcc-onnx {words[0]} {option}"


@every_page
def test_options_named_in_prose_exist(page: Path) -> None:
    names = main.list_commands(click.Context(main))
    known = set().union(*(options_of(command_named(name)) for name in names))
    for code in CODE.findall(prose(page.read_text("utf-8"))):
        if re.match("--?[a-z]", code):
            assert shlex.split(code)[0] in known, code


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    documented = {words[0] for words in command_lines(text) if words}
    documented |= set(CODE.findall(text))
    names = main.list_commands(click.Context(main))
    assert set(names) <= documented


def test_all_functions_of_the_python_page_exist_and_none_is_missing() -> None:
    page = (ROOT / "docs/reference/python.md").read_text("utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    documented = {name for line in table for name in CODE.findall(line.split("|")[1])}
    public = {name for name in adcc_onnx.__all__ if name.islower() and not name.startswith("_")}
    assert documented <= public
    assert public - documented <= ALSO_FUNCTIONS
    errors = {name for name in adcc_onnx.__all__ if name.endswith(("Error", "Warning"))}
    classes = {name for name in adcc_onnx.__all__ if name[0].isupper()} - errors
    assert classes <= set(CODE.findall(page))


def test_public_names_in_the_pages_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"\badcc(?:_onnx)?\.(?!md\b)([A-Za-z_]+)", page.read_text("utf-8")):
            assert hasattr(adcc_onnx, name) or is_module(name), f"{page.name}: {name}"


def is_module(name: str) -> bool:
    """Whether the package has such a part, for example as the name of an entry point."""
    package = ROOT / "adcc_onnx"
    return (package / name).is_dir() or (package / f"{name}.py").exists()
