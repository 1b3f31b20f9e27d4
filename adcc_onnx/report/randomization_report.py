"""What `randomize` prints for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from adcc_onnx.report.text_table import aligned_rows, safe
from adcc_onnx.studies.randomization import RandomizationStep


def to_text(steps: Sequence[RandomizationStep]) -> str:
    """One line a step, a column a method: the similarity with the sound model's maps."""
    methods = list(steps[0].similarity)
    rows = [
        [str(step.weights), safe(step.lowest), *(f"{step.similarity[m]:+.2f}" for m in methods)]
        for step in steps
    ]
    return "\n".join(aligned_rows([["weights", "down to", *methods], *rows], left=(1,))) + "\n"


def to_json(steps: Sequence[RandomizationStep]) -> str:
    """The same for programs; equal runs give equal bytes."""
    return json.dumps({"steps": [asdict(step) for step in steps]}, indent=2) + "\n"
