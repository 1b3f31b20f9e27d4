"""Results as HTML: one self-contained file without scripts."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence

from adcc_onnx.report.result_rows import headline, notes, ranked_table
from adcc_onnx.report.text_table import safe
from adcc_onnx.results.curve_fractions import curve_fractions
from adcc_onnx.results.evaluation_result import EvaluationResult

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>adcc-onnx</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25em 0.8em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 2px solid; }
tr + tr td { border-top: 1px solid #ddd; }
svg { font: 12px system-ui, sans-serif; margin: 1em 2em 0 0; }
</style>
</head>
<body>
"""
_TAIL = "</body>\n</html>\n"

# Okabe and Ito's colors, which color-blind people can distinguish; further curves are dashed.
_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#b2a800")
_DASHES = ("none", "6 3", "2 2")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _LINE = 360, 220, 40, 40, 16  # pixels


def results_to_html(results: Sequence[EvaluationResult]) -> str:
    """Write a page with one table per run, and its mean curves below."""
    return "".join([_HEAD, *(line for result in results for line in _section(result)), _TAIL])


def _section(result: EvaluationResult) -> Iterator[str]:
    yield f"<section>\n<h2>{_text(headline(result))}</h2>\n<table>\n"
    table = ranked_table(result)
    for i, row in enumerate([table.header, *table.methods, *table.controls]):
        tag = "td" if i else "th"
        cells = "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in row)
        yield f"<tr>{cells}</tr>\n"
    yield "</table>\n"
    yield from (f"<p>{_text(note)}</p>\n" for note in notes(result))
    methods = result.methods
    for name in dict.fromkeys(name for method in methods.values() for name in method.curves):
        curves = {m: found.curves[name] for m, found in methods.items() if name in found.curves}
        yield from _chart(name, curves)
    yield "</section>\n"


def _chart(name: str, curves: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Draw scores against the fraction of replaced pixels, with a legend below."""
    top = max(max(curve) for curve in curves.values()) or 1.0
    height = _HEIGHT + _BOTTOM + _LINE * len(curves)
    yield f'<svg role="img" width="{_LEFT + _WIDTH + 10}" height="{height}">\n'
    yield f"<title>{_text(name)}</title>\n"
    yield f'<path d="M{_LEFT} 20V{_HEIGHT}H{_LEFT + _WIDTH}" fill="none" stroke="#888"/>\n'
    yield f'<text x="{_LEFT}" y="12">{_text(name)}: mean score</text>\n'
    for value, y in ((top, 24), (0.0, _HEIGHT)):
        yield f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end">{value:.2g}</text>\n'
    for fraction in (0.0, 0.5, 1.0):
        x, y = _LEFT + fraction * _WIDTH, _HEIGHT + 14
        yield f'<text x="{x:.0f}" y="{y}" text-anchor="middle">{fraction:.0%}</text>\n'
    for i, (method, curve) in enumerate(curves.items()):
        dash = _DASHES[i // len(_COLORS) % len(_DASHES)]
        stroke = f'stroke="{_COLORS[i % len(_COLORS)]}" stroke-dasharray="{dash}"'
        y = _HEIGHT + _BOTTOM + _LINE * i
        yield f'<polyline points="{_points(name, curve, top)}" fill="none" {stroke}/>\n'
        yield f'<path d="M{_LEFT} {y - 4}h24" {stroke}/>\n'
        yield f'<text x="{_LEFT + 32}" y="{y}">{_text(method)}</text>\n'
    yield "</svg>\n"


def _points(name: str, curve: Sequence[float], top: float) -> str:
    return " ".join(
        f"{_LEFT + _WIDTH * fraction:.1f},{_HEIGHT - (_HEIGHT - 20) * value / top:.1f}"
        for fraction, value in zip(curve_fractions(name, len(curve)), curve, strict=True)
    )


def _text(text: str) -> str:
    """Escape markup and control characters, which names from files may hold."""
    return html.escape(safe(text))
