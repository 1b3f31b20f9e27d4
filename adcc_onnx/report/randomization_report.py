"""The report of `adcc-onnx randomize` as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import table_lines
from adcc_onnx.studies.randomization import RandomizationStep


def randomization_to_text(steps: Sequence[RandomizationStep], display: Display = PLAIN) -> str:
    """Write one line per step, with one column per method: the similarity to the original maps.

    Args:
        steps: The steps.
        display: Where the text is shown.
    """
    methods = list(steps[0].similarity)
    rows = [
        [
            str(step.weights),
            step.last_weight,
            *(f"{step.similarity[m]:+.2f}" for m in methods),
        ]
        for step in steps
    ]
    columns = [
        Column("randomized weights"),
        Column("down to", left=True, names=True, drop=1),
        *(
            Column(method, drop=number + 2 if number else 0)
            for number, method in enumerate(methods)
        ),
    ]
    return "".join(f"{line}\n" for line in table_lines(Table(columns, rows), display))


def randomization_to_json(steps: Sequence[RandomizationStep]) -> str:
    """Write the steps as JSON; equal runs give equal bytes."""
    return json.dumps({"steps": [asdict(step) for step in steps]}, indent=2) + "\n"
