"""The command line: `adcc-onnx COMMAND --help`.

Only Click is imported at the top: what a command needs, it imports when it runs.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from adcc_onnx import __version__
from adcc_onnx.errors import AdccError, AdccWarning, InterruptedRunError

if TYPE_CHECKING:
    from adcc_onnx.evaluation.plan import Plan
    from adcc_onnx.images.sources.image_source import Source
    from adcc_onnx.model import Model

# Images from which on a few seconds of search for the fastest pace pay.
_WORTH_TUNING = 200

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Group(click.Group):
    """Turns our errors into one line on standard error and a non-zero exit."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with _spoken_warnings():
                return super().invoke(context)
        except AdccError as error:
            _stop(str(error), error.exit_code)
        except KeyboardInterrupt:
            _stop("interrupted", 130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="adcc-onnx")
def main() -> None:
    """Which class activation map explains your ONNX image classifier faithfully?"""


layer_option = click.option(
    "--layer",
    "layers",
    multiple=True,
    help="Tensor, node, module path or `input`; may be repeated. Default: found by itself.",
)
fuse_option = click.option(
    "--fuse",
    default="mean",
    show_default=True,
    type=click.Choice(["mean", "max"]),
    help="How maps of several layers become one.",
)
output_option = click.option(
    "--output", metavar="NAME", help="The model's output with the class scores."
)
seed_option = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of everything drawn at random.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
size_option = click.option(
    "--size", metavar="HxW", help="Input size, where the model leaves it open."
)


def model_options(command: _Command) -> _Command:
    """Options of every command that runs a model."""
    options = [
        layer_option,
        fuse_option,
        output_option,
        click.option(
            "--preprocess",
            metavar="torch|tf|caffe|unit|CARD.toml",
            help="From pixels to tensors; default: the card model.toml beside model.onnx.",
        ),
        click.option(
            "--decode",
            type=click.Choice(["full", "reduced"]),
            help="Large JPEGs whole, or faster at a part of their size; default: the card's.",
        ),
        size_option,
        click.option(
            "--device", default="auto", show_default=True, help="Also cpu, cuda, cuda:1, tensorrt."
        ),
        click.option(
            "--precision",
            default="auto",
            show_default=True,
            metavar="auto|fp32|fp16",
            help="auto: the model's own, with TF32 products on CUDA.",
        ),
        click.option(
            "--cuda-graph", is_flag=True, help="Record a full batch's run on the card, and replay."
        ),
        click.option("--batch-size", default="auto", show_default=True, metavar="auto|N"),
        click.option(
            "--custom-ops",
            multiple=True,
            metavar="LIBRARY",
            help="Load this library of custom operators: its code runs.",
        ),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


def source_options(command: _Command) -> _Command:
    """Options of every command that reads a source of images."""
    file = click.Path(path_type=Path)
    options = [
        click.option(
            "--images",
            required=True,
            help="Folder, image, CSV `path[,label]`, .npz, .tar, .parquet, or shards {00..49}.tar.",
        ),
        click.option("--labels", type=file, help="File of labels; see docs/sources.md."),
        click.option("--truth", type=file, help="Boxes or masks: VOC or PNG folder, COCO JSON."),
        click.option("--limit", type=click.IntRange(min=1), help="At most so many images."),
        click.option(
            "--sample",
            default="first",
            show_default=True,
            type=click.Choice(["first", "random", "stratified"]),
            help="Which ones: random and stratified (by label) ones are drawn by --seed.",
        ),
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


def plan_options(command: _Command) -> _Command:
    """Options that say what is measured, and how."""
    folder = click.Path(path_type=Path, file_okay=False)
    options = [
        click.option("--method", "methods", multiple=True, help="Default: the paper's six."),
        click.option("--metric", "metrics", multiple=True, help="Default: ADCC and its parts."),
        click.option("--maps", multiple=True, type=folder, help="Ready maps, one .npy an image."),
        click.option("--second-maps", multiple=True, type=folder, help="Those of x * M."),
        click.option("--protocol", default="poppi2021", show_default=True),
        click.option("--fill", help="Behind the mask: zero or black; default: the protocol's."),
        click.option("--baseline", help="Of insertion and deletion: zero, blur or mean."),
        click.option("--steps", type=click.IntRange(min=1), help="Of insertion and deletion."),
        click.option(
            "--target", default="predicted", show_default=True, metavar="predicted|label|INDEX"
        ),
        seed_option,
    ]
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


@main.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@source_options
@plan_options
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Keep the run: RUN.sqlite.")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--cluster", metavar="HOST:PORT|local[:N]", help="On many machines, by Ray.")
@click.option("--strict", is_flag=True, help="Exit with an error where any image failed.")
@model_options
def evaluate(
    models: tuple[str, ...],
    out: Path | None,
    resume: bool,
    cluster: str | None,
    strict: bool,
    **options: Any,
) -> None:
    """Score methods on images and print the ranked table.

    Metrics and methods may be repeated, and take options: `--metric "deletion(steps=56)"`.
    """
    from adcc_onnx.api import describe_source, open_store
    from adcc_onnx.evaluation.interruption import interruptible
    from adcc_onnx.evaluation.pipeline import check, evaluate_into
    from adcc_onnx.report.rendering import render

    if resume and out is None:
        raise click.UsageError("--resume needs the run to continue: -o RUN.sqlite")
    plan, source = _plan(options), _source(options)
    # On a cluster this process computes nothing.
    loaded = [_idle(path, options) if cluster else _load(path, options) for path in models]
    for model in loaded:
        check(model, source, plan)
    if cluster is None and len(source) >= _WORTH_TUNING:
        loaded = [_paced(model, plan, options) for model in loaded]
    described = describe_source(options["images"])
    with (
        _teams(cluster, options) as team,
        open_store(out, resume) as store,
        _said_how_to_resume(out),
        interruptible() as stop,
    ):
        for path, model in zip(models, loaded, strict=True):
            with (
                team(path, model, source, plan) as (recorded, begin),
                _progress(model.name, len(source)) as advance,
            ):
                evaluate_into(store, recorded, source, plan, described, advance, stop, begin)
        click.echo(render([store], "table"))
        failures = sum(len(run.failures) for run in store.runs()) if strict else 0
    if out is not None:
        click.echo(
            f"kept in {out}: adcc-onnx report {out} --format table|csv|json|html|latex", err=True
        )
    if failures:
        _stop(f"{failures} failures, and --strict allows none: report --failures lists them", 1)


@main.command()
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN.sqlite..."
)
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "html", "latex"]),
)
@click.option("--compare", is_flag=True, help="All methods against the best (table, csv, json).")
@click.option("--by", metavar="METRIC", help="What --compare compares by; default: adcc.")
@click.option("--failures", is_flag=True, help="Everything that failed (table, csv, json).")
@click.option(
    "--confidence",
    default=0.95,
    show_default=True,
    type=click.FloatRange(0.5, 0.99),
    help="Of intervals and tests.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Of the images drawn anew for these.",
)
def report(
    runs: tuple[Path, ...],
    style: str,
    compare: bool,
    by: str | None,
    failures: bool,
    confidence: float,
    seed: int,
) -> None:
    """Print kept runs, with intervals; methods that may be as good as the best are marked."""
    from contextlib import ExitStack

    from adcc_onnx.report.rendering import render, render_comparison, render_failures
    from adcc_onnx.results.store import Store
    from adcc_onnx.statistics.resampling import Resampling

    if compare and failures:
        raise click.UsageError("--compare and --failures are two reports: ask for one at a time")
    if by is not None and not compare:
        raise click.UsageError("--by says what --compare compares by: give both")
    how = Resampling(confidence, seed)
    with ExitStack() as opened:
        stores = [opened.enter_context(Store.open(path)) for path in runs]
        if compare:
            text = render_comparison(stores, style, by, how)
        elif failures:
            text = render_failures(stores, style)
        else:
            text = render(stores, style, how)
    click.echo(text, nl=False)


@main.command()
@click.argument(
    "parts", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN.sqlite..."
)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="A new file.")
def merge(parts: tuple[Path, ...], out: Path) -> None:
    """Join runs that were made apart: of other images, or under other methods."""
    from adcc_onnx.results.merging import merge_stores

    merge_stores(parts, out)
    click.echo(f"{out}: {len(parts)} runs joined")


@main.command()
@click.argument("model")
@click.option("--images", help="As for evaluate; default: 32 random tensors.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many images.")
@click.option("--method", "methods", multiple=True, default=["gradcam"], show_default=True)
@click.option("--metric", "metrics", multiple=True, help="Default: ADCC and its parts.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@json_option
@model_options
def benchmark(
    model: str,
    images: str | None,
    limit: int | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    rounds: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure an evaluation of MODEL against the raw onnxruntime passes that it needs.

    In another precision than float32, also how far every value is from that in float32.
    """
    from adcc_onnx.evaluation.pipeline import check
    from adcc_onnx.evaluation.plan import make_plan
    from adcc_onnx.images.sources.open_images import open_source
    from adcc_onnx.report.throughput_report import throughput_to_json, throughput_to_text
    from adcc_onnx.studies.throughput import measure_throughput, random_images

    plan = make_plan(methods, metrics)
    loaded = _paced(_load(model, options), plan, options)
    source = random_images(loaded, limit) if images is None else open_source(images, limit)
    check(loaded, source, plan)
    exact = None
    if options["precision"] == "fp16" or loaded.device.tf32:
        exact = _loading(model, {**options, "precision": "fp32"})(device=options["device"])
    with _progress(loaded.name, rounds) as advance:
        found = measure_throughput(loaded, source, plan, rounds, advance, exact)
    click.echo(throughput_to_json(found) if as_json else throughput_to_text(found), nl=False)


@main.command("validate-metrics")
@click.option(
    "--images",
    default="drawings:64",
    show_default=True,
    help="drawings:COUNT@SEED, or images with --truth.",
)
@click.option("--model", help="An ONNX file; default: the built-in classifier.")
@click.option("--method", "methods", multiple=True, help="Sound methods; the first is broken, too.")
@click.option("--metric", "metrics", multiple=True, help="Metrics to judge; default: all.")
@click.option("--against", default="best_iou", show_default=True, help="What tells the truth.")
@click.option("--truth", type=click.Path(path_type=Path), help="VOC or PNG folder, COCO JSON.")
@seed_option
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Keep the run: RUN.sqlite.")
@json_option
@model_options
def validate_metrics(
    model: str | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    against: str,
    seed: int,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge the metrics: do they order methods, and broken maps, as the truth does?"""
    from adcc_onnx.api import describe_source, open_store
    from adcc_onnx.drawings import classifier_path
    from adcc_onnx.evaluation.pipeline import check, evaluate_into
    from adcc_onnx.report.validation_report import validation_to_json, validation_to_text
    from adcc_onnx.statistics.resampling import Resampling
    from adcc_onnx.studies.metric_validation import assess_metrics, validation_plan

    plan, source = validation_plan(methods, metrics, seed), _source(options)
    loaded = _load(model or str(classifier_path()), options)
    check(loaded, source, plan)
    described = describe_source(options["images"])
    with open_store(out, False) as store, _progress(loaded.name, len(source)) as advance:
        run = evaluate_into(store, loaded, source, plan, described, advance)
        found = assess_metrics(store.run(run), plan, against, Resampling(seed=seed, replicates=500))
    click.echo(validation_to_json(found) if as_json else validation_to_text(found), nl=False)


@main.command()
@click.argument("model")
@source_options
@click.option("--method", "methods", multiple=True, default=["gradcam"], show_default=True)
@click.option("--target", default="predicted", show_default=True, metavar="predicted|INDEX")
@click.option("--steps", default=8, show_default=True, type=click.IntRange(min=1))
@seed_option
@json_option
@model_options
def randomize(
    model: str,
    methods: tuple[str, ...],
    target: str,
    steps: int,
    seed: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Check that maps change when MODEL's weights are drawn anew, from the scores downwards.

    The mean correlation with the sound model's maps should fall towards 0; a method that stays
    near 1 does not look at what the model has learned.
    """
    from adcc_onnx.evaluation.plan import make_plan
    from adcc_onnx.report.randomization_report import randomization_to_json, randomization_to_text
    from adcc_onnx.studies.randomization import randomization_check

    plan, source = make_plan(methods, target=target, seed=seed), _source({**options, "seed": seed})
    loaded = _load(model, options)
    with _progress(loaded.name, steps) as advance:
        found = list(randomization_check(loaded, source, plan, steps, advance))
    click.echo(randomization_to_json(found) if as_json else randomization_to_text(found), nl=False)


@main.command()
@click.argument("model")
@json_option
@output_option
@size_option
def inspect(model: str, as_json: bool, output: str | None, size: str | None) -> None:
    """Show MODEL's image, scores and layers, and which can be differentiated."""
    import json

    from adcc_onnx.graph.programs.inspection import inspect as look_at
    from adcc_onnx.report.inspection_report import inspection_to_text

    found = look_at(model, _size(size), output)
    click.echo(
        json.dumps(found, indent=2) + "\n" if as_json else inspection_to_text(found), nl=False
    )


@main.command()
@click.argument("model")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path))
@layer_option
@click.option(
    "--scores",
    default="logits",
    show_default=True,
    type=click.Choice(["logits", "probabilities"]),
    help="What is differentiated.",
)
@output_option
@size_option
def expose(
    model: str,
    out: Path,
    layers: tuple[str, ...],
    scores: str,
    output: str | None,
    size: str | None,
) -> None:
    """Write MODEL with its layers' activations and gradients as outputs.

    The new model has one more input, `target` (int64 [batch]; -1 is the predicted class), and two
    more outputs a layer, `LAYER.activation` and `LAYER.gradient`.
    """
    from adcc_onnx.graph.loading.saving import save
    from adcc_onnx.graph.programs.expose import expose_graph

    exposed = expose_graph(model, layers, scores, _size(size), output)
    added = [value.name or "" for value in exposed.graph.outputs][-2 * max(len(layers), 1) :]
    save(exposed, out)
    click.echo(f"{out}: {', '.join(added)}")


@main.command()
@click.argument("model")
@click.option("--method", default="gradcam", show_default=True)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path))
@click.option("--class", "target", type=int, help="Explain this class; default: the predicted.")
@layer_option
@fuse_option
@output_option
@size_option
def bake(
    model: str,
    method: str,
    out: Path,
    target: int | None,
    layers: tuple[str, ...],
    fuse: str,
    output: str | None,
    size: str | None,
) -> None:
    """Write MODEL with a method's heatmap as one more output, [batch, H, W] in [0, 1].

    The new model runs in any onnxruntime, with nothing of ours installed.
    """
    from adcc_onnx.api import bake_graph
    from adcc_onnx.graph.loading.saving import save

    options = {"fuse": fuse, "size": _size(size), "scores_output": output}
    save(bake_graph(model, method, layers, target, **options), out)
    click.echo(f"{out}: heatmap of {method}")


@main.command()
@click.argument("network", metavar="torchvision:NAME|keras:NAME")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Default: NAME.onnx.")
@click.option(
    "--weights",
    default="default",
    show_default=True,
    metavar="default|none|NAME|FILE",
    help="The framework's download, random ones, or a state dict or Keras file.",
)
def export(network: str, out: Path | None, weights: str) -> None:
    """Export a network of a training framework, with its card."""
    from adcc_onnx.exporting import export as run_recipe

    path = run_recipe(network, out, weights)
    click.echo(f"{path}, with its card {path.with_suffix('.toml').name}")


@main.command()
def methods() -> None:
    """List the methods: name, family, passes through the model an image, and what they do."""
    from adcc_onnx.cams.method_registry import list_methods
    from adcc_onnx.report.text_table import aligned_rows

    rows = [[m.name, m.family, m.cost, m.summary] for m in list_methods()]
    header = ["method", "family", "passes an image", "what it is"]
    click.echo("\n".join(aligned_rows([header, *rows], left=(0, 1, 2, 3))))


@main.command()
def metrics() -> None:
    """List the metrics: name, range, which end is better, and what they measure."""
    from adcc_onnx.metrics.metric_registry import list_metrics
    from adcc_onnx.report.text_table import aligned_rows

    rows = [
        [
            m.name,
            "{:g} to {:g}".format(*m.value_range),
            "↑" if m.higher_is_better else "↓",
            m.summary,
        ]
        for m in list_metrics()
    ]
    header = ["metric", "range", "better", "what it is"]
    click.echo("\n".join(aligned_rows([header, *rows], left=(0, 1, 2, 3))))


@main.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--method", "methods", multiple=True, default=["gradcam"], show_default=True)
@click.option("--class", "target", metavar="NAME|INDEX", help="Default: the predicted class.")
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line.")
@seed_option
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures and the raw maps.",
)
@model_options
def explain(
    model: str,
    images: tuple[str, ...],
    methods: tuple[str, ...],
    target: str | None,
    labels: Path | None,
    seed: int,
    out: Path,
    **options: Any,
) -> None:
    """Show what MODEL looks at: overlays (PNG) and maps (.npy) of images, or of folders of them."""
    from adcc_onnx.explanation.pictures import explain_images

    loaded = _load(model, options)
    if explain_images(loaded, images, methods, target, labels, out, seed, click.echo):
        sys.exit(1)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this installation: versions, devices, CUDA's libraries, and what would mend them."""
    from adcc_onnx.report.diagnosis_report import diagnosis_to_json, diagnosis_to_text
    from adcc_onnx.runtime.diagnosis import examine

    found = examine()
    click.echo(diagnosis_to_json(found) if as_json else diagnosis_to_text(found), nl=False)
    if found.problems:
        sys.exit(1)


@main.command()
@click.option(
    "-o",
    "--out",
    default="adcc-demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures.",
)
def demo(out: Path) -> None:
    """The main job on a small built-in classifier and built-in images, offline."""
    from adcc_onnx.studies.demonstration import run_demo

    run_demo(out, lambda total: _progress("demo", total), click.echo)


@contextmanager
def _said_how_to_resume(out: Path | None) -> Iterator[None]:
    """What an interrupted run says at its end."""
    try:
        yield
    except InterruptedRunError as error:
        kept = "nothing is kept without -o RUN.sqlite"
        if out is not None:
            kept = f"what was finished is kept in {out}: the same command with --resume continues"
        raise InterruptedRunError(f"{error}; {kept}") from None


@contextmanager
def _teams(cluster: str | None, options: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """What gives a model, as it is recorded, and what begins its work: here, or on a cluster."""
    if cluster is None:
        yield lambda path, model, source, plan: nullcontext((model, None))
        return
    from adcc_onnx.cluster.connection import connected
    from adcc_onnx.cluster.job import Job

    with connected(cluster, options["device"], _say) as joined:

        def team(path: str, *here: Any) -> Any:
            recipes = (_loading(path, options), _opening(options), _planning(options))
            return joined.worker_pool(Job(*recipes, Path.cwd()), *here)

        yield team


def _source(options: dict[str, Any]) -> Source:
    """The source of images that `source_options` name."""
    return _opening(options)()


def _opening(options: dict[str, Any]) -> Callable[[], Source]:
    from adcc_onnx.cluster.job import open_images

    sample = options.get("sample", "first")
    return functools.partial(
        open_images,
        options["images"],
        options.get("limit"),
        None if sample == "first" else options["seed"],
        sample == "stratified",
        options.get("labels"),
        options["truth"],
    )


def _plan(options: dict[str, Any]) -> Plan:
    """What `plan_options` ask for."""
    return _planning(options)()


def _planning(options: dict[str, Any]) -> Callable[[], Plan]:
    from adcc_onnx.cluster.job import plan_with_maps

    named = ("methods", "metrics", "target", "protocol", "seed", "fill", "baseline", "steps")
    given = {name: options[name] for name in named}
    return functools.partial(plan_with_maps, options["maps"], options["second_maps"], **given)


def _load(path: str, options: dict[str, Any]) -> Model:
    """Load a model by the options of `model_options`, and say where it runs."""
    model = _loading(path, options)(device=options["device"] or "auto")
    _say(f"{model.name}: {model.device.reason}")
    if not model.any_batch:
        _say(f"{model.name}: takes {model.batch} image(s) a run and no other batch")
    return model


def _idle(path: str, options: dict[str, Any]) -> Model:
    """A model that only others run."""
    return _loading(path, {**options, "cuda_graph": False})(device="cpu")


def _paced(model: Model, plan: Plan, options: dict[str, Any]) -> Model:
    """The model with the fastest run settings, unless the user chose a batch size."""
    from adcc_onnx.explanation.autotuned_model import autotuned

    if options["batch_size"] not in (None, "auto"):
        return model
    return autotuned(model, plan.needs, _say)


def _loading(path: str, options: dict[str, Any]) -> Callable[..., Model]:
    from adcc_onnx.model import load

    return functools.partial(
        load,
        path,
        options["preprocess"],
        decode=options["decode"],
        layers=options["layers"] or None,
        fuse=options["fuse"],
        scores_output=options["output"],
        size=_size(options["size"]),
        custom_ops=options["custom_ops"],
        precision=options["precision"],
        cuda_graph=options["cuda_graph"],
        batch_size=_batch_size(options["batch_size"] or "auto"),
    )


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


@contextmanager
def _spoken_warnings() -> Iterator[None]:
    """Our own warnings in a line on standard error, without the place in the code."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, AdccWarning):
                _say(f"adcc-onnx: {message}")
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _stop(message: str, code: int) -> NoReturn:
    _say(f"adcc-onnx: {message}")
    sys.exit(code)


def _say(text: str) -> None:
    """A line on standard error; names in it come from files that are not ours."""
    from adcc_onnx.report.text_table import safe

    click.echo(safe(text), err=True)
