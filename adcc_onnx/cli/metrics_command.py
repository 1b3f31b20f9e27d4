"""The command `adcc-onnx metrics`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show, terminal_display

_EXAMPLE = """
adcc-onnx metrics
"""


@new_command("metrics", _EXAMPLE)
def command() -> None:
    """List the metrics.

    The table shows the name, the range, whether higher (arrow up) or lower (arrow down) is better,
    and a summary of each metric.
    """
    from adcc_onnx.metrics.metric_registry import list_metrics
    from adcc_onnx.report.table_layout import Column, Table
    from adcc_onnx.report.text_table import table_lines

    rows = [
        [
            metric.name,
            "{:g} to {:g}".format(*metric.value_range),
            "↑" if metric.higher_is_better else "↓",
            metric.summary,
        ]
        for metric in list_metrics()
    ]
    columns = [
        Column("metric", left=True),
        Column("range", left=True, drop=2),
        Column("better", left=True, drop=1),
        Column("summary", left=True, prose=True),
    ]
    show("\n".join(table_lines(Table(columns, rows), terminal_display())))
