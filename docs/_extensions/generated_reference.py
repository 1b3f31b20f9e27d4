"""Sphinx extension that writes the reference of the commands and of the Python functions.

A page contains a line `<!-- generated: NAME -->`, which is replaced by Markdown while the site is
built. The text is made of the help of the Click commands and of the public names of the package, so
that a new option or function is documented without further work.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

import adcc_onnx
from adcc_onnx.cli import main
from adcc_onnx.cli.grouped_command import GroupedCommand


def commands() -> Iterator[str]:
    """Yield the lines of the reference of all commands."""
    group = click.Context(main, info_name="adcc-onnx")
    for name in main.list_commands(group):
        command = main.get_command(group, name)
        assert isinstance(command, GroupedCommand)
        context = click.Context(command, info_name=name, parent=group, show_default=True)
        yield from (
            f"## {name}",
            "",
            *marked_up(inspect.cleandoc(command.help or "")).split("\n"),
            "",
        )
        usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
        yield from ("```text", usage, "```", "")
        for heading, records in command.option_groups(context).items():
            yield from (f"**{heading}**", "")
            for names, text in records:
                yield from (f"`{names}`", f": {marked_up(' '.join(text.split()))}", "")
        yield from ("**Example**", "", "```sh", command.example.strip(), "```", "")


def marked_up(text: str) -> str:
    """The text of a help page as Markdown: options are code, and pages are links."""
    text = re.sub(r"(?<!`)([*_<>\[\]{}$])", r"\\\1", text)
    text = re.sub(r"docs/reference/([\w-]+)\.md", r"[\1](\1.md)", text)
    return re.sub(r"(?<![\w`-])--?[a-z][\w-]*", r"`\g<0>`", text)


def python_names() -> Iterator[str]:
    """Yield the lines of the reference of all public functions, classes and errors."""
    public = {n: getattr(adcc_onnx, n) for n in adcc_onnx.__all__ if not n.startswith("_")}
    kinds: dict[str, Callable[[Any], bool]] = {
        "Functions": inspect.isfunction,
        "Classes": lambda o: inspect.isclass(o) and not issubclass(o, Exception),
        "Errors and warnings": lambda o: inspect.isclass(o) and issubclass(o, Exception),
    }
    for title, belongs in kinds.items():
        yield from (f"## {title}", "")
        for name in [name for name, value in public.items() if belongs(value)]:
            yield from (f"### {name}", "", "```{eval-rst}")
            if title == "Functions":
                yield f".. autofunction:: adcc_onnx.{name}"
            else:
                yield f".. autoclass:: adcc_onnx.{name}"
                yield "   :members:" if title == "Classes" else "   :show-inheritance:"
            yield from ("```", "")


_GENERATED = {"commands": commands, "python": python_names}
_MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def insert_generated(app: Any, page: str, source: list[str]) -> None:
    """Replace the marker of a page, as a handler of Sphinx's event `source-read`."""

    def generated(marker: re.Match[str]) -> str:
        return "\n".join(_GENERATED[marker.group(1)]())

    source[0] = _MARKER.sub(generated, source[0])


def setup(app: Any) -> dict[str, bool]:
    """Connect the extension to Sphinx."""
    app.connect("source-read", insert_generated)
    return {"parallel_read_safe": True}
