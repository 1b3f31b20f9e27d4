"""The command line: `adcc-onnx COMMAND --help`.

Only Click is imported at the top: what a command needs, it imports when it runs.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from adcc_onnx import __version__
from adcc_onnx.errors import AdccError

if TYPE_CHECKING:
    from adcc_onnx.model import Model

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Group(click.Group):
    """Turns our errors into one line on standard error and a non-zero exit."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except AdccError as error:
            _stop(str(error), error.exit_code)
        except KeyboardInterrupt:
            _stop("interrupted", 130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="adcc-onnx")
def main() -> None:
    """Which class activation map explains your ONNX image classifier faithfully?"""


def model_options(command: _Command) -> _Command:
    """Options of every command that runs a model."""
    options = [
        click.option("--layer", help="Tensor, node or module path; default: found by itself."),
        click.option(
            "--preprocess",
            metavar="torch|tf|caffe|unit|CARD.toml",
            help="From pixels to tensors; default: the card model.toml beside model.onnx.",
        ),
        click.option("--size", metavar="HxW", help="Input size, where the model leaves it open."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1"),
        click.option("--batch-size", default="auto", show_default=True, metavar="auto|N"),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


@main.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--images", required=True, help="Folder, image, CSV `path[,label]`, or .npz.")
@click.option("--method", "methods", multiple=True, help="May be repeated; default: the paper's.")
@click.option("--metric", "metrics", multiple=True, help="May be repeated; default: ADCC's.")
@click.option("--protocol", default="poppi2021", show_default=True)
@click.option("--target", default="predicted", show_default=True, metavar="predicted|label|INDEX")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images.")
@click.option("--seed", default=0, show_default=True, help="Of everything drawn at random.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep the run: RUN.sqlite.")
@click.option("--resume", is_flag=True, help="Continue the run in --output.")
@model_options
def evaluate(
    models: tuple[str, ...],
    images: str,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    protocol: str,
    target: str,
    limit: int | None,
    seed: int,
    output: Path | None,
    resume: bool,
    **options: str | None,
) -> None:
    """Score methods on images and print the ranked table."""
    from adcc_onnx.api import describe_source, open_store
    from adcc_onnx.evaluation.plan import make_plan
    from adcc_onnx.evaluation.run import check, evaluate_into
    from adcc_onnx.images.sources import open_source
    from adcc_onnx.report import render

    if resume and output is None:
        raise click.UsageError("--resume needs the run to continue: -o RUN.sqlite")
    plan = make_plan(methods, metrics, target, protocol, seed)
    source = open_source(images, limit)
    loaded = [_load(path, options) for path in models]
    for model in loaded:
        check(model, source, plan)
    with open_store(output, resume) as store:
        for model in loaded:
            with _progress(model.name, len(source)) as advance:
                evaluate_into(store, model, source, plan, describe_source(images), advance)
        click.echo(render(store, "table"))
    if output is not None:
        click.echo(f"kept in {output}: adcc-onnx report {output} --format table|csv|json", err=True)


@main.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN.sqlite")
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json"]),
)
def report(run: Path, style: str) -> None:
    """Print a kept run."""
    from adcc_onnx.evaluation.store import Store
    from adcc_onnx.report import render

    with Store.open(run) as store:
        click.echo(render(store, style), nl=False)


@main.command()
@click.argument("model")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--layer", "layers", multiple=True, help="May be repeated; default: found by itself.")
@click.option(
    "--scores",
    default="logits",
    show_default=True,
    type=click.Choice(["logits", "probabilities"]),
    help="What is differentiated.",
)
@click.option("--size", metavar="HxW", help="Input size, where the model leaves it open.")
def expose(
    model: str, output: Path, layers: tuple[str, ...], scores: str, size: str | None
) -> None:
    """Write MODEL with its layers' activations and gradients as outputs.

    The new model has one more input, `target` (int64 [batch]; -1 is the predicted class), and two
    more outputs a layer, `LAYER.activation` and `LAYER.gradient`.
    """
    from adcc_onnx.graph.expose import expose as differentiate
    from adcc_onnx.graph.expose import save

    exposed = differentiate(model, layers, scores, _size(size))
    save(exposed, output)
    added = [value.name for value in exposed.graph.output if "." in value.name]
    click.echo(f"{output}: {', '.join(added[-2 * max(len(layers), 1) :])}")


@main.command()
def methods() -> None:
    """List the methods."""
    from adcc_onnx.cams.registry import list_methods

    for method in list_methods():
        click.echo(f"{method.name:18} {method.family:12} {method.summary}")


@main.command()
@click.option(
    "-o",
    "--output",
    default="adcc-demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures.",
)
def demo(output: Path) -> None:
    """The main job on a small built-in classifier and built-in images, offline."""
    from adcc_onnx.demo import run_demo

    run_demo(output, lambda total: _progress("demo", total), click.echo)


def _load(path: str, options: dict[str, str | None]) -> Model:
    """Load a model by the options of `model_options`, and say where it runs."""
    from adcc_onnx.model import load

    model = load(
        path,
        options["preprocess"],
        layer=options["layer"],
        size=_size(options["size"]),
        device=options["device"] or "auto",
        batch_size=_batch_size(options["batch_size"] or "auto"),
    )
    click.echo(f"{model.name}: {model.device.reason}", err=True)
    if not model.any_batch:
        click.echo(f"{model.name}: takes {model.batch} image(s) a run and no other batch", err=True)
    return model


def _size(given: str | None) -> tuple[int, int] | None:
    """`224` or `224x320` (height x width)."""
    if given is None:
        return None
    parts = given.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise click.UsageError(f"--size must be HxW in pixels, as 224x224, not '{given}'")
    return int(parts[0]), int(parts[-1])


def _batch_size(given: str) -> int | None:
    if given == "auto":
        return None
    if not given.isdigit() or int(given) < 1:
        raise click.UsageError(f"--batch-size must be auto or a whole number, not '{given}'")
    return int(given)


class _progress:  # noqa: N801 -- used as a context manager, as click.progressbar is
    """A bar with images per second and the time left, on standard error."""

    def __init__(self, label: str, total: int) -> None:
        self._label, self._total = label, total

    def __enter__(self) -> Callable[[int], None]:
        import time

        start, self._done = time.monotonic(), 0

        def rate(_: object) -> str:
            return f"{self._done / max(time.monotonic() - start, 1e-9):.1f} images/s"

        self._bar = click.progressbar(
            length=self._total,
            label=self._label,
            show_pos=True,
            show_eta=True,
            item_show_func=rate,
            file=sys.stderr,
        )
        self._bar.__enter__()
        return self._advance

    def _advance(self, images: int) -> None:
        self._done += images
        self._bar.update(images, current_item=images)

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__(None, None, None)


def _stop(message: str, code: int) -> NoReturn:
    click.echo(f"adcc-onnx: {message}", err=True)
    sys.exit(code)
