"""How messages are shown: `--quiet`, `--verbose`, `--log-format`, and the colors of a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

_LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3}


@dataclass
class MessageSettings:
    """The settings of the messages of one command.

    Attributes:
        quiet: Whether to show warnings and errors only.
        verbose: Whether to show details, too.
        as_json: Whether every message is a JSON object on one line.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def start(self, words: Sequence[str]) -> None:
        """Set everything to its default for a new command.

        Args:
            words: The words of the command line. Its format of messages counts even if they cannot
                be parsed, because a message will say so.
        """
        self.quiet = self.verbose = False
        given = " ".join(words).replace("=", " ")
        self.as_json = f"{LOG_FORMAT} json" in given

    def shows(self, level: str) -> bool:
        """Return whether messages of a level are shown: "debug", "info", "warning" or "error"."""
        lowest = "warning" if self.quiet else "debug" if self.verbose else "info"
        return _LEVELS[level] >= _LEVELS[lowest]


LOG_FORMAT = "--log-format"
MESSAGES = MessageSettings()


def json_line(level: str, message: str, **fields: Any) -> str:
    """Return a message as a JSON object on one line, in ASCII.

    Args:
        level: "debug", "info", "warning" or "error".
        message: The text.
        **fields: Further fields.

    Example:
        >>> json.loads(json_line("info", "done", images=3))["images"]
        3
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": now, "level": level, "message": message, **fields}, default=str)


def shows_colors(stream: TextIO) -> bool:
    """Return whether a stream gets colors.

    A terminal gets them unless its type is "dumb". The environment variable NO_COLOR switches them
    off; FORCE_COLOR switches them on, also for files and pipes.

    Args:
        stream: The stream.
    """
    forced = os.environ.get("FORCE_COLOR", "")
    if os.environ.get("NO_COLOR"):
        return False
    if forced:
        return forced != "0"
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns_of(stream: TextIO) -> int:
    """Return the number of columns of a terminal.

    Args:
        stream: The stream to the terminal.
    """
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"]) or 80
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
