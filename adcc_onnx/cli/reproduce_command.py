"""The command `adcc-onnx reproduce`."""

from __future__ import annotations

from pathlib import Path

import click

from adcc_onnx.cli.completion import complete_files, complete_words
from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.interruption import graceful
from adcc_onnx.cli.kept_runs import resume_hint, tell_kept
from adcc_onnx.cli.messages import notice, show, stop, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    device_options,
    json_option,
    out_option,
    seed_option,
    source_options,
)
from adcc_onnx.evaluation.run_options import DeviceOptions, SourceOptions

_SETTINGS = "Published settings"
_EXAMPLE = """
adcc-onnx reproduce --list
adcc-onnx reproduce shapleycam2024 --images ilsvrc/val --network mobilenetv2
adcc-onnx reproduce poppi2021 --images val/ --network vgg16 --model vgg.onnx
"""


@new_command("reproduce", _EXAMPLE)
@click.argument(
    "publication",
    required=False,
    metavar="[PUBLICATION]",
    shell_complete=complete_words(
        "shapleycam2024", "poppi2021", "reciprocam", "vitcam", "openvino", "cape"
    ),
)
@source_options(required=False, truth=False)
@option(
    "--list",
    "listing",
    heading=_SETTINGS,
    is_flag=True,
    help="List the publications, or what PUBLICATION contains.",
)
@option(
    "--network",
    "networks",
    heading=_SETTINGS,
    multiple=True,
    metavar="NAME",
    help="Network of the publication; repeat it for several.  [default: all of them]",
)
@option(
    "--method",
    "methods",
    heading=_SETTINGS,
    multiple=True,
    metavar="NAME",
    help="Published method; repeat it for several.  [default: all that adcc-onnx has]",
)
@option(
    "--metric",
    "metrics",
    heading=_SETTINGS,
    multiple=True,
    metavar="NAME",
    help="Published score; repeat it for several.  [default: all but deletion and insertion]",
)
@option(
    "--at",
    heading=_SETTINGS,
    type=click.Choice(["before pooling", "last convolution", "first activation"]),
    help="Published layer.  [default: all of them]",
)
@option(
    "--scores",
    heading=_SETTINGS,
    type=click.Choice(["logits", "log-probabilities", "rest"]),
    help="Published scores that are differentiated.  [default: all of them]",
)
@option(
    "--model",
    heading="Model",
    metavar="FILE",
    shell_complete=complete_files,
    help="ONNX file of the network.  [default: exported from its framework, and kept in the cache "
    "folder]",
)
@option(
    "--weights",
    heading="Model",
    default="default",
    metavar="default|FILE",
    help="Weights of the export: the framework's download, or their file.",
)
@option(
    "--layer",
    heading="Model",
    metavar="NAME",
    help="Name of the published layer in the file.  [default: found by its place in the graph]",
)
@option(
    "--preprocess",
    "preprocessing",
    heading="Model",
    metavar="torch|tf|caffe|unit|raw|CARD.toml",
    help="Preset or card of the preprocessing.  [default: the card next to the model, or torch]",
)
@seed_option
@device_options
@out_option("SQLite file that keeps the runs.  [default: a file in the cache folder]")
@option("--resume", heading="Output", is_flag=True, help="Continue the runs in the --out file.")
@json_option
def command(
    publication: str | None,
    source: SourceOptions,
    listing: bool,
    networks: tuple[str, ...],
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    at: str | None,
    scores: str | None,
    model: str | None,
    weights: str,
    layer: str | None,
    preprocessing: str | None,
    seed: int,
    device_options: DeviceOptions,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Measure published scores on your own machine.

    Protocol, explained class, layer and differentiated score are set as in the publication. The
    table shows each published score, the measured one with its confidence interval, and whether
    the published score lies inside. A part of the published images is enough for a first check.
    """
    from adcc_onnx.api.reproducing import reproduce
    from adcc_onnx.published.scores import published_rows
    from adcc_onnx.report.reproduction_report import (
        published_to_json,
        published_to_text,
        reproductions_to_json,
        reproductions_to_text,
    )
    from adcc_onnx.runtime.cache_folder import new_cached_run

    display = terminal_display()
    if listing:
        rows = published_rows(publication, networks)
        show(published_to_json(rows) if as_json else published_to_text(rows, display))
        return
    if publication is None or source.images is None:
        raise click.UsageError("give PUBLICATION and --images; --list shows the publications")
    if resume and out is None:
        raise click.UsageError("--resume needs the file of the runs to continue: -o RUN.sqlite")
    kept = new_cached_run() if out is None else out
    with resume_hint(kept, named=out is not None):
        found = reproduce(
            publication, source.images, networks,
            model=model, weights=weights, methods=methods, metrics=metrics, at=at, scores=scores,
            layer=layer, preprocessing=preprocessing, labels=source.labels, limit=source.limit,
            sample=source.sample, cache_crops=source.cache_crops, seed=seed, out=kept,
            resume=resume, bar=progress_bar, notify=notice, graceful=graceful, **device_options,
        )  # fmt: skip
    try:
        text = reproductions_to_text(found, display)
        show(reproductions_to_json(found) if as_json else text)
    finally:
        tell_kept(kept, out)
    if not any(one.images for one in found):
        stop("nothing was measured", 1)
