"""What an evaluation would take, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adcc_onnx.evaluation.durations import duration_text
from adcc_onnx.evaluation.evaluation_cost import EvaluationCost
from adcc_onnx.report.table_layout import PLAIN, Column, Display, Table
from adcc_onnx.report.text_table import safe, table_lines, text_lines


def costs_to_text(costs: Sequence[EvaluationCost], display: Display = PLAIN) -> str:
    """Write one block per model: the parts with their passes, the whole, and cheaper options.

    Args:
        costs: What the evaluation of each model takes.
        display: Where the text is shown.
    """
    return "\n".join("".join(f"{line}\n" for line in _block(cost, display)) for cost in costs)


def _block(cost: EvaluationCost, display: Display) -> Iterator[str]:
    runs = f", {cost.concurrent_runs} runs at a time" if cost.concurrent_runs > 1 else ""
    title = (
        f"{safe(cost.model)} on {cost.device}: {cost.images:,} images, {cost.batch_size} per run"
        f"{runs}"
    )
    yield from text_lines([title], display, "title")
    yield from table_lines(_parts(cost), display)
    bound = "at most" if cost.early_stopping else "in all"
    passes = cost.passes * (cost.images + cost.anchors)
    whole = (
        f"{cost.passes:,} passes per image, {passes:,} {bound}: about "
        f"{duration_text(cost.seconds)}; memory at least {cost.memory / 2**20:,.0f} MiB"
    )
    yield from text_lines([whole], display)
    if cost.anchors:
        anchors = (
            f"This includes {cost.anchors:,} images that are also evaluated in float32, each of "
            f"which takes {cost.anchor_factor:.2g} times as long there."
        )
        yield from text_lines([anchors], display)
    if cost.cheaper:
        yield from text_lines(["Cheaper:"], display)
        columns = [Column("option", left=True), Column("time"), Column("effect", True, prose=True)]
        rows = [
            [one.option, f"{'<= ' * one.at_most}{duration_text(one.seconds)}", one.effect]
            for one in cost.cheaper
        ]
        yield from table_lines(Table(columns, rows), display)


def _parts(cost: EvaluationCost) -> Table:
    columns = [
        Column("part", left=True, names=True), Column("passes per image"),
        Column("share of the time"),
    ]  # fmt: skip
    whole = sum(part.seconds for part in cost.parts) or 1.0
    rows = [
        [part.name, f"{part.passes:,}", f"{100 * part.seconds / whole:.1f} %"]
        for part in cost.parts
    ]
    return Table(columns, rows)
