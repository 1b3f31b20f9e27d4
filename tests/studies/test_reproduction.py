"""Published scores: the data, and their reproduction on photos in the layout of ILSVRC2012."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from helpers.small_models import small
from onnx import numpy_helper

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import ModelError, OptionError, SourceError, UnknownLayerError
from adcc_onnx.graph.classifier.published_layers import (
    first_activation_of_block,
    last_activation,
    last_convolution,
)
from adcc_onnx.images.ilsvrc import synset_class
from adcc_onnx.published.networks import NETWORKS
from adcc_onnx.published.publications import PUBLICATIONS
from adcc_onnx.published.scores import published_rows
from adcc_onnx.report.reproduction_report import reproductions_to_json, reproductions_to_text

LAYER = "/features/features.18/features.18.1/Clip_output_0"
SETTING = {"at": "before pooling", "scores": "logits"}
PARTS = ("average_drop", "coherency", "complexity")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def photos_of(data: Path) -> list[tuple[Path, str, str]]:
    """The shared photos with their labels and synsets."""
    with (data / "labels.csv").open(encoding="utf-8") as file:
        return [
            (data / row["path"], row["label"], Path(row["path"]).name.partition("_")[0])
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def by_synset(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos in one folder per synset, named as validation images."""
    folder = tmp_path_factory.mktemp("val")
    for number, (photo, _, synset) in enumerate(photos_of(data), 1):
        (folder / synset).mkdir(exist_ok=True)
        (folder / synset / f"ILSVRC2012_val_{number:08d}.JPEG").symlink_to(photo)
    return folder


@pytest.fixture(scope="module")
def flat(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos in one folder, with the ground truth of ten times as many images beside it."""
    folder = tmp_path_factory.mktemp("flat")
    photos = photos_of(data)
    (folder / "images").mkdir()
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 1001)]
    for name, (photo, _, _) in zip(names, photos, strict=False):
        (folder / "images" / name).symlink_to(photo)
    lines = [f"{name} {photos[i % 100][1]}" for i, name in enumerate(names)]
    (folder / "val.txt").write_text("\n".join(lines), "utf-8")
    return folder / "images"


def reproduce(data: Path, images: Path, **options: object) -> list[adcc.Reproduction]:
    model = data / "models" / "mobilenet_v2.onnx"
    return adcc.reproduce(
        "shapleycam2024", images, "mobilenetv2", model=model, device="cpu", **options
    )


def test_the_published_rows_are_complete() -> None:
    rows = published_rows()
    counts = {name: sum(row.publication == name for row in rows) for name in PUBLICATIONS}
    assert counts == {
        "shapleycam2024": 723, "poppi2021": 24, "reciprocam": 6, "vitcam": 6, "openvino": 8,
        "cape": 5,
    }  # fmt: skip
    assert {row.network for row in rows} == set(NETWORKS)
    complete = [row.values for row in rows if row.values.keys() >= {*PARTS, "adcc"}]
    assert len(complete) == 753
    for values in complete:
        terms = values["coherency"], 1 - values["complexity"], 1 - values["average_drop"]
        assert 3 / sum(1 / term for term in terms) == pytest.approx(values["adcc"], abs=5e-4)


def test_the_addresses_of_weights_are_those_of_torchvision(torchvision: object) -> None:
    for network in NETWORKS.values():
        framework, _, name = (network.export or "").partition(":")
        if framework == "torchvision":
            weights = torchvision.models.get_model_weights(name)  # type: ignore[attr-defined]
            assert weights[network.weights].url == network.address


def test_measured_scores_are_those_of_an_evaluation(data: Path, by_synset: Path) -> None:
    (found,) = reproduce(data, by_synset, methods="gradcam", limit=6, **SETTING)
    assert (found.layer, found.target, found.images) == (LAYER, "predicted", 6)
    photos = photos_of(data)[:6]
    wanted = adcc.evaluate(
        data / "models" / "mobilenet_v2.onnx",
        [photo for photo, _, _ in photos],
        "gradcam",
        ["adcc", "average_drop", "average_increase", "coherency", "complexity", "drop_in_deletion"],
        preprocessing="torch",
        device="cpu",
        controls=False,
    ).methods["gradcam"]
    assert {one.score: one.measured for one in found.scores} == {
        name: wanted.scores[name] for name in (one.score for one in found.scores)
    }
    published = {one.score: one.published for one in found.scores}
    assert published["adcc"] == 0.7614 and len(published) == 6
    assert "6 of 50,000 images" in reproductions_to_text([found])
    record = json.loads(reproductions_to_json([found]))["reproductions"][0]
    assert record["results"][0]["published"] == 0.1848 and record["published_images"] == 50_000


def test_both_layouts_give_the_same(data: Path, by_synset: Path, flat: Path) -> None:
    options = {"methods": "gradcam", "metrics": ["complexity"], "limit": 3, **SETTING}
    first, second = (reproduce(data, folder, **options)[0] for folder in (by_synset, flat))
    assert first.scores == second.scores and first.top1 == second.top1 is not None


@pytest.mark.slow
def test_a_hundred_photos_agree_with_the_published_adcc(data: Path, by_synset: Path) -> None:
    (found,) = reproduce(data, by_synset, metrics="adcc", **SETTING)
    assert found.images == 100 and found.top1 is not None and found.top1 > 0.8
    assert [one.method for one in found.scores] == ["gradcam", "gradcam++", "layercam"]
    for one in found.scores:
        assert one.is_inside, one


def test_a_run_is_kept_and_continued(data: Path, by_synset: Path, tmp_path: Path) -> None:
    options = {"methods": "gradcam", "metrics": "complexity", "limit": 2, **SETTING}
    out = tmp_path / "run.sqlite"
    first = reproduce(data, by_synset, out=out, **options)
    again = reproduce(data, by_synset, out=out, resume=True, **options)
    assert first == again
    (result,) = adcc.read_results(out)
    assert result.model == "mobilenetv2 (before pooling, logits)"


def test_settings_that_a_file_does_not_allow_have_a_problem(data: Path, by_synset: Path) -> None:
    found = reproduce(data, by_synset, methods="gradcam", metrics="adcc", limit=2)
    problems = {(one.setting.layer, one.setting.scores): one.problem for one in found}
    assert "folded the normalization" in problems["last convolution", "rest"]
    assert "earlier version of ReST" in problems["last convolution", "earlier rest"]
    assert not problems["before pooling", "logits"] and not problems["before pooling", "rest"]
    assert "not measured" in reproductions_to_text(found)


WITH_NORMALIZATION = """
<ir_version: 8, opset_import: ["" : 18]>
classifier (float[batch,3,8,8] image) => (float[batch,5] scores) {
  features = Conv <pads = [1, 1, 1, 1]> (image, kernel)
  normal = BatchNormalization (features, one, zero, zero, one)
  active = Relu (normal)
  low = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (active)
  flat = Flatten (low)
  scores = Gemm <transB = 1> (flat, weights)
}
"""


def test_layers_by_their_place() -> None:
    proto = onnx.parser.parse_model(WITH_NORMALIZATION)
    rng = np.random.default_rng(0)
    weights = {"kernel": rng.standard_normal((4, 3, 3, 3)), "weights": rng.standard_normal((5, 64))}
    weights |= {"one": np.ones(4), "zero": np.zeros(4)}
    proto.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    )
    classifier = adcc.load(proto, device="cpu").classifier
    assert last_convolution(classifier, normalized=True) == "features"
    assert last_activation(classifier) == "active"
    with pytest.raises(UnknownLayerError, match="residual block"):
        first_activation_of_block(classifier)
    folded = adcc.load(small(), device="cpu").classifier
    assert last_convolution(folded, normalized=False) == "features"
    with pytest.raises(UnknownLayerError, match="folded the normalization"):
        last_convolution(folded, normalized=True)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_the_first_activation_of_a_residual_block(block: str) -> None:
    second = {
        "basic": "third = Conv <pads = [1, 1, 1, 1]> (first_active, square)",
        "bottleneck": """second = Conv (first_active, point) second_active = Relu (second)
            third = Conv (second_active, point)""",
    }[block]
    proto = small(
        f"""first = Conv (active, point) first_active = Relu (first) {second}
        sum = Add (third, active) last = Relu (sum) mean = GlobalAveragePool (last)
        flat = Flatten (mean) scores = Gemm <transB = 1> (flat, weights)"""
    )
    rng = np.random.default_rng(0)
    for name, side in (("point", 1), ("square", 3)):
        values = rng.standard_normal((4, 4, side, side)).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    classifier = adcc.load(proto, device="cpu").classifier
    assert first_activation_of_block(classifier) == "first_active"
    assert last_activation(classifier) == "last"


def test_synsets_are_classes_of_models_without_synset_names() -> None:
    assert [synset_class("n15075141", count) for count in (1000, 1001, 10)] == [999, 1000, None]
    assert synset_class("n00000000", 1000) is None and synset_class("tench", 1000) is None


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"publication": "shapleycam"}, OptionError, "did you mean 'shapleycam2024'"),
        ({"networks": "mobilenet"}, OptionError, "did you mean 'mobilenetv2'"),
        ({"networks": ["vgg16", "resnet18"]}, OptionError, "belong to one network"),
        ({"methods": "grad-cam"}, OptionError, "did you mean 'gradcam'"),
        ({"metrics": "insertion"}, OptionError, "no score 'insertion' was published"),
        ({"images": "nowhere"}, SourceError, "ILSVRC2012_img_val.tar"),
    ],
)
def test_mistakes_are_named(
    change: dict[str, object], error: type[Exception], said: str, data: Path, by_synset: Path
) -> None:
    given = {"publication": "shapleycam2024", "images": by_synset, "networks": "mobilenetv2"}
    model = data / "models" / "mobilenet_v2.onnx"
    with pytest.raises(error, match=said):
        adcc.reproduce(**{**given, "model": model, "device": "cpu", **change})


def test_without_labels_it_says_what_to_place_where(data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "ILSVRC2012_val_00000001.JPEG").symlink_to(photos_of(data)[0][0])
    model = data / "models" / "mobilenet_v2.onnx"
    with pytest.raises(SourceError, match=r"put val\.txt, LOC_val_solution\.csv or"):
        adcc.reproduce("reciprocam", tmp_path / "images", "resnet18", model=model, device="cpu")


def test_without_weights_it_says_what_to_place_where(
    by_synset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*words: object, fold: bool) -> None:
        raise ModelError("torchvision:vgg16 could not be downloaded or exported: no network")

    monkeypatch.setattr(adcc, "export", fails, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        ModelError, match=r"no network.*IMAGENET1K_V1.*vgg16-397923af\.pth.*--model"
    ):
        adcc.reproduce("poppi2021", by_synset, "vgg16")
    with pytest.raises(OptionError, match=r"trained by the authors.*--model FILE"):
        adcc.reproduce("cape", by_synset)


def test_an_exported_network_is_used(
    data: Path, by_synset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def export(network: str, out: Path, weights: str, fold: bool) -> None:
        assert not fold
        calls.append((network, weights))
        out.symlink_to(data / "models" / "mobilenet_v2.onnx")

    monkeypatch.setattr(adcc, "export", export, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"methods": "gradcam", "metrics": "complexity", "limit": 1, "device": "cpu"}
    for weights in ("default", "default", "mine.pth"):
        found = adcc.reproduce(
            "shapleycam2024", by_synset, "mobilenetv2", weights=weights, **SETTING, **options
        )
        assert found[0].scores
    # The export with the framework's weights is kept.
    exported = "torchvision:mobilenet_v2"
    assert calls == [(exported, "default"), (exported, "mine.pth")]


def test_the_list_needs_neither_images_nor_models() -> None:
    listed = run("reproduce", "--list")
    assert listed.exit_code == 0 and "mobilenetv2" in listed.stdout
    assert all(name in listed.stdout for name in PUBLICATIONS)
    assert len(listed.stdout.splitlines()) < 2 * len(PUBLICATIONS)  # an overview
    settings = run("reproduce", "poppi2021", "--list").stdout
    assert "torchvision:vgg16" in settings and "scorecam" in settings
    one = json.loads(run("reproduce", "poppi2021", "--list", "--json").stdout)["published"]
    assert len(one) == 24 and one[0]["values"]["adcc"] == 0.5352
    assert run("reproduce").exit_code == 2
    missing = run("reproduce", "shapleycam2024")
    assert missing.exit_code == 2 and "--list shows the publications" in missing.stderr


def test_the_command_prints_the_table(data: Path, by_synset: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["reproduce", "shapleycam2024", "--images", by_synset]
    words += ["--network", "mobilenetv2", "--model", data / "models" / "mobilenet_v2.onnx"]
    words += ["--at", "before pooling", "--scores", "logits", "--method", "gradcam"]
    words += ["--metric", "complexity", "--limit", "2", "--device", "cpu"]
    done = run(*words, "-o", tmp_path / "run.sqlite")
    assert done.exit_code == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("gradcam"))
    assert row.split()[:3] == ["gradcam", "Complexity", "40.96"]
    folded = run(*words[:-8], "--at", "last convolution", "--scores", "rest", "--limit", "1")
    assert folded.exit_code == 1 and "nothing was measured" in folded.stderr
