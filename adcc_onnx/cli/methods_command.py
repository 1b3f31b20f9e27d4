"""The command `adcc-onnx methods`."""

from __future__ import annotations

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show

_EXAMPLE = """
adcc-onnx methods
"""


@new_command("methods", _EXAMPLE)
def command() -> None:
    """List the methods.

    The table shows the name, the family, the number of passes through the model per image, and a
    summary of each method.
    """
    from adcc_onnx.cams.method_registry import list_methods
    from adcc_onnx.report.text_table import aligned_rows

    rows = [[method.name, method.family, method.cost, method.summary] for method in list_methods()]
    header = ["method", "family", "passes per image", "summary"]
    show("\n".join(aligned_rows([header, *rows], left=(0, 1, 2, 3))))
