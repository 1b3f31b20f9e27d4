"""The report of `adcc-onnx randomize` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from adcc_onnx.report.text_table import aligned_rows, safe
from adcc_onnx.studies.randomization import RandomizationStep


def randomization_to_text(steps: Sequence[RandomizationStep]) -> str:
    """Write one line per step, with one column per method: the similarity to the original maps."""
    methods = list(steps[0].similarity)
    rows = [
        [
            str(step.weights),
            safe(step.last_weight),
            *(f"{step.similarity[m]:+.2f}" for m in methods),
        ]
        for step in steps
    ]
    return (
        "\n".join(aligned_rows([["randomized weights", "down to", *methods], *rows], left=(1,)))
        + "\n"
    )


def randomization_to_json(steps: Sequence[RandomizationStep]) -> str:
    """Write the steps as JSON; equal runs give equal bytes."""
    return json.dumps({"steps": [asdict(step) for step in steps]}, indent=2) + "\n"
