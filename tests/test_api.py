"""The Python API: what it accepts, what it returns, and one clear error for each mistake."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.images.sources.given_images import as_source

TENSORS = np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32)
FUNCTIONS = [
    "bake", "benchmark", "demo", "doctor", "evaluate", "explain", "export", "expose", "inspect",
    "list_methods", "list_metrics", "load", "merge", "overlay", "randomize", "render_report",
    "save_baked", "save_explanations", "save_exposed", "save_report", "validate_metrics",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its card and class names, and two pictures."""
    path = tmp_path_factory.mktemp("api")
    onnx.save(small("softmax"), path / "net.onnx")
    (path / "net.toml").write_text('preset = "unit"\nresize = 8\nlabels = "names.txt"\n')
    (path / "names.txt").write_text("tench\ngoldfish\nshark\nray\ncock\n")
    (path / "photos").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / "photos" / f"{i}.png")
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> adcc.Model:
    return adcc.load(folder / "net.onnx", device="cpu")


def test_dir_and_all_show_the_whole_api() -> None:
    assert set(adcc.__all__) <= set(dir(adcc))
    for name in adcc.__all__:
        assert getattr(adcc, name) is not None
    assert set(FUNCTIONS) <= set(adcc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        adcc.explane  # noqa: B018


def test_everything_public_is_documented() -> None:
    for name in adcc.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(adcc, name)), name
    errors = [e for e in vars(adcc.errors).values() if isinstance(e, type)]
    public = [e for e in errors if issubclass(e, adcc.AdccError | adcc.AdccWarning)]
    assert {error.__name__ for error in public} <= set(adcc.__all__)


def test_the_import_is_lazy() -> None:
    code = "import sys, adcc_onnx; sys.exit('numpy' in sys.modules or 'click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["path", "text", "proto", "model"])
def test_a_model_may_be_a_path_a_proto_or_loaded(
    folder: Path, model: adcc.Model, kind: str
) -> None:
    path = folder / "net.onnx"
    given = {"path": path, "text": str(path), "proto": onnx.load(path), "model": model}[kind]
    options = {} if kind == "model" else {"device": "cpu"}
    wanted = adcc.explain(model, TENSORS)
    found = adcc.explain(given, TENSORS, **options)
    np.testing.assert_array_equal(found.maps, wanted.maps)
    result = adcc.evaluate(given, TENSORS, "gradcam", "complexity", **options)
    assert result.methods["gradcam"].scores["complexity"] == pytest.approx(wanted.maps.mean())
    assert adcc.inspect(given)["scores"]["classes"] == 5
    assert [o.name for o in adcc.expose(given).graph.output][1].endswith(".activation")
    assert adcc.bake(given).graph.output[-1].name == "heatmap"


def test_images_may_be_of_every_kind(folder: Path, model: adcc.Model) -> None:
    paths = sorted((folder / "photos").iterdir())
    pictures = [Image.open(path) for path in paths]
    pixels = [np.asarray(picture) for picture in pictures]
    tensors = np.stack([model.preprocessing(one) for one in pixels])
    wanted = adcc.explain(model, folder / "photos").maps
    kinds: list[Any] = [
        paths, [str(path) for path in paths], tuple(pictures), pixels, np.stack(pixels), tensors,
        tensors.astype(np.float64), [paths[0], pictures[1]], [folder / "photos"],
    ]  # fmt: skip
    for images in kinds:
        np.testing.assert_allclose(adcc.explain(model, images).maps, wanted, atol=1e-6)
    for images in (paths[0], pictures[0], pixels[0]):
        np.testing.assert_array_equal(adcc.explain(model, images).maps, wanted[:1])
    gray = Image.fromarray(pixels[0][:, :, 0])
    assert next(iter(as_source(gray))).load().shape == (8, 8, 3)


def test_methods_and_metrics_may_be_instances(model: adcc.Model) -> None:
    methods = {cls.name: cls for cls in adcc.list_methods()}
    metrics = {cls.name: cls for cls in adcc.list_metrics()}
    smooth, deletion = methods["smoothgradcam++"](n=2), metrics["deletion"](steps=4)
    names = ["gradcam", "smoothgradcam++(n=2)"], ["complexity", "deletion(steps=4)"]
    mixed = ["gradcam", smooth], ["complexity", deletion]
    one, other = (adcc.evaluate(model, TENSORS, *each, controls=False) for each in (names, mixed))
    assert one.methods.keys() == other.methods.keys() == set(names[0])
    for name in names[0]:
        assert one.methods[name].scores == other.methods[name].scores
    found = adcc.explain(model, TENSORS, smooth)
    assert found.method == "smoothgradcam++(n=2)"
    np.testing.assert_array_equal(found.maps, adcc.explain(model, TENSORS, names[0][1]).maps)


def test_controls_run_unless_they_are_switched_off(model: adcc.Model) -> None:
    found = adcc.evaluate(model, TENSORS, "gradcam", "complexity")
    assert list(found.methods) == ["gradcam", "random", "center"]
    assert found.ranking is not None and found.ranking.order == ["gradcam"]
    assert set(found.ranking.controls) == {"random", "center"}
    alone = adcc.evaluate(model, TENSORS, "gradcam", "complexity", controls=False)
    assert list(alone.methods) == ["gradcam"]


def test_explanations_have_their_rows(folder: Path, model: adcc.Model) -> None:
    (folder / "broken.png").write_bytes((folder / "photos" / "0.png").read_bytes()[:60])
    images = [folder / "photos" / "0.png", folder / "broken.png", folder / "photos" / "1.png"]
    found = adcc.explain(model, images, target=["goldfish", 0, 2])
    assert len(found) == 2 and found.maps.shape == (2, 8, 8)
    assert [Path(name).name for name in found.names] == ["0.png", "1.png"]
    assert found.targets.tolist() == [1, 2]
    ((name, reason),) = found.failures.items()
    assert name.endswith("broken.png") and reason
    for one, p in zip(found, found.probabilities, strict=True):
        assert isinstance(one, adcc.Explanation)
        assert 0 < p < 1 and one.probability == p and not one.degenerate
    assert "2 maps of 8 x 8 pixels, 0 degenerate, 1 failed" in repr(found)
    predicted = adcc.explain(model, images[:1])
    np.testing.assert_array_equal(predicted.targets, predicted.predicted)
    with pytest.raises(adcc.ImageError, match=r"no image could be explained.*broken\.png"):
        adcc.explain(model, images[1])


def test_images_with_nan_fail_by_name(model: adcc.Model) -> None:
    images = TENSORS.copy()
    images[1] = np.nan
    found = adcc.explain(model, images)
    assert found.names == ["0", "2"] and found.failures == {
        "1": "the model's scores are NaN or infinite"
    }
    assert adcc.evaluate(model, images, "gradcam").failed == 1
    with pytest.raises(adcc.ImageError, match="NaN"):
        adcc.explain(model, images[1:2])


def test_the_target_may_be_a_name_everywhere(folder: Path, model: adcc.Model) -> None:
    by_name, by_index = (
        adcc.evaluate(model, TENSORS, "gradcam", target=target) for target in ("goldfish", 1)
    )
    assert by_name.target == by_index.target == 1
    assert by_name.methods["gradcam"].scores == by_index.methods["gradcam"].scores
    baked = [adcc.bake(folder / "net.onnx", target=target) for target in ("goldfish", "1", 1)]
    assert baked[0].SerializeToString() == baked[1].SerializeToString()
    assert baked[0].SerializeToString() == baked[2].SerializeToString()
    labels = adcc.explain(
        model, folder / "photos", target="goldfish", class_names=["goldfish", "b"]
    )
    assert labels.targets.tolist() == [0, 0]
    with pytest.raises(adcc.OptionError, match="did you mean 'goldfish'"):
        adcc.evaluate(model, TENSORS, "gradcam", target="goldfihs")


def test_evaluate_takes_the_options_of_the_command_line(folder: Path, model: adcc.Model) -> None:
    seen: list[int] = []
    result = adcc.evaluate(
        model, TENSORS, ["gradcam"], ["deletion", "insertion"],
        baseline="mean", steps=4, fill="zero", labels=[0, 1, 2], limit=2, sample="random", seed=3,
        controls=False, out=folder / "run.sqlite", progress=seen.append,
    )  # fmt: skip
    assert result.images == 2 and sum(seen) == 2 and result.top1 is not None
    assert list(result.methods["gradcam"].scores) == [
        "deletion(baseline=mean, steps=4)",
        "insertion(baseline=mean, steps=4)",
    ]
    text = adcc.render_report(folder / "run.sqlite")
    assert text == adcc.render_report(result) and "gradcam" in text
    listed = adcc.render_report([folder / "run.sqlite"], per_image=True, format="csv").splitlines()
    assert len(listed) == 3 and "probability" in listed[0]
    report = folder / "report.json"
    words = ["report", str(folder / "run.sqlite"), "--format", "json", "-o", str(report)]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert report.read_text("utf-8") == adcc.render_report(folder / "run.sqlite", format="json")


def test_per_image_values_from_the_command_line(folder: Path, model: adcc.Model) -> None:
    run = folder / "values.sqlite"
    adcc.evaluate(model, TENSORS, ["gradcam"], ["complexity"], controls=False, out=run)
    words = ["report", str(run), "--per-image", "--format"]
    assert len(CliRunner().invoke(main, [*words, "csv"]).stdout.splitlines()) == 4
    refused = CliRunner().invoke(main, [*words, "html"])
    assert refused.exit_code == 1 and "format 'html'" in refused.stderr


def test_autotuning_changes_no_score(folder: Path, model: adcc.Model) -> None:
    plain, tuned = (
        adcc.evaluate(model, TENSORS, "gradcam", autotune=autotune) for autotune in (False, True)
    )
    for name, score in plain.methods["gradcam"].scores.items():
        assert tuned.methods["gradcam"].scores[name] == pytest.approx(score, abs=1e-6)


def test_an_overlay_has_the_size_of_its_image(folder: Path) -> None:
    image = folder / "photos" / "0.png"
    assert adcc.overlay(image, np.zeros((8, 8))).shape == (8, 8, 3)
    with pytest.raises(ValueError, match="size 8 x 8, not float64"):
        adcc.overlay(image, np.zeros((4, 4)))


MISTAKES: dict[str, tuple[Callable[[Path, adcc.Model], object], str]] = {
    "load None": (lambda f, m: adcc.load(None), "path"),
    "load device": (lambda f, m: adcc.load(f / "net.onnx", device=3), "device must be text"),
    "load size": (lambda f, m: adcc.load(f / "net.onnx", size=224), "size must be a pair"),
    "load batch": (lambda f, m: adcc.load(f / "net.onnx", batch_size="8"), "batch_size must be"),
    "explain model": (lambda f, m: adcc.explain(None, TENSORS), "model must be text, a path"),
    "explain images": (lambda f, m: adcc.explain(m, 3), "images must be"),
    "explain no images": (lambda f, m: adcc.explain(m, None), "images must be"),
    "explain empty": (lambda f, m: adcc.explain(m, []), "no image was given"),
    "explain shape": (lambda f, m: adcc.explain(m, TENSORS[0]), r"float32 \[3, 8, 8\]"),
    "explain size": (lambda f, m: adcc.explain(m, TENSORS[:, :, :4]), "3 x 4 x 8"),
    "explain integers": (lambda f, m: adcc.explain(m, np.zeros((2, 3, 8, 8), int)), "int64"),
    "explain objects": (lambda f, m: adcc.explain(m, [object()]), "images must be"),
    "explain mixed": (lambda f, m: adcc.explain(m, [TENSORS[0]]), r"uint8 array \[H, W, 3\]"),
    "explain method": (lambda f, m: adcc.explain(m, TENSORS, 3), "method must be"),
    "explain class": (lambda f, m: adcc.explain(m, TENSORS, adcc.Method), "method must be"),
    "explain unknown": (lambda f, m: adcc.explain(m, TENSORS, "gradcan"), "did you mean"),
    "explain target": (lambda f, m: adcc.explain(m, TENSORS, target=1.5), "target must be"),
    "explain bool": (lambda f, m: adcc.explain(m, TENSORS, target=True), "target must be"),
    "explain range": (lambda f, m: adcc.explain(m, TENSORS, target=7), "no class 7"),
    "explain below": (lambda f, m: adcc.explain(m, TENSORS, target=-1), "target must be"),
    "explain targets": (lambda f, m: adcc.explain(m, TENSORS, target=[0]), "target has 1 classes"),
    "explain label": (lambda f, m: adcc.explain(m, TENSORS, target="label"), "no label"),
    "explain names": (lambda f, m: adcc.explain(m, TENSORS, class_names=3), "class_names must be"),
    "explain seed": (lambda f, m: adcc.explain(m, TENSORS, seed="a"), "seed must be an integer"),
    "explain unknown option": (lambda f, m: adcc.explain(m, TENSORS, layer="x"), "'layer'"),
    "explain loaded": (lambda f, m: adcc.explain(m, TENSORS, device="cpu"), "loaded already"),
    "save out": (lambda f, m: adcc.save_explanations(m, f / "photos", out=3), "out must be"),
    "evaluate methods": (lambda f, m: adcc.evaluate(m, TENSORS, 3), "methods must be"),
    "evaluate items": (lambda f, m: adcc.evaluate(m, TENSORS, [3]), "methods must be"),
    "evaluate metrics": (lambda f, m: adcc.evaluate(m, TENSORS, (), [None]), "metrics must be"),
    "evaluate swapped": (lambda f, m: adcc.evaluate(m, TENSORS, ["adcc"]), "no method 'adcc'"),
    "evaluate protocol": (lambda f, m: adcc.evaluate(m, TENSORS, protocol=1), "protocol must be"),
    "evaluate fill": (lambda f, m: adcc.evaluate(m, TENSORS, fill="red"), "zero or black"),
    "evaluate baseline": (
        lambda f, m: adcc.evaluate(m, TENSORS, (), "deletion", baseline="red"),
        "baseline must be",
    ),
    "evaluate steps": (lambda f, m: adcc.evaluate(m, TENSORS, (), "deletion", steps=0), "steps"),
    "evaluate limit": (lambda f, m: adcc.evaluate(m, TENSORS, limit=0), "at least 1"),
    "evaluate limit type": (lambda f, m: adcc.evaluate(m, TENSORS, limit=1.5), "limit must be"),
    "evaluate sample": (lambda f, m: adcc.evaluate(m, TENSORS, sample="last"), "sample must be"),
    "evaluate labels": (lambda f, m: adcc.evaluate(m, TENSORS, labels=[1]), "1 labels for 3"),
    "evaluate truth": (lambda f, m: adcc.evaluate(m, TENSORS, truth=f / "no"), "no such file"),
    "evaluate maps": (lambda f, m: adcc.evaluate(m, TENSORS, maps=[f / "no"]), "no such folder"),
    "evaluate out": (lambda f, m: adcc.evaluate(m, TENSORS, out=3), "out must be"),
    "evaluate resume": (lambda f, m: adcc.evaluate(m, TENSORS, resume=True), "resume needs"),
    "evaluate resume type": (lambda f, m: adcc.evaluate(m, TENSORS, resume=1), "resume must be"),
    "evaluate cluster": (lambda f, m: adcc.evaluate(m, TENSORS, cluster="local"), "cluster needs"),
    "evaluate progress": (lambda f, m: adcc.evaluate(m, TENSORS, progress=3), "progress must be"),
    "evaluate keyword": (lambda f, m: adcc.evaluate(m, TENSORS, metric="adcc"), "'metric'"),
    "evaluate missing": (lambda f, m: adcc.evaluate(m), "images"),
    "inspect": (lambda f, m: adcc.inspect(3), "model must be"),
    "inspect missing": (lambda f, m: adcc.inspect("none.onnx"), "no such model file"),
    "inspect size": (lambda f, m: adcc.inspect(m, size="8x8"), "size must be"),
    "expose": (lambda f, m: adcc.expose(None), "model must be"),
    "expose layers": (lambda f, m: adcc.expose(m, 3), "layers must be"),
    "expose layer": (lambda f, m: adcc.expose(m, "featurs"), "did you mean 'features'"),
    "expose scores": (lambda f, m: adcc.expose(m, scores="log"), "logits"),
    "bake": (lambda f, m: adcc.bake(np.zeros(3)), "model must be"),
    "bake method": (lambda f, m: adcc.bake(m, "scorecam"), "cannot be baked"),
    "bake target": (lambda f, m: adcc.bake(m, target=9), "no class 9"),
    "bake fuse": (lambda f, m: adcc.bake(m, fuse="sum"), "fuse must be mean, max or product"),
    "overlay": (lambda f, m: adcc.overlay(3, TENSORS[0, 0]), "image must be"),
    "overlay heatmap": (lambda f, m: adcc.overlay(f / "photos/0.png", [1]), "heatmap must be"),
    "report": (lambda f, m: adcc.render_report(3), "runs must be"),
    "report file": (lambda f, m: adcc.render_report("none.sqlite"), "none.sqlite"),
    "report format": (lambda f, m: adcc.render_report(f / "net.onnx", format=3), "format must be"),
    "report two": (
        lambda f, m: adcc.render_report("a", compare=True, failures=True),
        "choose one",
    ),
    "report confidence": (lambda f, m: adcc.render_report("a", confidence=2), "confidence must"),
    "merge": (lambda f, m: adcc.merge("a.sqlite", "b.sqlite"), "runs must be a list"),
    "merge file": (lambda f, m: adcc.merge([f / "no.sqlite"], f / "b.sqlite"), "no.sqlite"),
    "benchmark": (lambda f, m: adcc.benchmark(m, rounds="5"), "rounds must be"),
    "benchmark images": (lambda f, m: adcc.benchmark(m, 5), "images must be"),
    "validate": (lambda f, m: adcc.validate_metrics(3), "model must be"),
    "validate against": (
        lambda f, m: adcc.validate_metrics(None, "drawings:2", "center", "adcc", against="x"),
        "'x'",
    ),
    "randomize": (lambda f, m: adcc.randomize(m, TENSORS, steps=0), "steps must be"),
    "randomize target": (lambda f, m: adcc.randomize(m, TENSORS, target="label"), "predicted"),
    "export": (lambda f, m: adcc.export(3), "network must be text"),
    "export name": (lambda f, m: adcc.export("resnet18"), "FRAMEWORK:NAME"),
    "demo": (lambda f, m: adcc.demo(3), "out must be"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_names_its_argument(folder: Path, model: adcc.Model, name: str) -> None:
    mistake, wanted = MISTAKES[name]
    with pytest.raises((TypeError, ValueError, adcc.AdccError), match=wanted) as caught:
        mistake(folder, model)
    assert len(str(caught.value).splitlines()) == 1


def test_the_built_in_model_in_three_lines() -> None:
    result = adcc.evaluate(classifier_path(), "drawings:4", ["gradcam", "fakecam"], device="cpu")
    assert result.methods["gradcam"].scores["adcc"] > result.methods["fakecam"].scores["adcc"]
