"""The options that several commands share, collected into typed groups."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from adcc_onnx.cli.completion import (
    complete_files,
    complete_layers,
    complete_methods,
    complete_metrics,
    complete_words,
)
from adcc_onnx.cli.grouped_command import option, with_options
from adcc_onnx.evaluation.run_options import (
    SAMPLES,
    DeviceOptions,
    ModelOptions,
    PlanOptions,
    SourceOptions,
)

_Callback = Callable[..., Any]
_Decorator = Callable[[_Callback], _Callback]

# `click.ParamType` is generic from Click 8.2 on; subscripting an older one is an error.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

_MEASURE = "Methods and metrics"
_STOPPING = "Early stopping"
FILE = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT = click.IntRange(min=1)


class _Size(_ParamType):
    """The text `224` or `224x320` (height x width) as a pair of integers."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"the size must be HxW in pixels, such as 224x224, not '{value}'", param, ctx)
        return int(parts[0]), int(parts[-1])


class _BatchSize(_ParamType):
    """The text `auto` or an integer; None stands for `auto`."""

    name = "auto|N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value in (None, "auto"):
            return None
        if isinstance(value, int):
            return value
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"the batch size must be 'auto' or an integer, not '{value}'", param, ctx)
        return int(value)


def _or_none(context: click.Context, parameter: click.Parameter, value: Sequence[Any]) -> Any:
    """Return None for an option that may be repeated and was not given."""
    return list(value) or None


model_argument = click.argument("model", shell_complete=complete_files)
seed_option = option(
    "--seed",
    heading=_MEASURE,
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Seed of all random numbers.",
)
json_option = option(
    "--json", "as_json", heading="Output", is_flag=True, help="Print JSON instead of text."
)


def layers_option(text: str) -> _Decorator:
    """Make the option `--layer`, which may be repeated.

    Args:
        text: What is done with the layers, and what a second one does.
    """
    return option(
        "--layer",
        "layers",
        heading="Model",
        shell_complete=complete_layers,
        multiple=True,
        metavar="NAME",
        callback=_or_none,
        help=f"{text}  [default: found automatically; `inspect` shows it]",
    )


layer_option = layers_option(
    "Layer to explain: a tensor, a node, a module path, or `input`; repeat it to fuse the maps of "
    "several layers."
)
fuse_option = option(
    "--fuse",
    heading="Model",
    default="mean",
    type=click.Choice(["mean", "max", "product"]),
    help="Rule that fuses the maps of several layers; product is RefineCAM.",
)
scores_option = option(
    "--scores",
    heading="Model",
    default="logits",
    type=click.Choice(["logits", "probabilities", "log-probabilities", "rest"]),
    help="Scores that are differentiated; rest is the logit plus the log-probability.",
)
scores_output_option = option(
    "--scores-output",
    heading="Model",
    metavar="NAME",
    help="Model output with the class scores.  [default: found automatically]",
)
preprocess_option = option(
    "--preprocess",
    "preprocessing",
    heading="Model",
    shell_complete=complete_words("torch", "tf", "caffe", "unit", "raw", files=True),
    metavar="torch|tf|caffe|unit|raw|CARD.toml",
    help="Preset or card of the preprocessing; raw is RGB 0..255, the default of models that "
    "take uint8 pixels.  [default: the card next to the model]",
)
device_option = option(
    "--device",
    heading="Device",
    shell_complete=complete_words("auto", "cpu", "cuda", "tensorrt", "openvino"),
    default="auto",
    metavar="NAME",
    help="Device: auto, cpu, cuda, cuda:1, tensorrt, openvino, ...",
)
labels_option = option(
    "--labels",
    heading="Images",
    type=FILE,
    metavar="FILE",
    help="File of image labels; see docs/reference/sources.md.",
)
size_option = option(
    "--size",
    heading="Model",
    type=_Size(),
    metavar="HxW",
    help="Input size in pixels, for a model that leaves it open or takes flattened pixels.",
)


def _inputs(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> Any:
    """Convert `NAME=VALUE` texts to the values of inputs; None if there are none."""
    from adcc_onnx.graph.classifier.fixed_inputs import parse_input

    return dict(parse_input(text) for text in value) or None


set_option = option(
    "--set",
    "set_inputs",
    heading="Model",
    multiple=True,
    metavar="NAME=VALUE|FILE.npy",
    callback=_inputs,
    help="Value of an input other than the image, for all images: a number, true, false, a list "
    "such as 1,2.5, or an array file; repeat it for several inputs.",
)


def images_option(default: str | None = None, required: bool = True) -> _Decorator:
    """Make the option `--images`.

    Args:
        default: The images if the option is not given.
        required: Whether the option is required without a default.
    """
    return option(
        "--images",
        heading="Images",
        shell_complete=complete_files,
        # Click takes an explicit default of None for a value.
        **({"required": required} if default is None else {"default": default}),
        metavar="SOURCE",
        help="Folder, image, list or table of paths and labels, .npz, .tar, .parquet, shards "
        "such as {00..49}.tar, or drawings:COUNT@SEED.",
    )


def force_option(text: str) -> _Decorator:
    """Make the option `--force` of a command.

    Args:
        text: The help text.
    """
    return option("--force", heading="Output", is_flag=True, help=text)


def out_option(text: str, kind: click.Path = FILE, **settings: Any) -> _Decorator:
    """Make the option `-o, --out` of a command.

    Args:
        text: The help text.
        kind: `FILE` or `FOLDER`.
        **settings: Further settings of the option.
    """
    return option("-o", "--out", heading="Output", type=kind, help=text, **settings)


def methods_option(**settings: Any) -> _Decorator:
    """Make the option `--method`, which may be repeated.

    Args:
        **settings: Further settings of the option, such as the default and the help text.
    """
    return option(
        "--method",
        "methods",
        heading=_MEASURE,
        shell_complete=complete_methods,
        multiple=True,
        metavar="NAME",
        **settings,
    )


def metrics_option(text: str) -> _Decorator:
    """Make the option `--metric`, which may be repeated.

    Args:
        text: The help text.
    """
    return option(
        "--metric",
        "metrics",
        heading=_MEASURE,
        shell_complete=complete_metrics,
        multiple=True,
        metavar="NAME",
        help=text,
    )


def target_option(labels: bool = True, aliases: Sequence[str] = ()) -> _Decorator:
    """Make the option `--target`.

    Args:
        labels: Whether the images may have labels.
        aliases: Hidden names of the option.
    """
    words = "predicted|label|INDEX|NAME" if labels else "predicted|INDEX|NAME"
    return option(
        "--target",
        "target",
        heading=_MEASURE,
        default="predicted",
        metavar=words,
        aliases=aliases,
        help="Class to explain: the predicted class, "
        + ("the image's label, " if labels else "")
        + "or a class by its index or name.",
    )


_DEVICE_OPTIONS = [
    device_option,
    option(
        "--precision",
        heading="Device",
        default="auto",
        metavar="auto|fp32|fp16|bf16|int8",
        help="Precision: auto is the model's own, with TF32 products on CUDA; bf16 (by OpenVINO) "
        "and int8 are for CPUs.",
    ),
    option(
        "--batch-size",
        heading="Device",
        default="auto",
        type=_BatchSize(),
        metavar="auto|N",
        help="Number of images per run; auto measures which one is fastest before a long run.",
    ),
    option(
        "--cuda-graph",
        heading="Device",
        is_flag=True,
        help="Record the runs of full batches as CUDA graphs and replay them.",
    ),
]
_MODEL_OPTIONS = [
    layer_option,
    fuse_option,
    preprocess_option,
    option(
        "--decode",
        heading="Model",
        type=click.Choice(["full", "reduced"]),
        help="Decoding of large JPEG files: full, or reduced (faster, at a lower resolution).  "
        "[default: as in the card, or full]",
    ),
    size_option,
    set_option,
    scores_option,
    scores_output_option,
    option(
        "--custom-ops",
        heading="Model",
        multiple=True,
        metavar="LIBRARY",
        help="Library of custom operators. It runs with your rights, so you must trust it.",
    ),
    *_DEVICE_OPTIONS,
]


def device_options(callback: _Callback) -> _Callback:
    """Add the options of the device alone; the callback gets them as `device_options`."""
    names = DeviceOptions.__annotations__
    return _collected(callback, "device_options", DeviceOptions, names, _DEVICE_OPTIONS)


def model_options(callback: _Callback) -> _Callback:
    """Add the options of commands that run a model; the callback gets them as `model_options`."""
    names = ModelOptions.__annotations__
    return _collected(callback, "model_options", ModelOptions, names, _MODEL_OPTIONS)


_TRUTH = option(
    "--truth",
    heading="Images",
    type=FILE,
    metavar="PATH",
    help="Boxes or masks of the objects: a folder of Pascal VOC or PNG files, or a COCO JSON file.",
)


def source_options(
    default: str | None = None, required: bool = True, truth: bool = True
) -> _Decorator:
    """Add the options of the images; the callback gets them as `source`.

    Args:
        default: The images if `--images` is not given; it is required if None.
        required: Whether `--images` is required without a default.
        truth: Whether the images may have ground truth.
    """
    options = [
        images_option(default, required),
        labels_option,
        *([_TRUTH] if truth else []),
        option(
            "--limit",
            heading="Images",
            type=COUNT,
            metavar="N",
            show_default="all images",
            help="Maximum number of images.",
        ),
        option(
            "--sample",
            heading="Images",
            default="first",
            type=click.Choice(SAMPLES),
            help="Images that are taken under --limit; stratified samples are drawn by label.",
        ),
        option(
            "--cache-crops",
            heading="Images",
            type=FOLDER,
            metavar="DIR",
            help="Folder that keeps the decoded and cropped images, so that later runs decode "
            "nothing.",
        ),
    ]
    names = [field.name for field in fields(SourceOptions)]
    return lambda callback: _collected(callback, "source", SourceOptions, names, options)


_PLAN_OPTIONS = [
    methods_option(
        help="Method with its options, such as gradcam or 'smoothgradcam++(n=4)'; repeat it "
        "for several.  [default: the paper's six methods]"
    ),
    metrics_option(
        "Metric with its options, such as adcc or 'deletion(steps=56)'; repeat it for "
        "several.  [default: ADCC and its parts]"
    ),
    option(
        "--maps",
        heading=_MEASURE,
        multiple=True,
        type=FOLDER,
        metavar="DIR",
        help="Maps that another tool made, one .npy file per image.",
    ),
    option(
        "--second-maps",
        heading=_MEASURE,
        multiple=True,
        type=FOLDER,
        metavar="DIR",
        help="Maps of the explanation maps x * M (needed for coherency and ADCC).",
    ),
    option(
        "--controls/--no-controls",
        heading=_MEASURE,
        default=True,
        help="Also run the controls random and center, which do not depend on the model.",
    ),
    option(
        "--protocol",
        heading=_MEASURE,
        shell_complete=complete_words("poppi2021", "openvino"),
        default="poppi2021",
        metavar="poppi2021|openvino",
        help="Protocol: whether masks multiply the input tensor or the raw image.",
    ),
    option(
        "--fill",
        heading=_MEASURE,
        metavar="zero|black",
        help="Values of masked pixels.  [default: as in the protocol]",
    ),
    option(
        "--baseline",
        heading=_MEASURE,
        metavar="zero|blur|mean",
        help="Baseline of insertion and deletion.  [default: blur for insertion, zero for "
        "deletion]",
    ),
    option(
        "--steps",
        heading=_MEASURE,
        type=COUNT,
        metavar="N",
        show_default="224",
        help="Number of steps of insertion and deletion.",
    ),
    target_option(),
    seed_option,
    option(
        "--thumbnails/--no-thumbnails",
        heading=_MEASURE,
        default=True,
        help="Store thumbnails and small maps in the run, which HTML reports show.",
    ),
    option(
        "--until",
        heading=_STOPPING,
        metavar="certain|width=W",
        help="Stop when the best method is certain for the whole dataset, or when the intervals "
        "of all methods are at most W wide; with ',images=N' after it, after N images at the "
        "latest.  [default: evaluate all images]",
    ),
    option(
        "--margin",
        heading=_STOPPING,
        type=float,
        metavar="X",
        show_default="0.005",
        help="Largest difference of two scores that counts as equivalent.",
    ),
    option(
        "--alpha",
        heading=_STOPPING,
        type=float,
        metavar="P",
        show_default="0.05",
        help="Highest probability of a wrong verdict, or of an interval that misses the score.",
    ),
    option(
        "--keep-all",
        heading=_STOPPING,
        is_flag=True,
        help="Compute methods that are certainly worse until the end.",
    ),
    option(
        "--anchor",
        heading="Cost",
        type=COUNT,
        metavar="N",
        help="Evaluate N random images also in float32, to correct the scores of a cheaper "
        "--precision.",
    ),
]


def plan_options(callback: _Callback) -> _Callback:
    """Add the options of methods and metrics; the callback gets them as `plan`."""
    names = [field.name for field in fields(PlanOptions)]
    return _collected(callback, "plan", PlanOptions, names, _PLAN_OPTIONS)


def _collected(
    callback: _Callback,
    group: str,
    kind: Callable[..., Any],
    names: Iterable[str],
    options: Sequence[_Decorator],
) -> _Callback:
    """Add options to a command, whose values the callback gets as one object.

    Args:
        callback: The command's function.
        group: The name of the callback's argument.
        kind: The class of the object.
        names: The names of the options that belong to it.
        options: The options.
    """

    @functools.wraps(callback)
    def collecting(**given: Any) -> Any:
        values = {name: given.pop(name) for name in list(names) if name in given}
        return callback(**given, **{group: kind(**values)})

    return with_options(cast(_Callback, collecting), options)
