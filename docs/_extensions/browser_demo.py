"""Sphinx extension that builds the browser demo and shows it in a page.

A page contains the directive `{browser-demo}`. Where onnxruntime-web is not installed
(`npm ci --ignore-scripts --prefix examples/browser-demo`), the page says so instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

FOLDER = Path(__file__).parents[2] / "examples" / "browser-demo"
PAGE = Path("_static", "browser-demo.html")
INSTALLED = FOLDER / "node_modules"


class BrowserDemo(Directive):
    """Shows the demo in a frame, with a link that opens it alone."""

    def run(self) -> list[nodes.Node]:
        """Return the frame, or a note where the demo was not built."""
        if not INSTALLED.is_dir():
            text = "onnxruntime-web was not installed when this site was built."
            return [nodes.note("", nodes.paragraph(text=text))]
        path = PAGE.as_posix()
        html = (
            f'<p><a href="{path}">Open the demo in a page of its own</a> (20 to 40 MB; the file '
            "can be saved and opened without a network).</p>"
            f'<iframe class="browser-demo" src="{path}" title="Browser demo" loading="lazy">'
            "</iframe>"
        )
        return [nodes.raw("", html, format="html")]


def build(app: Sphinx, error: Exception | None) -> None:
    """Write the page of the demo; with a MobileNet if the test data has one."""
    if error is not None or not INSTALLED.is_dir() or app.builder.format != "html":
        return
    command = [sys.executable, str(FOLDER / "build.py"), "-o", str(Path(app.outdir) / PAGE)]
    data = Path(os.environ.get("ADCC_TEST_DATA", "missing"))
    model = data / "models" / "mobilenet_v2.onnx"
    if model.is_file():
        command += ["--model", str(model), "--preprocess", "torch"]
        command += ["--labels", str(data / "synsets.txt")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and the build of the page."""
    app.add_directive("browser-demo", BrowserDemo)
    app.connect("build-finished", build)
    return {"parallel_read_safe": True}
