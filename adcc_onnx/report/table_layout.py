"""What a table for people consists of, and where it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Display:
    """Where a text is shown.

    Attributes:
        width: Number of columns of the terminal; None for files and pipes, where nothing is left
            out, shortened or wrapped.
        color: Whether colors are shown.
    """

    width: int | None = None
    color: bool = False


PLAIN = Display()


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        heading: The heading.
        left: Whether the cells are aligned at the left.
        drop: When a narrow terminal leaves out the column: the highest number first, 0 never.
        names: Whether the cells are names, which a narrow terminal shortens in the middle.
        prose: Whether the cells are sentences, which a terminal wraps between words.
    """

    heading: str
    left: bool = False
    drop: int = 0
    names: bool = False
    prose: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: The columns.
        rows: The cells of each row.
        styles: The meaning of each row, which a terminal shows by a color: "best", "tied",
            "doubtful", "control" or "". No styles if empty.
        second: Index of the first row of the second part, which a line separates; None if the
            table has one part.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    styles: Sequence[str] = field(default=())
    second: int | None = None
