"""Results as HTML: one file with its own styles, scripts and data, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from adcc_onnx import __version__
from adcc_onnx.report.html.chart_data import chart_data
from adcc_onnx.report.html.run_section import definitions, overview, run_section
from adcc_onnx.report.score_text import score_title
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.run_details import RunDetails, run_details

_LIBRARIES = ("vendor/d3.min.js", "vendor/plot.min.js")
_SCRIPTS = (*_LIBRARIES, "assets/charts.js", "assets/gallery.js", "assets/page.js")


def results_to_html(results: Sequence[EvaluationResult]) -> str:
    """Write a page with all results.

    Args:
        results: The results.

    Returns:
        The page. Its content security policy allows no network and no other script than its own.
    """
    details = [run_details(result) for result in results]
    return _fill(results, details)


def _fill(results: Sequence[EvaluationResult], details: Sequence[RunDetails]) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("adcc_onnx.report.html"), autoescape=True, trim_blocks=True
    )
    scripts = [_asset(name) for name in _SCRIPTS]
    numbered = list(zip(results, details, strict=True))
    charts = [chart_data(f"run-{i}", *one) for i, one in enumerate(numbered)]
    confidence = results[0].resampling.confidence if results else 0.95
    ranked = [result.ranking for result in results if result.ranking is not None]
    return environment.get_template("report.html").render(
        policy=_policy(scripts),
        style=Markup(_asset("assets/report.css")),
        scripts=[Markup(script) for script in scripts],
        charts=[Markup(_script_json(data)) for data in charts],
        runs=[run_section(f"run-{i}", *one) for i, one in enumerate(numbered)],
        overview=overview(results),
        overview_score=score_title(ranked[0].score) if ranked else "",
        definitions=definitions(results),
        confidence=f"{100 * confidence:.3g} %",
        version=__version__,
    )


def _asset(name: str) -> str:
    return files("adcc_onnx.report.html").joinpath(name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Return a policy that allows the page's own scripts by their hashes, and nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


def _script_json(data: dict[str, Any]) -> str:
    """Write JSON that cannot end or open an element, whatever names from files hold."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
