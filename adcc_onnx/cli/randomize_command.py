"""The command `adcc-onnx randomize`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command, option
from adcc_onnx.cli.messages import notice, show, terminal_display
from adcc_onnx.cli.progress import progress_bar
from adcc_onnx.cli.shared_options import (
    COUNT,
    json_option,
    methods_option,
    model_argument,
    model_options,
    seed_option,
    source_options,
    target_option,
)
from adcc_onnx.evaluation.run_options import ModelOptions, SourceOptions

_EXAMPLE = """
adcc-onnx randomize net.onnx --images photos/ --preprocess torch
"""


@new_command("randomize", _EXAMPLE)
@model_argument
@source_options()
@methods_option(default=["gradcam"], help="Method to check; repeat it for several.")
@target_option(labels=False)
@option(
    "--steps",
    heading="Methods and metrics",
    default=8,
    type=COUNT,
    metavar="N",
    help="Number of steps; each one randomizes more weights, from the scores downwards.",
)
@seed_option
@model_options
@json_option
def command(
    model: str,
    source: SourceOptions,
    methods: tuple[str, ...],
    target: str,
    steps: int,
    seed: int,
    model_options: ModelOptions,
    as_json: bool,
) -> None:
    """Check that maps depend on the weights of a model.

    The weights are randomized step by step, from the scores downwards. The mean correlation with
    the original maps should fall towards 0; a method that stays near 1 does not depend on what the
    model has learned.
    """
    from adcc_onnx.api.measuring import randomize
    from adcc_onnx.report.randomization_report import randomization_to_json, randomization_to_text

    found = randomize(
        model, source.images, methods,
        target=target, steps=steps, labels=source.labels, truth=source.truth, limit=source.limit,
        sample=source.sample, cache_crops=source.cache_crops, seed=seed, bar=progress_bar,
        notify=notice, **model_options,
    )  # fmt: skip
    text = randomization_to_text(found, terminal_display())
    show(randomization_to_json(found) if as_json else text)
