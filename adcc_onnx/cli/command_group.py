"""The group of all commands, which imports a command only when it is used."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from adcc_onnx import __version__
from adcc_onnx.cli.interruption import Interruption
from adcc_onnx.cli.message_settings import MESSAGES
from adcc_onnx.cli.messages import (
    printed_warnings,
    show_traceback,
    show_usage_error,
    stop,
    tell,
)
from adcc_onnx.cli.standard_streams import standard_streams
from adcc_onnx.errors import AdccError, InterruptedRunError, did_you_mean

# Each command's summary; its module is NAME_command.py, which defines the function `command`.
_SUMMARIES = {
    "evaluate": "Score methods on images and print the ranked table.",
    "report": "Print the results of stored runs.",
    "export-run": "Write stored runs for Parquet, MLflow and other tools.",
    "merge": "Join runs on other images or with other methods.",
    "compare-models": "Compare two models of one task, layer by layer.",
    "explain": "Write overlays and maps of images.",
    "inspect": "Show the input, scores and layers of a model.",
    "check": "Find the preprocessing of a model on images.",
    "expose": "Add activations and gradients to a model's outputs.",
    "bake": "Add the heatmap of a method to a model's outputs.",
    "export": "Export a network of a training framework to ONNX.",
    "methods": "List the methods.",
    "metrics": "List the metrics.",
    "validate-metrics": "Test the metrics on images with known ground truth.",
    "randomize": "Check that maps depend on the weights of a model.",
    "reproduce": "Measure published scores on your own machine.",
    "benchmark": "Measure the speed of an evaluation.",
    "doctor": "Check the installation and suggest fixes.",
    "demo": "Run a demonstration on a built-in model and images.",
}

_FIRST_STEPS = (
    "adcc-onnx demo                                  see it work on a built-in model, offline",
    "adcc-onnx inspect MODEL.onnx                    what your model is and what can be explained",
    "adcc-onnx evaluate MODEL.onnx --images FOLDER   which method explains it best (--help: all)",
)
_WRONG_USAGE = 2  # the exit status


class CommandGroup(click.Group):
    """A group that imports its commands lazily and prints our errors on one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help page."""
        return list(_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command by its name.

        Args:
            ctx: The context of the group.
            cmd_name: The command's name.
        """
        if cmd_name not in _SUMMARIES:
            return None
        module = f"adcc_onnx.cli.{cmd_name.replace('-', '_')}_command"
        found: click.Command = importlib.import_module(module).command
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of the command line; without any, say what to do first."""
        if not args and not ctx.resilient_parsing:
            for line in _FIRST_STEPS:
                click.echo(line, file=sys.stderr)
            ctx.exit(_WRONG_USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of an invocation; a misspelled name gets a suggestion."""
        if args and args[0] not in _SUMMARIES and not args[0].startswith("-"):
            ctx.fail(f"there is no command '{args[0]}'{did_you_mean(args[0], _SUMMARIES)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their whole summaries."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line.

        Args:
            args: The words after the program's name; those of this process if None.
            prog_name: The program's name.
            complete_var: The environment variable of Click's shell completion.
            standalone_mode: Whether to print errors and to exit.
            **extra: Further arguments of Click.
        """
        MESSAGES.start(sys.argv[1:] if args is None else args)
        run: Callable[[], Any] = partial(
            super().main, args, prog_name, complete_var, False, **extra
        )
        if not standalone_mode:
            return run()
        with standard_streams():
            try:
                status = run()
            except click.ClickException as error:
                show_usage_error(error)
            except click.Abort:
                stop("interrupted", 130)
            except AdccError as error:
                show_traceback()
                stop(str(error), error.exit_code)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print errors on one line of standard error."""
        interruption = ctx.obj = Interruption()
        with interruption.handled():
            try:
                with printed_warnings(), details():
                    return super().invoke(ctx)
            except (InterruptedRunError, KeyboardInterrupt) as error:
                interruption.end(str(error) or "interrupted")
            except Exception as error:
                # Code in C may replace KeyboardInterrupt by an error of its own: an import of
                # Python that is interrupted while it fails ends with a TypeError.
                if interruption.raised:
                    interruption.end("interrupted")
                if not isinstance(error, AdccError):
                    raise
                show_traceback()
                stop(str(error), error.exit_code)


@contextmanager
def details() -> Iterator[None]:
    """Say under `--verbose`, after a command, in which versions and how long it ran."""
    start = time.perf_counter()
    try:
        yield
    finally:
        if MESSAGES.verbose:
            from adcc_onnx.cli.process_details import process_details

            seconds = round(time.perf_counter() - start, 3)
            fields = process_details()
            text = ", ".join(f"{name} {value}" for name, value in fields.items())
            tell("debug", f"{seconds} s; {text}", seconds=seconds, **fields)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="adcc-onnx", message="%(prog)s %(version)s")
def main() -> None:
    """Find out which class activation map explains your ONNX image classifier faithfully."""
