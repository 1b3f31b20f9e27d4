"""The command `adcc-onnx benchmark`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import notice, show
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    COUNT,
    json_option,
    methods_option,
    metrics_option,
    model_argument,
    model_options,
)
from adcc_onnx.evaluation.run_options import ModelOptions

_EXAMPLE = """
adcc-onnx benchmark resnet50.onnx --method gradcam --device cuda
"""


@new_command("benchmark", _EXAMPLE)
@model_argument
@option(
    "--images",
    heading="Images",
    metavar="SOURCE",
    help="Images as for evaluate.  [default: 32 random tensors]",
)
@option(
    "--limit",
    heading="Images",
    type=COUNT,
    metavar="N",
    show_default="all images",
    help="Maximum number of images.",
)
@methods_option(default=["gradcam"], help="Method to measure; repeat it for several.")
@metrics_option("Metric to measure; repeat it for several.  [default: ADCC and its parts]")
@option(
    "--rounds",
    heading="Methods and metrics",
    default=5,
    type=COUNT,
    metavar="N",
    help="Number of measurements; the result is their median.",
)
@model_options
@json_option
def command(
    model: str,
    images: str | None,
    limit: int | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    rounds: int,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Measure the speed of an evaluation.

    The speed is compared with that of the raw onnxruntime passes that the evaluation needs. For
    another precision than float32, the deviation of every value from float32 is measured, too.
    """
    from adcc_onnx.api.measuring import benchmark
    from adcc_onnx.report.throughput_report import throughput_to_json, throughput_to_text

    found = benchmark(
        model, images, methods, metrics,
        limit=limit, rounds=rounds, bar=progress_bar, notify=notice, **model_options,
    )  # fmt: skip
    show(throughput_to_json(found) if as_json else throughput_to_text(found))
