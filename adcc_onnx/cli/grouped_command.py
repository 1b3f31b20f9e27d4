"""A Click command whose help groups the options under headings and ends with an example."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from adcc_onnx.cli.message_settings import LOG_FORMAT, MESSAGES

_OTHER = "Other"


class GroupedOption(click.Option):
    """An option that belongs under a heading of the help page.

    Args:
        *args: The arguments of `click.Option`.
        heading: The heading.
        aliases: Further names of the option, which the help page does not show.
        **kwargs: The keywords of `click.Option`.
    """

    def __init__(
        self, *args: Any, heading: str = _OTHER, aliases: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__([*args[0], *aliases], *args[1:], **kwargs)
        self.heading, self._aliases = heading, aliases

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's line of the help page, without its aliases.

        Args:
            ctx: The context of the command.
        """
        names = self.opts
        self.opts = [name for name in names if name not in self._aliases]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the default and the range of the option, the default as it was written.

        Args:
            ctx: The context of the command.
        """
        extra: Any = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default  # without the brackets that Click adds
        return extra


class GroupedCommand(click.Command):
    """A command with grouped options and an example.

    Args:
        *args: The arguments of `click.Command`.
        example: The lines of the example.
        **kwargs: The keywords of `click.Command`.
    """

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.params += message_options()

    def option_groups(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the names and texts of the options by heading, in the order of their definition.

        Args:
            ctx: The context of the command.
        """
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = getattr(parameter, "heading", _OTHER)
                groups.setdefault(heading, []).append(record)
        return dict(sorted(groups.items(), key=lambda group: group[0] == _OTHER))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        for heading, records in self.option_groups(ctx).items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example as it is, without wrapping its lines."""
        if self.example:
            with formatter.section("Example"):
                for line in self.example.strip().splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def with_options(
    callback: Callable[..., Any], options: Sequence[Callable[[Any], Any]]
) -> Callable[..., Any]:
    """Add options to a command's function; help pages list them in their order.

    Args:
        callback: The function.
        options: The options as decorators.
    """
    added: Callable[..., Any] = functools.reduce(lambda f, add: add(f), reversed(options), callback)
    return added


def message_options() -> list[click.Parameter]:
    """Return the options of every command that say how messages are shown."""

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if parameter.name == "log_format":
            MESSAGES.as_json = value == "json"
        else:
            setattr(MESSAGES, str(parameter.name), value)
        if MESSAGES.quiet and MESSAGES.verbose:
            raise click.UsageError("--quiet and --verbose exclude each other", context)

    flags: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": keep}
    return [
        GroupedOption(
            ["-q", "--quiet"],
            heading="Messages",
            help="Print no progress and no notices, only warnings and errors.",
            **flags,
        ),
        GroupedOption(
            ["-v", "--verbose"],
            heading="Messages",
            help="Print details: versions, duration, memory, and the traceback of an error.",
            **flags,
        ),
        GroupedOption(
            [LOG_FORMAT],
            heading="Messages",
            default="text",
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=keep,
            help="Format of the messages on standard error; json is one object per line.",
        ),
    ]


def new_command(name: str, example: str) -> Callable[[Callable[..., Any]], GroupedCommand]:
    """Make a function a command; its docstring is the help text.

    Args:
        name: The command's name.
        example: The lines of the example.

    Returns:
        The decorator.
    """
    return click.command(
        name, cls=GroupedCommand, example=example, context_settings={"show_default": True}
    )


def option(*names: str, heading: str, **settings: Any) -> Callable[[Any], Any]:
    """Add an option under a heading.

    Args:
        *names: The option's names.
        heading: The heading.
        **settings: The settings of `click.option`.

    Returns:
        The decorator.
    """
    return click.option(*names, cls=GroupedOption, heading=heading, **settings)
