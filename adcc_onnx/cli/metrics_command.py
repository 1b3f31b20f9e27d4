"""The command `adcc-onnx metrics`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show

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
    from adcc_onnx.report.text_table import aligned_rows

    rows = [
        [
            metric.name,
            "{:g} to {:g}".format(*metric.value_range),
            "↑" if metric.higher_is_better else "↓",
            metric.summary,
        ]
        for metric in list_metrics()
    ]
    header = ["metric", "range", "better", "summary"]
    show("\n".join(aligned_rows([header, *rows], left=(0, 1, 2, 3))))
