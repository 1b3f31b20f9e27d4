"""Tables and texts for a terminal: they fit its width, and colors show what rows mean."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from adcc_onnx.errors import escape_control_characters
from adcc_onnx.report.table_layout import Column, Display, Table

_STYLES = {
    "": "",
    "best": "bold green",
    "tied": "green",
    "doubtful": "yellow",
    "control": "dim",
    "title": "bold",
    "legend": "dim",
    "warning": "yellow",
}
_GAP = 2  # columns between two cells
_UNBOUNDED = 10_000  # columns
_NAME, _SHORTEST_NAME = 24, 12  # columns of a shortened name
_PROSE, _NARROW_PROSE = 30, 20  # columns of wrapped sentences, and the fewest of them


def terminal_table(table: Table, display: Display) -> list[str]:
    """Return the lines of a table that fits a terminal.

    If a table is too wide, its headings are wrapped first. Then names are shortened in the middle,
    and at last the least important columns are left out. Numbers are never broken. A last line says
    what is missing.

    Args:
        table: The table.
        display: The terminal.
    """
    columns = [_Fitted(column, [row[i] for row in table.rows], display) for i, column in _of(table)]
    shown = _fit(columns, display.width or _UNBOUNDED)
    found = RichTable(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), expand=False
    )
    for column in shown:
        found.add_column(
            Text(column.heading),
            justify="left" if column.column.left else "right",
            width=column.width,
            no_wrap=not column.column.prose,
        )
    for number in range(len(table.rows)):
        last_of_part = table.second == number + 1
        style = _STYLES[table.styles[number] if table.styles else ""]
        found.add_row(
            *(Text(c.cells[number]) for c in shown), style=style, end_section=last_of_part
        )
    return [*_rendered(found, display), *_missing(columns, shown, display)]


def terminal_text(lines: Iterable[str], display: Display, style: str = "") -> list[str]:
    """Wrap lines of text between words; a word that is wider than the terminal stays whole.

    Args:
        lines: The lines.
        display: The terminal.
        style: What the lines mean, such as "title", "legend" or "warning".
    """
    wrapped = [
        part
        for line in lines
        for part in textwrap.wrap(
            escape_control_characters(line),
            display.width or _UNBOUNDED,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [""]
    ]
    return [line for part in wrapped for line in _rendered(Text(part, _STYLES[style]), display)]


def shortened(name: str, width: int) -> str:
    """Shorten a name in the middle, so that its beginning and its end stay readable.

    Args:
        name: The name.
        width: The largest number of columns.

    Example:
        >>> shortened("/features/features.18/features.18.2/Clip_output_0", 24)
        '/features/...ip_output_0'
    """
    if cell_len(name) <= width:
        return name
    room = max(0, width - 3)
    head, tail = room - (room + 1) // 2, (room + 1) // 2
    while cell_len(name[:head]) + cell_len(name[-tail:]) > room and tail > 1:
        head, tail = max(0, head - 1), tail - 1
    return f"{name[:head]}...{name[-tail:]}"


class _Fitted:
    """A column whose heading, names and width can be changed.

    Args:
        column: The column.
        cells: Its cells.
        display: The terminal.
    """

    def __init__(self, column: Column, cells: Sequence[str], display: Display) -> None:
        self.column = column
        self.heading = escape_control_characters(column.heading)
        self.cells = [escape_control_characters(cell) for cell in cells]
        self.shortened = False
        self.width = self._needed()

    def wrap_heading(self) -> None:
        """Wrap the heading to the width of the cells, or of its longest word."""
        widest = max(map(cell_len, [*self.cells, *self.heading.split()]), default=0)
        lines = textwrap.wrap(self.heading, max(1, widest), break_long_words=False)
        self.heading = "\n".join(lines)
        self.width = self._needed()

    def shorten(self, width: int) -> None:
        """Shorten the names in the middle, to a width."""
        self.shortened = self.shortened or any(cell_len(cell) > width for cell in self.cells)
        self.cells = [shortened(cell, width) for cell in self.cells]
        self.width = self._needed()

    def _needed(self) -> int:
        return max(map(cell_len, [*self.cells, *self.heading.split("\n")]), default=0)


def _of(table: Table) -> list[tuple[int, Column]]:
    return list(enumerate(table.columns))


def _fit(columns: Sequence[_Fitted], width: int) -> list[_Fitted]:
    """Make a table fit, and return the columns that are shown."""
    shown = list(columns)

    def excess() -> int:
        widths = (c.width if not c.column.prose else min(c.width, _PROSE) for c in shown)
        return sum(widths) + _GAP * (len(shown) - 1) - width

    if excess() > 0:
        for column in shown:
            column.wrap_heading()
    for shortest in (_NAME, _SHORTEST_NAME):
        for column in shown:
            if excess() > 0 and column.column.names:
                column.shorten(max(shortest, column.width - excess()))
        while excess() > 0 and any(column.column.drop for column in shown):
            shown.remove(max(shown, key=lambda column: column.column.drop))
    _share([column for column in shown if column.column.prose], -excess())
    return shown


def _share(prose: Sequence[_Fitted], spare: int) -> None:
    """Wrap sentences to equal widths; what short ones do not need goes to longer ones.

    Args:
        prose: The columns of sentences.
        spare: Columns of the terminal that are free if none of them is wider than `_PROSE`;
            negative if too few.
    """
    for place, column in enumerate(sorted(prose, key=lambda one: one.width)):
        planned = min(column.width, _PROSE)
        share = spare // (len(prose) - place)
        column.width = min(column.width, max(_NARROW_PROSE, planned + share))
        spare -= column.width - planned


def _missing(columns: Sequence[_Fitted], shown: Sequence[_Fitted], display: Display) -> list[str]:
    left_out = [" ".join(c.heading.split()) for c in columns if c not in shown]
    what = [f"Left out at {display.width} columns: {', '.join(left_out)}."] if left_out else []
    if any(column.shortened for column in shown):
        what.append("Long names are shortened.")
    if not what:
        return []
    line = f"{' '.join(what)} A wider terminal or `| cat` shows everything."
    return terminal_text([line], display, "legend")


def _rendered(content: RenderableType, display: Display) -> list[str]:
    stream = io.StringIO()
    console = Console(
        file=stream,
        force_terminal=True,
        force_jupyter=False,
        color_system="standard" if display.color else None,
        no_color=not display.color,
        width=_UNBOUNDED,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(content, overflow="ignore", crop=False)
    return [line.rstrip() for line in stream.getvalue().splitlines()]
