"""Exports of runs, read back with the tools that they are written for."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.stored_runs import three_methods, write_run

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import AdccWarning, OptionError
from adcc_onnx.results.store import Store

HOSTILE = "a: b # 'c' \"d\" <e>\\ \x1b[31m\n- x 犬"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.sqlite"
    metrics = ["average_drop", "coherency", "complexity", "adcc", "deletion(steps=4)"]
    methods = ["gradcam", "gradcam++"]
    model = adcc.load(classifier_path(), device="cpu")
    adcc.evaluate(model, "drawings:5", methods, metrics, out=path)
    return path


def test_parquet_holds_the_values_of_every_image(run: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(adcc.export_run(run, tmp_path / "run.parquet", to="parquet"))
    (result,) = adcc.read_results(run)
    wanted = [{"model": "classifier", **row} for row in result.per_image(as_dataframe=False)]
    assert table.to_pylist() == wanted and len(wanted) == 5 * 4
    report = json.loads(table.schema.metadata[b"adcc_onnx"])
    scores = report["runs"][0]["methods"]["gradcam++"]
    assert scores["adcc"] == result.methods["gradcam++"].scores["adcc"]


def test_a_model_card_is_read_by_the_hub_library(run: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = adcc.export_run(run, tmp_path / "README.md", to="model-card")
    data = hub.ModelCard.load(path).data
    (result,) = adcc.read_results(run)
    assert data.model_name == "classifier"
    found = {(one.metric_type, one.metric_args["method"]): one for one in data.eval_results[1:]}
    assert len(found) == sum(len(method.scores) for method in result.methods.values())
    for (score, name), one in found.items():
        assert one.task_type == "image-classification" and one.dataset_name == "drawings:5"
        assert one.metric_value == pytest.approx(result.methods[name].scores[score], rel=1e-8)
        assert one.metric_args["interval"] == pytest.approx(
            result.methods[name].intervals[score], rel=1e-8
        )
    assert data.eval_results[0].metric_type == "accuracy"


def test_hostile_names_stay_text_in_a_model_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "run.sqlite"
    with Store.create(path) as store:
        write_run(store, {HOSTILE: three_methods(6)["good"]}, model=HOSTILE, images=HOSTILE)
    card = hub.ModelCard.load(adcc.export_run(path, tmp_path / "card.md", to="model-card"))
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert card.data.model_name == shown
    assert {one.dataset_name for one in card.data.eval_results} == {shown}
    assert {one.metric_args["method"] for one in card.data.eval_results[1:]} == {shown}


def decoded(heatmap: dict[str, object]) -> np.ndarray:
    binary = heatmap["map"]
    assert isinstance(binary, dict)
    data = zlib.decompress(base64.b64decode(binary["$binary"]["base64"]))
    array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def test_a_fiftyone_dataset_has_the_documented_layout(run: Path, tmp_path: Path) -> None:
    out = adcc.export_run(run, tmp_path / "dataset", to="fiftyone")
    info = json.loads((out / "metadata.json").read_text("utf-8"))
    samples = json.loads((out / "samples.json").read_text("utf-8"))["samples"]
    assert info["media_type"] == "image" and "version" not in info
    with Store.open(run) as store:
        pictures = store.pictures(1, range(5))
        rows = store.images(1)
    (result,) = adcc.read_results(run)
    values = {(r["image"], r["method"]): r for r in result.per_image(as_dataframe=False)}
    for row, sample in zip(rows, samples, strict=True):
        assert (out / sample["filepath"]).read_bytes() == pictures.thumbnails[row.position]
        names = result.stored_run.labels
        assert names is not None and row.label is not None and row.predicted is not None
        assert sample["ground_truth"]["label"] == names[row.label]
        assert sample["prediction"]["confidence"] == row.probability
        for method, field in (("gradcam", "gradcam"), ("gradcam++", "gradcampp")):
            stored = pictures.maps[method][row.position].astype(np.float32)
            np.testing.assert_array_equal(decoded(sample[field]), stored)
            assert sample[f"{field}_coherency"] == values[row.name, method]["coherency"]


def test_fiftyones_own_importer_reads_the_dataset(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("fiftyone", exc_type=ImportError)
    out = adcc.export_run(run, tmp_path / "dataset", to="fiftyone")
    # A process of its own: FiftyOne starts services, and wants a home folder.
    code = (
        "import sys, fiftyone\n"
        "from fiftyone.utils.data.importers import FiftyOneDatasetImporter\n"
        "found = FiftyOneDatasetImporter(sys.argv[1])\n"
        "assert found._is_legacy_format_data()\n"
        "found = found._to_legacy_importer()\n"
        "with found:\n"
        "    samples = list(found)\n"
        "for one in samples:\n"
        "    print(one.ground_truth.label, one.gradcam.map.shape, one.media_type)\n"
    )
    home = {**os.environ, "HOME": str(tmp_path), "FIFTYONE_DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, env=home
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5 and "(14, 14) image" in done.stdout


def test_a_fiftyone_dataset_without_thumbnails_needs_images(tmp_path: Path) -> None:
    path, photos = tmp_path / "run.sqlite", tmp_path / "photos"
    with Store.create(path) as store:
        write_run(store, {"gradcam": three_methods(3)["good"]}, ["a.png", "b.png", "../run.sqlite"])
    with pytest.raises(OptionError, match="keeps no thumbnails"):
        adcc.export_run(path, tmp_path / "dataset", to="fiftyone")
    photos.mkdir()
    (photos / "a.png").write_bytes(b"")
    with pytest.warns(AdccWarning, match="2 of 3 images are left out"):
        out = adcc.export_run(path, tmp_path / "dataset", to="fiftyone", images=photos)
    (sample,) = json.loads((out / "samples.json").read_text("utf-8"))["samples"]
    assert sample["filepath"] == str(photos / "a.png")


def test_mlflow_holds_the_scores_and_runs_offline(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")

    def refused(*_: object) -> None:
        raise AssertionError("a connection to the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    out = adcc.export_run(run, tmp_path / "store #1", to="mlflow")
    adcc.export_run(run, out, to="mlflow")  # runs are added
    assert {path.name for path in out.iterdir()} == {"mlflow.db", "artifacts"}
    client = tracking.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'adcc-onnx'")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2 * (1 + 4) and all(one.info.status == "FINISHED" for one in runs)
    (result,) = adcc.read_results(run)
    parent = next(one for one in runs if one.info.run_name == "classifier")
    child = next(
        one
        for one in runs
        if one.data.tags.get("mlflow.parentRunId") == parent.info.run_id
        and one.data.params["method"] == "gradcam++"
    )
    scores, metrics = result.methods["gradcam++"], child.data.metrics
    assert metrics["adcc"] == scores.scores["adcc"]
    assert (metrics["adcc.low"], metrics["adcc.high"]) == scores.intervals["adcc"]
    history = client.get_metric_history(child.info.run_id, "deletion_steps_4.curve")
    curve = [one.value for one in sorted(history, key=lambda one: one.step)]
    assert curve == scores.curves["deletion(steps=4)"]


def test_existing_files_are_kept_and_mistakes_are_named(run: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("mine", "utf-8")
    done = CliRunner().invoke(main, ["export-run", str(run), "--to", "model-card", "-o", str(card)])
    assert done.exit_code == 1 and "exists" in done.stderr and card.read_text("utf-8") == "mine"
    arguments = ["export-run", str(run), "--to", "model-card", "-o", str(card), "--force"]
    assert CliRunner().invoke(main, arguments).stdout == f"written to {card}\n"
    assert card.read_text("utf-8").startswith("---\nmodel-index:")
    before = run.read_bytes()
    with pytest.raises(OptionError, match="is the run itself"):
        adcc.export_run(run, run, to="model-card", force=True)
    with pytest.raises(OptionError, match="folder with other files"):
        adcc.export_run(run, tmp_path, to="fiftyone", force=True)
    with pytest.raises(OptionError, match="no export format 'parket'; did you mean 'parquet'"):
        adcc.export_run(run, tmp_path / "x", to="parket")
    assert run.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["card.md"]


def test_a_missing_package_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'needs mlflow: pip install "adcc-onnx\[mlflow\]"'):
        adcc.export_run(run, tmp_path / "store", to="mlflow")
