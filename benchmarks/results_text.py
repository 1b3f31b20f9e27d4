"""The text of docs/results/results.md: tables of all models, and what stands out, in words."""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import adcc_onnx as adcc
from adcc_onnx.statistics.rank_correlation import kendall_tau_matrix

_COLUMNS = ["adcc", "average_drop", "average_increase", "coherency", "complexity"]
_SAME = 1e-5  # difference of ADCC that is rounding
_WIDTH = 100


@dataclass(frozen=True)
class ModelScores:
    """The measurements of one model.

    Attributes:
        family: The ADCC family, with rankings and tests.
        curves: Insertion and deletion of some of the methods; None if not measured.
    """

    family: adcc.EvaluationResult
    curves: adcc.EvaluationResult | None

    def adcc_of(self, method: str) -> float:
        """Return the ADCC of a method, NaN if it was not measured."""
        found = self.family.methods.get(method)
        return found.scores.get("adcc", np.nan) if found else np.nan

    @property
    def best(self) -> str:
        """The method with the best ADCC."""
        return self.family.ranked[0][0]

    @property
    def best_control(self) -> str:
        """The control with the best ADCC."""
        return self.family.ranked[1][0]


_PIXEL_METHODS = ("saliency", "inputxgradient")
_ALMOST_ALL = 80  # percent of the probability
_INTRODUCTION = """
This page shows how faithful the methods are on {models} published ImageNet classifiers and {images}
photos, one of every tenth class. `benchmarks/results_page.py` measures everything and writes this
page; nothing on it is edited by hand.
"""
_SETTINGS = """
Measured until {date}, the last runs at commit {commit}, with adcc-onnx {version}, onnxruntime
{onnxruntime}, Python {python}, {machine}. The class is the predicted one, the layer is the default
layer, and the protocol is poppi2021. Scores are in percent, and brackets are 95 % confidence
intervals over the photos.
"""
_MARKS = """
Bold: the best method of the model. †: not significantly worse than the best. ‡: not significantly
better than the best control (paired permutation tests, Holm-corrected, 95 %). Italic: controls,
which do not depend on the model. A dash: not measured; the method takes from several minutes to
more than an hour for {images} photos on the machine.
"""
_CURVES = """
Both curves have 28 steps. Deletion replaces pixels by the mean color, and insertion starts from the
blurred photo.
"""
_AGAIN = """
DATA is a folder with `models/`, `photos/` and `labels.csv`. An interrupted run continues where it
stopped.
"""
_COMMANDS = """```sh
python benchmarks/results_page.py run DATA runs/
python benchmarks/results_page.py page runs/ > docs/results/results.md
```"""


def page(settings: dict[str, str], models: Sequence[ModelScores]) -> str:
    """Return the page."""
    images = models[0].family.images
    parts = [
        "# Results on real models",
        paragraph(_INTRODUCTION.format(models=len(models), images=images)),
        paragraph(_SETTINGS.format(**settings)),
        "## What stands out",
        "\n".join(bullet(sentence) for sentence in observations(models)),
        "## ADCC of all methods",
        adcc_table(models),
        paragraph(_MARKS.format(images=images)),
        *itertools.chain.from_iterable(model_section(model) for model in models),
    ]
    if any(model.curves for model in models):
        parts += ["## Insertion and deletion", paragraph(_CURVES), curves_table(models)]
    parts += ["## Measure it again", paragraph(_AGAIN), _COMMANDS]
    return "\n\n".join(parts)


def paragraph(text: str) -> str:
    """Wrap a paragraph as the other pages are."""
    words = " ".join(text.split())
    return textwrap.fill(words, _WIDTH, break_on_hyphens=False, break_long_words=False)


def bullet(text: str) -> str:
    """Wrap an item of a list."""
    wrapped = textwrap.wrap(
        text, _WIDTH, initial_indent="* ", subsequent_indent="  ", break_on_hyphens=False
    )
    return "\n".join(wrapped)


def observations(models: Sequence[ModelScores]) -> Iterator[str]:
    """Yield what stands out, one sentence or two each, from the numbers."""
    for observe in (_controls, _best, _equal, _low, _pixels, _order, _degenerate):
        yield from observe(models)


def _controls(models: Sequence[ModelScores]) -> Iterator[str]:
    scores = [100 * m.adcc_of("center") for m in models]
    yield (
        f"**A blob in the middle scores high.** The control `center` reaches an ADCC of "
        f"{min(scores):.1f} to {max(scores):.1f} without looking at the model, because a map that "
        "ignores the image has a coherency of 100, and most photos show their object in the middle."
    )
    counts = [
        f"{len(_better_than_control(m))} of {len(m.family.ranked[0])} on {m.family.model}"
        for m in models
    ]
    yield (
        "**Not every method beats the control.** Methods that are significantly better than the "
        f"best control: {listed(counts)}."
    )
    above = [m.family.model for m in models if m.adcc_of(m.best_control) >= m.adcc_of(m.best)]
    if above:
        yield f"On {listed(above)}, the best control scores higher than every method."
    random = [100 * m.adcc_of("random") for m in models]
    yield (
        f"**Noise is not zero.** The control `random` scores {min(random):.1f} to "
        f"{max(random):.1f}: an ADCC around 50 shows nothing."
    )


def _better_than_control(model: ModelScores) -> list[str]:
    worse = model.family.not_better_than_control or []
    return [name for name in model.family.ranked[0] if name not in worse]


def _best(models: Sequence[ModelScores]) -> Iterator[str]:
    tied: Counter[str] = Counter()
    for model in models:
        tied.update([model.best, *(model.family.not_significantly_worse or [])])
    methods = {name for model in models for name in model.family.ranked[0]}
    ranked = [(name, count) for name, count in tied.most_common() if name in methods]
    most = [name for name, count in ranked if count == ranked[0][1]]
    yield (
        "**No method is best everywhere.** Best by ADCC are "
        + listed(f"`{model.best}` on {model.family.model}" for model in models)
        + f". Most often among the best or not significantly worse: "
        f"{listed(f'`{name}`' for name in most)}, on {ranked[0][1]} of {len(models)} models."
    )


def _equal(models: Sequence[ModelScores]) -> Iterator[str]:
    def same(model: ModelScores, names: Sequence[str]) -> bool:
        values = [model.adcc_of(name) for name in names]
        return bool(np.ptp(values) < _SAME)

    family = ("gradcam", "xgradcam", "hirescam")
    found = [m.family.model for m in models if same(m, family)]
    if found:
        yield (
            "**Three names, one map.** `gradcam`, `xgradcam` and `hirescam` have the same score on "
            f"{listed(found)}, because these networks end in global average pooling and one "
            "linear layer."
        )


def _low(models: Sequence[ModelScores]) -> Iterator[str]:
    found = []
    for model in models:
        random = model.adcc_of("random")
        names = [n for n in model.family.ranked[0] if model.adcc_of(n) < random]
        if names:
            worst = min(names, key=model.adcc_of)
            lowest = f"{100 * model.adcc_of(worst):.1f}"
            which = f"lowest `{worst}` with {lowest}" if len(names) > 1 else lowest
            found.append(f"{listed(f'`{n}`' for n in names)} on {model.family.model} ({which})")
    if found:
        yield f"**Below noise.** These methods scored less than `random`: {'; '.join(found)}."


def _pixels(models: Sequence[ModelScores]) -> Iterator[str]:
    found = {
        (name, model.family.model): 100 * result.scores["average_drop"]
        for model in models
        for name in _PIXEL_METHODS
        if (result := model.family.methods.get(name)) is not None
    }
    if found and min(found.values()) > _ALMOST_ALL:
        names = dict.fromkeys(f"`{name}`" for name, _ in found)
        yield (
            f"**Maps of single pixels fail ADCC.** {listed(list(names))} lose "
            f"{min(found.values()):.1f} to {max(found.values()):.1f} % of the probability: a few "
            "bright pixels set the scale of the map, so the image times the map is almost black. "
            "Whether these pixels matter is another question, which insertion and deletion answer: "
            "they use only the order of the pixels."
        )


def _order(models: Sequence[ModelScores]) -> Iterator[str]:
    for metric in ("insertion", "deletion"):
        taus = [tau for m in models if (tau := _tau(m, metric)) is not None]
        if taus:
            low, high = (f"{end:+.2f}" for end in (min(taus), max(taus)))
            values = low if low == high else f"{low} to {high} (mean {np.mean(taus):+.2f})"
            where = "one model" if len(taus) == 1 else f"{len(taus)} models"
            yield (
                f"**ADCC and {metric}.** Kendall's tau between their rankings of the methods is "
                f"{values} on {where}; 1 is the same order and -1 the reverse."
            )


def _tau(model: ModelScores, metric: str) -> float | None:
    if model.curves is None:
        return None
    controls = set(model.family.ranked[1])
    names = [n for n in model.curves.methods if n in model.family.methods and n not in controls]
    values = [_curve(model, name, metric) for name in names]
    sign = -1 if metric == "deletion" else 1
    scores = np.array([[model.adcc_of(name) for name in names], [sign * v for v in values]])
    return float(kendall_tau_matrix(scores)[0, 1])


def _degenerate(models: Sequence[ModelScores]) -> Iterator[str]:
    found = [
        f"`{name}` on {m.family.model} ({result.degenerate})"
        for m in models
        for name, result in m.family.methods.items()
        if result.degenerate
    ]
    if found:
        yield f"**Constant maps**, which count with an ADCC of 0 for their photo: {listed(found)}."


def adcc_table(models: Sequence[ModelScores]) -> str:
    """Return the ADCC of every method (rows) on every model (columns), the best mean first."""
    names = list(dict.fromkeys(n for m in models for n in m.family.methods))
    controls = {n for m in models for n in m.family.ranked[1]}
    names.sort(key=lambda n: (n in controls, -np.nanmean([m.adcc_of(n) for m in models])))
    rows = [
        [f"*{n}*" if n in controls else n, *(_adcc_cell(m, n, controls) for m in models)]
        for n in names
    ]
    return table(["method", *(m.family.model for m in models)], rows)


def _adcc_cell(model: ModelScores, name: str, controls: set[str]) -> str:
    value = model.adcc_of(name)
    if np.isnan(value):
        return "-"
    text = f"{100 * value:.1f}"
    if name in controls:
        return text
    if name == model.best:
        text = f"**{text}**"
    elif name in (model.family.not_significantly_worse or []):
        text += "†"
    return text + ("‡" if name in (model.family.not_better_than_control or []) else "")


def model_section(model: ModelScores) -> Iterator[str]:
    """Yield the heading, the facts and the table of one model."""
    result = model.family
    yield f"## {result.model}"
    failed = f", {result.failed} failed" if result.failed else ""
    yield paragraph(
        f"Layer `{result.layer}`, top-1 accuracy {100 * (result.top1 or 0):.1f} % on these photos"
        f"{failed}."
    )
    report = adcc.render_report(result, format="markdown", columns=_COLUMNS)
    yield "\n".join(line for line in report.splitlines() if line.startswith("|"))


def curves_table(models: Sequence[ModelScores]) -> str:
    """Return insertion and deletion of every model that has them."""
    measured = [m for m in models if m.curves is not None]
    names = list(dict.fromkeys(n for m in measured for n in (m.curves.methods if m.curves else [])))

    def cells(metric: str) -> Callable[[str], list[str]]:
        return lambda name: [f"{100 * _curve(m, name, metric):.1f}" for m in measured]

    insertion, deletion = cells("insertion"), cells("deletion")
    rows = [
        [name, *(f"{i} / {d}" for i, d in zip(insertion(name), deletion(name), strict=True))]
        for name in names
    ]
    return table(["insertion ↑ / deletion ↓", *(m.family.model for m in measured)], rows)


def _curve(model: ModelScores, name: str, metric: str) -> float:
    assert model.curves is not None
    scores = model.curves.methods[name].scores if name in model.curves.methods else {}
    return next((value for key, value in scores.items() if key.startswith(metric)), np.nan)


def table(head: list[str], rows: Sequence[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def listed(names: Iterator[str] | Sequence[str]) -> str:
    """Join names as in a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
