"""What a result gives to Python: per-image values, and a short repr."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.stored_runs import (
    CONFIG,
    METRICS,
    per_image_run,
    three_methods,
    write_run,
)

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.results.evaluation_result import EvaluationResult, evaluation_results
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store

KEYS = [
    *("image", "label", "target", "predicted", "probability", "method"),
    *("average_drop", "coherency", "degenerate", "failure"),
]


def result_of(store: Store) -> EvaluationResult:
    (result,) = evaluation_results(store)
    return result


def test_records_have_one_row_per_image_and_method() -> None:
    with per_image_run() as store:
        rows = result_of(store).per_image(as_dataframe=False)
    assert [list(row) for row in rows] == [KEYS] * 5
    assert [list(row.values()) for row in rows] == [
        ["=a.png", 1, 1, 2, 0.75, "gradcam", 0.25, 0.5, True, None],
        ["=a.png", 1, 1, 2, 0.75, "fakecam", None, None, None, "the map holds NaN"],
        ["b.png", None, 3, 3, 0.5, "gradcam", 0.125, None, False, None],
        ["c.png", 4, None, None, None, "gradcam", None, None, None, "cut short"],
        ["c.png", 4, None, None, None, "fakecam", None, None, None, "cut short"],
    ]


def test_a_dataframe_holds_the_same_with_missing_values() -> None:
    pandas = pytest.importorskip("pandas")
    with per_image_run() as store:
        result = result_of(store)
    frame = result.per_image()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == KEYS
    assert frame["label"].dtype == "Int64" and frame["average_drop"].dtype == np.float64
    records = result.per_image(as_dataframe=False)
    for column in KEYS:
        found = [None if pandas.isna(value) else value for value in frame[column]]
        assert found == [record[column] for record in records]
    frame = evaluation_results(empty_run())[0].per_image(as_dataframe=True)
    assert len(frame) == 0 and list(frame.columns)[:2] == ["image", "label"]


def empty_run() -> Store:
    store = Store.create(None)
    store.begin(CONFIG)
    return store


def test_without_pandas_there_are_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with per_image_run() as store:
        result = result_of(store)
    assert result.per_image() == result.per_image(as_dataframe=False)
    with pytest.raises(OptionError, match="pip install pandas"):
        result.per_image(as_dataframe=True)


def test_per_image_values_are_those_that_the_scores_are_means_of(tmp_path: Path) -> None:
    """The result of `evaluate` and that of its store are the same."""
    model, path = adcc.load(classifier_path(), device="cpu"), tmp_path / "run.sqlite"
    result = adcc.evaluate(
        model, "drawings:3", ["gradcam", "center"], METRICS, controls=False, out=path
    )
    rows = result.per_image(as_dataframe=False)
    assert [row["image"] for row in rows[::2]] == ["2026-0", "2026-1", "2026-2"]
    assert all(row["target"] == row["predicted"] for row in rows)
    for name, method in result.methods.items():
        own = [row for row in rows if row["method"] == name]
        for metric in ("average_drop", "coherency", "complexity"):
            mean = np.mean([row[metric] for row in own])
            assert method.scores[metric] == pytest.approx(mean, abs=1e-12)
    with Store.open(path) as store:
        assert result_of(store).per_image(as_dataframe=False) == rows
        assert result_of(store).methods["center"].scores == result.methods["center"].scores


def test_the_repr_fits_on_a_few_lines() -> None:
    with Store.create(None) as store:
        run = store.begin(
            {**CONFIG, "metrics": ["coherency", "deletion"], "methods": list("abcdefg")}
        )
        store.write(
            run,
            [ImageRow(0, "0.png", None, 1, 1, 0.5, None)],
            [
                ScoreRow(0, m, False, None, {"coherency": i / 8, "deletion": 0.25}, 0.1)
                for i, m in enumerate("abcdefg")
            ],
        )
        assert repr(result_of(store)) == (
            "<EvaluationResult: net, 1 images, best method by coherency: g\n"
            "  g: coherency 0.75, deletion 0.25\n"
            "  f: coherency 0.625, deletion 0.25\n"
            "  e: coherency 0.5, deletion 0.25\n"
            "  d: coherency 0.375, deletion 0.25\n"
            "  c: coherency 0.25, deletion 0.25\n"
            "  and 2 more methods>"
        )
        assert repr(result_of(store).methods["a"]) == (
            "MethodResult(scores={'coherency': 0.0, 'deletion': 0.25}, degenerate=0, failed=0)"
        )
    assert "gradcam: no scores" in repr(result_of(empty_run()))


def test_equal_runs_give_equal_results() -> None:
    found = []
    for _ in range(2):
        with Store.create(None) as store:
            write_run(store, three_methods(4))
            found.append(result_of(store))
    assert found[0] == found[1]
