"""Comparison of methods and of runs, and runs that must not be compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.simulations import adcc_of_means
from helpers.stored_runs import three_methods, write_run
from scipy import stats

from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import OptionError, StoreError
from adcc_onnx.report.rendering import render_comparison
from adcc_onnx.results.comparison import compare_runs
from adcc_onnx.results.rows import ImageRow, ScoreRow
from adcc_onnx.results.store import Store
from adcc_onnx.statistics.resampling import Resampling


def store_of(**runs: dict[str, np.ndarray]) -> Store:
    store = Store.create(None)
    for model, values in runs.items():
        write_run(store, values, model=model, sha256=model)
    return store


def adcc(values: np.ndarray) -> float:
    return float(adcc_of_means(values.mean(axis=1)[:, None])[0, 0])


def test_differences_are_those_from_the_best_with_scipys_p() -> None:
    values = three_methods(25)
    (found,) = compare_runs([store_of(net=values)], resampling=Resampling(permutations=20_000))
    best = max(values, key=lambda name: adcc(values[name]))
    assert found.ranking.best == best and found.ranking.order[-1] == "bad"
    p = {}
    for name, versus in found.differences.items():
        assert versus.value == pytest.approx(adcc(values[name]) - adcc(values[best]))
        assert versus.interval is not None and versus.interval[0] < versus.value
        p[name] = _p_by_loop(values[name], values[best])
    # Holm's correction for three pairs, the smallest p-value first.
    first, second = sorted(p, key=lambda name: p[name])
    wanted = {first: min(1.0, 3 * p[first])}
    wanted[second] = min(1.0, max(wanted[first], 2 * p[second]))
    assert found.ranking.p_values == pytest.approx(wanted, abs=0.02)
    assert found.ranking.not_significantly_worse(0.95) == ["alike" if best == "good" else "good"]


def _p_by_loop(one: np.ndarray, other: np.ndarray, times: int = 5000) -> float:
    rng, extreme = np.random.default_rng(4), 0
    for _ in range(times):
        swap = rng.random(one.shape[1]) < 0.5
        a, b = np.where(swap, other, one), np.where(swap, one, other)
        extreme += abs(adcc(a) - adcc(b)) >= abs(adcc(one) - adcc(other)) - 1e-12
    return (1 + extreme) / (1 + times)


def test_rankings_agree_as_kendalls_tau_says_in_the_metrics_own_directions() -> None:
    values = three_methods(30)
    (found,) = compare_runs([store_of(net=values)])
    names = list(found.metrics)
    drop = [-v[0].mean() for v in values.values()]
    coherency = [v[1].mean() for v in values.values()]
    tau = found.agreement[names.index("average_drop"), names.index("coherency")]
    assert tau == pytest.approx(stats.kendalltau(drop, coherency).statistic)
    assert np.isnan(found.agreement[names.index("average_increase")]).all()


def test_interval_widths_and_the_images_for_one_point() -> None:
    (found,) = compare_runs([store_of(net=three_methods(160))])
    for by_size in found.interval_widths.values():
        assert list(by_size) == [20, 40, 80, 160]
        assert by_size[20] > by_size[160]
    width = found.interval_widths["good"][160]
    assert found.images_for_one_point["good"] == pytest.approx(160 * (width / 0.01) ** 2, abs=1)


def test_only_images_that_both_have_are_paired() -> None:
    values = three_methods(20)
    store = Store.create(None)
    run = store.begin({"model": "net", "methods": ["a", "b"], "metrics": ["coherency"]})
    images = [ImageRow(i, str(i), None, 1, 1, 0.5, None) for i in range(20)]
    scores = []
    for name, column, there in (("a", values["good"][1], 3), ("b", values["bad"][1], 5)):
        for i in range(20):
            reason = "no map" if i % there == 0 else None
            values_of = {} if reason else {"coherency": column[i]}
            scores.append(ScoreRow(i, name, False, reason, values_of))
    store.write(run, images, scores)
    (found,) = compare_runs([store])
    both = [i for i in range(20) if i % 3 and i % 5]
    assert found.differences["b"].images == len(both)
    wanted = (values["bad"] - values["good"])[1, both].mean()
    assert found.differences["b"].value == pytest.approx(wanted)


def test_models_are_compared_image_by_image_whatever_the_order() -> None:
    values = three_methods(40)
    names = [f"{i}.png" for i in range(40)]
    store = Store.create(None)
    write_run(store, {"gradcam": values["good"]}, names, model="one", sha256="1")
    back = {"gradcam": values["bad"][:, ::-1]}
    write_run(store, back, names[::-1], model="two", sha256="2", preprocessing={"scale": 1.0})
    one, two, both = compare_runs([store])
    assert (one.title, two.title, both.title) == ("one", "two", "all runs")
    assert both.ranking.order == ["one: gradcam", "two: gradcam"]
    found = both.differences["two: gradcam"]
    assert found.images == 40
    # Paired, the difference is nearly the same on every image: a narrow interval.
    assert found.interval is not None and np.ptp(found.interval) < 0.1
    assert both.ranking.p_values["two: gradcam"] < 0.001


def test_runs_of_one_model_in_several_stores_get_different_titles() -> None:
    stores = [Store.create(None) for _ in range(3)]
    for store, layer in zip(stores, ("early", "late", "late"), strict=True):
        write_run(store, {"gradcam": three_methods(10)["good"]}, layer=layer)
    titles = [found.title for found in compare_runs(stores)]
    assert titles == ["net at early", "net at late (1)", "net at late (2)", "all runs"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"protocol": "openvino"}, "protocol: 'poppi2021' and 'openvino'"),
        ({"seed": 3, "target": "label"}, "target: 'predicted' and 'label'; seed: 0 and 3"),
        ({"images": "other"}, "images: 'photos' and 'other'"),
        ({"preprocessing": {"scale": 1.0}}, "preprocessing: None and {'scale': 1.0}"),
    ],
)
def test_runs_of_different_things_are_refused(changed: dict, named: str) -> None:
    stores = [Store.create(None), Store.create(None)]
    write_run(stores[0], three_methods(5))
    write_run(stores[1], three_methods(5), **changed)
    with pytest.raises(StoreError) as error:
        compare_runs(stores)
    assert f"cannot be compared ({named})" in str(error.value)


def test_errors_say_why_runs_cannot_be_compared() -> None:
    with pytest.raises(StoreError, match="no run to compare"):
        compare_runs([Store.create(None)])
    empty = Store.create(None)
    empty.begin({"model": "net", "methods": ["a"], "metrics": ["adcc"]})
    with pytest.raises(StoreError, match="net: no image counts in adcc"):
        compare_runs([empty])
    with pytest.raises(OptionError, match="did you mean 'coherency'"):
        compare_runs([store_of(net=three_methods(3))], by="coherence")
    stores = [Store.create(None), Store.create(None)]
    write_run(stores[0], three_methods(3))
    write_run(stores[1], three_methods(3), names=["x", "y", "z"])
    with pytest.raises(StoreError, match="no image in common"):
        compare_runs(stores)
    with pytest.raises(OptionError, match="comparisons have no format 'latex'"):
        render_comparison(stores, "latex")


def test_one_image_compares_nothing_and_never_fails() -> None:
    store = store_of(net=three_methods(1))
    found = json.loads(render_comparison([store], "json"))["comparisons"][0]
    others = [method for name, method in found["methods"].items() if name != found["best"]]
    assert all(m["difference_interval"] is None and m["p_value"] == 1.0 for m in others)
    assert found["interval_widths"] == {"good": {}, "alike": {}, "bad": {}}
    table = render_comparison([store], "table")
    assert "nan" not in table.lower() and "[" not in table.split("difference:")[0]


def test_all_formats_agree() -> None:
    store = store_of(net=three_methods(40))
    record = json.loads(render_comparison([store], "json"))["comparisons"][0]
    rows = {r["method"]: r for r in csv.DictReader(io.StringIO(render_comparison([store], "csv")))}
    table = render_comparison([store], "table")
    for name, found in record["methods"].items():
        assert float(rows[name]["score"]) == found["score"]
        line = next(li for li in table.splitlines() if li.startswith(name))
        assert f"{100 * found['score']:.1f}" in line
        if name != record["best"]:
            assert float(rows[name]["difference_low"]) == found["difference_interval"][0]
            assert f"{round(100 * found['difference'], 1) + 0.0:+.1f} [" in line
    assert record["kendall_tau"]["average_increase"]["adcc"] is None
    assert render_comparison([store], "json") == render_comparison([store], "json")


def test_the_command(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a.sqlite", "b.sqlite")]
    for path, layer in zip(paths, ("early", "late"), strict=True):
        with Store.create(Path(path)) as store:
            write_run(store, three_methods(12), layer=layer)

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["report", *words])
        return result.exit_code, result.output

    assert len(json.loads(run(*paths, "--format", "json")[1])["runs"]) == 2
    code, text = run(*paths, "--compare", "--by", "coherency")
    assert code == 0 and "all runs · compared by Coherency ↑" in text
    assert run(paths[0], "--failures") == (0, "Nothing failed.\n")
    code, text = run(paths[0], "--confidence", "0.8", "--seed", "3")
    assert code == 0 and "80 % confidence interval" in text
    for style, start in (("html", "<!doctype html>"), ("latex", "% needs booktabs")):
        assert run(paths[0], "--format", style)[1].startswith(start)
    assert run(paths[0], "--compare", "--failures")[0] != 0
    assert run(paths[0], "--seed", "-1")[0] == run(paths[0], "--confidence", "1")[0] == 2
    assert "give both" in run(paths[0], "--by", "adcc")[1]
    code, text = run(paths[0], "--compare", "--format", "html")
    assert code != 0 and "comparisons have no format 'html'" in text
