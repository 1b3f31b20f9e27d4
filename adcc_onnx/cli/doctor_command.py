"""The command `adcc-onnx doctor`."""

from __future__ import annotations

import sys

from adcc_onnx.cli.grouped_command import new_command
from adcc_onnx.cli.messages import show
from adcc_onnx.cli.shared_options import json_option

_EXAMPLE = """
adcc-onnx doctor
"""


@new_command("doctor", _EXAMPLE)
@json_option
def command(as_json: bool) -> None:
    """Check the installation and suggest fixes.

    The versions of the packages, the CPU's instruction sets, the devices and CUDA's libraries are
    examined. The exit status is 1 if there is a problem.
    """
    from adcc_onnx.api.installation import doctor
    from adcc_onnx.report.diagnosis_report import diagnosis_to_json, diagnosis_to_text

    found = doctor()
    show(diagnosis_to_json(found) if as_json else diagnosis_to_text(found))
    if found.problems:
        sys.exit(1)
