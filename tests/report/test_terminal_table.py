"""Tables in a terminal: they fit, numbers stay whole, and what is missing is said."""

from __future__ import annotations

import re

import pytest
from helpers.stored_runs import three_methods, write_run

from adcc_onnx.report.rendering import render
from adcc_onnx.report.table_layout import Column, Display, Table
from adcc_onnx.report.terminal_table import shortened, terminal_table, terminal_text
from adcc_onnx.results.store import Store

NAME = "/features/features.18/features.18.1/Clip_output_0"
NUMBER = re.compile(r"-?\d+\.\d")


@pytest.fixture
def store() -> Store:
    store = Store.create(None)
    write_run(store, three_methods(40), controls=["bad"])
    return store


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_ranked_table_fits_and_every_shown_number_is_whole(store: Store, width: int) -> None:
    lines = render([store], "table", display=Display(width)).splitlines()
    plain = render([store], "table")
    assert all(len(line) <= width for line in lines)
    whole = set(NUMBER.findall(plain))
    shown = {n for line in lines for n in NUMBER.findall(line)}
    assert shown and shown <= whole
    left_out = [line for line in lines if line.startswith(f"Left out at {width} columns")]
    assert bool(left_out) == (width < 80)
    # The ranking score is never left out.
    assert all(value in "\n".join(lines) for value in whole_adcc(plain))


def whole_adcc(plain: str) -> list[str]:
    return re.findall(r"\d+\.\d \[\d+\.\d, \d+\.\d\]", plain)


def test_files_and_pipes_are_not_changed(store: Store) -> None:
    plain = render([store], "table")
    assert plain == render([store], "table", display=Display(None, False))
    assert "\x1b" not in plain and "Left out" not in plain


def test_colors_have_meanings_and_can_be_off(store: Store) -> None:
    colored = render([store], "table", display=Display(120, True))
    first = {line.split("m")[0]: line for line in colored.splitlines() if line.startswith("\x1b")}
    assert "alike" in first["\x1b[1;32"] and "good" in first["\x1b[32"]  # the best, and a tie
    assert any("bad" in line for line in colored.splitlines() if line.startswith("\x1b[2m"))
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", colored)
    uncolored = render([store], "table", display=Display(120))
    lines = zip(stripped.splitlines(), uncolored.splitlines(), strict=True)
    assert all(one.rstrip() == other for one, other in lines)


def test_long_names_lose_their_middle() -> None:
    assert shortened("layer4", 12) == "layer4"
    assert len(shortened(NAME, 20)) == 20
    assert shortened(NAME, 20).startswith("/feature") and shortened(NAME, 20).endswith("output_0")
    table = Table([Column("layer", left=True, names=True), Column("map")], [[NAME, "7 x 7"]])
    _, _, row, *note = terminal_table(table, Display(30))
    assert len(row) <= 30 and row.endswith("7 x 7")
    assert "Long names are shortened." in " ".join(note)


def test_names_with_escapes_do_not_control_the_terminal() -> None:
    table = Table([Column("image", left=True)], [["\x1b[31mred.png"]])
    assert "\x1b" not in "".join(terminal_table(table, Display(40)))
    assert "\x1b" not in "".join(terminal_text(["\x1b[31mred"], Display(40)))
    # Rich's own markup is text, too.
    assert "[red]x[/red]" in "".join(terminal_text(["[red]x[/red]"], Display(40)))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("sentences", [1, 2])
def test_columns_of_sentences_share_the_width(width: int, sentences: int) -> None:
    text = "Grad-CAM of the difference between the class and the most similar classes " * 4
    columns = [
        Column("a rather long heading", left=True),
        Column("another long heading"),
        Column("n"),
    ]
    columns += [Column(f"text {i}", left=True, prose=True) for i in range(sentences)]
    rows = [
        ["first network", "before pooling", "12", *[text] * sentences],
        ["second", "-", "1", *["short"] * sentences],
    ]
    lines = terminal_table(Table(columns, rows), Display(width))
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()).count("similar") == 4 * sentences
    # A short column leaves its room to the other one.
    narrow = [Column("a", left=True, prose=True), Column("b", left=True, prose=True)]
    lines = terminal_table(Table(narrow, [["short", text]]), Display(width))
    assert max(map(len, lines)) > width - 12
