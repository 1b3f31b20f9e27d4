"""The command `adcc-onnx methods`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show, terminal_display

_EXAMPLE = """
adcc-onnx methods
"""


@new_command("methods", _EXAMPLE)
def command() -> None:
    """List the methods.

    The table shows the name, the family, the number of passes through the model per image, and a
    summary of each method. A pass with backward computes the gradient at the layer, one with full
    backward the gradient at the image, and a suffix is the part of the model after the layer. A
    channel is active if it is not constant.
    """
    from adcc_onnx.cams.method_registry import list_methods
    from adcc_onnx.report.table_layout import Column, Table
    from adcc_onnx.report.text_table import table_lines

    rows = [[method.name, method.family, method.cost, method.summary] for method in list_methods()]
    columns = [
        Column("method", left=True),
        Column("family", left=True, drop=1),
        Column("passes per image", left=True, drop=2),
        Column("summary", left=True, prose=True),
    ]
    show("\n".join(table_lines(Table(columns, rows), terminal_display())))
