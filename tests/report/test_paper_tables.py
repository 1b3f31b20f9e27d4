"""Tables in LaTeX and Markdown: exact text, marks, columns, captions, and hostile names."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.stored_runs import three_methods, write_run

import adcc_onnx as adcc
from adcc_onnx.errors import OptionError
from adcc_onnx.report.markdown_format import escape_markdown
from adcc_onnx.report.paper_table import TableLayout
from adcc_onnx.report.rendering import render
from adcc_onnx.results.store import Store

HOSTILE = "<b>|a*b_c`[x](http://y.z) www.a.b\\input{x}$%#&~^\x1b[31m\n"


def gradcam_and_others(images: int = 60) -> Store:
    """`gradcam++` and `layercam` differ by noise, `gradcam` is worse, and so is the control."""
    store, found = Store.create(None), three_methods(images)
    values = {"gradcam": found["bad"], "gradcam++": found["alike"], "layercam": found["good"]}
    write_run(store, {**values, "center": found["bad"]}, controls=["center"], model="net_1")
    return store


def test_latex_is_exactly_this() -> None:
    layout = TableLayout(["adcc", "coherency"], r"Results \cite{x}", "tab:one")
    text = render([gradcam_and_others()], "latex", layout=layout)
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    number = r"\d+\.\d"
    interval = rf" {{\\footnotesize \[{number}, {number}\]}}"
    patterns = [
        r"\\begin{table}", r"\\centering", r"\\caption{Results \\cite{x}}", r"\\label{tab:one}",
        r"\\begin{tabular}{lrr}", r"\\toprule",
        r"Method & ADCC \$\\uparrow\$ & Coherency \$\\uparrow\$ \\\\", r"\\midrule",
        rf"{{Grad-CAM\+\+}} & \\textbf{{{number}}}{interval} & .*{number}.* \\\\",
        rf"{{LayerCAM}} & {number}\$\^{{\\dagger}}\${interval} & .*{number}.* \\\\",
        rf"{{Grad-CAM}} & {number}\$\^{{\\ddagger}}\${interval} & {number} \\\\",
        r"\\midrule", rf"{{Center}} & {number}{interval} & {number} \\\\",
        r"\\bottomrule", r"\\end{tabular}",
        r"\\par\\smallskip{\\footnotesize Scores in percent.*\$\\dagger\$: .*\\par}",
        r"\\end{table}",
    ]  # fmt: skip
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    # One method per column is the best, and its ties are not bold.
    assert text.count(r"\textbf") == 2


def test_the_marks_are_those_of_the_ranking_of_each_column() -> None:
    from helpers.markdown_tables import parse_table

    from adcc_onnx.results.evaluation_result import evaluation_results
    from adcc_onnx.results.ranking import method_values, rank

    store = gradcam_and_others()
    (result,) = evaluation_results(store)
    header, *rows = parse_table(render([store], "markdown"))
    names = {"Grad-CAM++": "gradcam++", "LayerCAM": "layercam", "Grad-CAM": "gradcam"}
    for column, score in enumerate(result.score_definitions.values(), start=1):
        if score.name == "average_increase":
            continue  # 0 for all methods
        ranking = rank(method_values(result.stored_run), score, result.resampling)
        assert ranking is not None and header[column].endswith(("↑", "↓"))
        ties = ranking.not_significantly_worse(0.95)
        for row in rows:
            if row[0] in names:
                name = names[row[0]]
                assert row[column].startswith("**") == (name == ranking.best), (row, score.name)
                assert ("†" in row[column]) == (name in ties)
                value = float(re.findall(r"-?\d+\.\d", row[column])[0])
                assert value == pytest.approx(
                    100 * result.methods[name].scores[score.name], abs=0.051
                )


def test_columns_are_selected_in_order_and_unknown_ones_are_errors() -> None:
    from helpers.markdown_tables import parse_table

    store = gradcam_and_others()
    text = render([store], "markdown", layout=TableLayout(["complexity", "adcc"], "**Mine**"))
    assert parse_table(text)[0] == ["Method", "Complexity ↓", "ADCC ↑"]
    assert text.startswith("**Mine**\n\nModel net\\_1 · 60 images")
    with pytest.raises(OptionError, match="no score 'adc'; did you mean 'adcc'"):
        render([store], "latex", layout=TableLayout(["adc"]))
    with pytest.raises(OptionError, match="'adcc' is given twice"):
        render([store], "latex", layout=TableLayout(["adcc", "adcc"]))
    with pytest.raises(OptionError, match="label: 'a}b'"):
        TableLayout(label="a}b")


def test_layouts_belong_to_the_two_formats(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.sqlite") as store:
        write_run(store, three_methods(5))
    run = tmp_path / "run.sqlite"
    with pytest.raises(OptionError, match="options of the formats latex and markdown"):
        adcc.render_report(run, columns=["adcc"])
    with pytest.raises(OptionError, match="label is an option of the format latex"):
        adcc.render_report(run, format="markdown", label="x")


@pytest.mark.parametrize("style", ["latex", "markdown"])
def test_tables_hold_no_times(style: str) -> None:
    text = render([gradcam_and_others()], style)
    assert "time" not in text and " ms" not in text
    assert text == render([gradcam_and_others()], style)


def hostile_store() -> Store:
    store, found = Store.create(None), three_methods(12)
    names = [HOSTILE, "[x*", "plain"]
    write_run(store, dict(zip(names, found.values(), strict=True)), model=HOSTILE, layer=HOSTILE)
    return store


def test_hostile_names_stay_text_in_markdown() -> None:
    from helpers.markdown_tables import parse_table, rendered_html

    text = render([hostile_store()], "markdown")
    rows = parse_table(text, plain=True)
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert {row[0] for row in rows} == {"Method", shown, "[x*", "plain"}
    html = rendered_html(text)
    assert "<a " not in html and "<code>" not in html and "<b>" not in html


def test_hostile_names_compile_in_latex(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    layout = TableLayout(caption="Scores", label="tab:x")
    table = render([hostile_store(), gradcam_and_others()], "latex", layout=layout)
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "a.tex").write_text(f"{head}{table}\\end{{document}}\n", "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "a.pdf").exists()


def test_several_runs_are_one_latex_table_with_groups() -> None:
    text = render([gradcam_and_others(), gradcam_and_others()], "latex")
    assert text.count(r"\begin{tabular}") == 1
    assert text.count(r"\multicolumn{7}{l}{\emph{net\_1}} \\") == 2


def test_markdown_is_escaped_only_where_needed() -> None:
    assert escape_markdown("Grad-CAM++ (n=4): 5.0") == "Grad-CAM++ (n=4): 5.0"
    assert escape_markdown("https://x www.y a|b") == "https\\://x www\\.y a\\|b"


def test_one_image_has_no_marks() -> None:
    store = Store.create(None)
    write_run(store, {"gradcam": np.full((3, 1), 0.5), "layercam": np.full((3, 1), 0.4)})
    text = render([store], "markdown")
    assert "†" not in text and "**" not in text
