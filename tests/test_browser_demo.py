"""The browser demo: its heatmaps equal those of `explain`, and it uses no network."""

from __future__ import annotations

import base64
import io
import os
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FOLDER = Path(__file__).parents[1] / "examples" / "browser-demo"
DATA = Path(os.environ.get("ADCC_TEST_DATA", "/nonexistent"))
MOBILENET = DATA / "models" / "mobilenet_v2.onnx"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.skipif(
        not (FOLDER / "node_modules").is_dir(),
        reason="needs onnxruntime-web: npm ci --ignore-scripts in examples/browser-demo",
    ),
]

IDLE = "#result[data-state=done], #result[data-state=failed]"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """Return the names of the script that builds the page."""
    return runpy.run_path(str(FOLDER / "build.py"), run_name="build_demo")


@pytest.fixture(scope="module")
def page(script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield the opened page; a request or a message on the console fails the tests."""
    path = tmp_path_factory.mktemp("demo") / "demo.html"
    words = ["-o", str(path)]
    if MOBILENET.is_file():
        words += ["--model", str(MOBILENET), "--preprocess", "torch"]
        words += ["--labels", str(DATA / "synsets.txt")]
    built = CliRunner().invoke(script["main"], words)
    assert built.exit_code == 0, built.output
    problems: list[str] = []
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 900})
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url[:200]))
        page.goto(path.as_uri())
        page.wait_for_selector(IDLE, state="attached")
        yield page
        browser.close()
    assert [one for one in problems if not one.startswith(("file:", "data:", "blob:"))] == []


def heatmap(page: Any, model: int, picture: bytes, name: str = "picture.png") -> np.ndarray:
    """Explain a picture on the page; return the heatmap, [H, W]."""
    page.select_option("#model", str(model))
    page.wait_for_selector(IDLE, state="attached")
    page.evaluate("document.getElementById('result').dataset.state = 'waiting'")
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": picture})
    page.wait_for_selector(IDLE, state="attached")
    assert page.locator("#result").get_attribute("data-state") == "done", page.inner_text("#status")
    values = np.array(page.evaluate("Array.from(adccDemo.shown.heatmap)"), np.float32)
    side = int(np.sqrt(values.size))
    return values.reshape(side, side)


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("number", range(3))
def test_heatmaps_equal_those_of_explain(page: Any, script: dict[str, Any], number: int) -> None:
    image = next(iter(draw_many(11, 1, 300))).image[:250]
    expected = adcc.explain(classifier_path(), image, script["METHODS"][number], device="cpu")
    assert np.abs(heatmap(page, number, png(image)) - expected.maps[0]).max() < 1e-5


@pytest.mark.skipif(not MOBILENET.is_file(), reason="needs ADCC_TEST_DATA")
def test_a_mobilenet_explains_a_photo_as_explain_does(page: Any) -> None:
    photo = DATA / "photos" / "n02391049_zebra.JPEG"
    shown = heatmap(page, 3, photo.read_bytes(), photo.name)
    model = adcc.load(MOBILENET, preprocessing="torch", device="cpu")
    explained = adcc.explain(model, [photo], "gradcam")
    assert np.abs(shown - explained.maps[0]).max() < 1e-3
    first = page.locator("#classes tr").first.inner_text()
    assert first.startswith("zebra") and f"{100 * explained.probabilities[0]:.1f} %" in first


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(37, 61), (300, 200), (112, 112), (50, 400)])
def test_pictures_are_cropped_to_the_same_bytes(
    page: Any, size: tuple[int, int], interpolation: str
) -> None:
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 4), np.uint8)
    steps = adcc.Preprocessing((112, 96), 128, interpolation=interpolation)
    script = """({text, width, height, card}) => {
        const bytes = Uint8ClampedArray.from(atob(text), (c) => c.charCodeAt(0));
        return Array.from(adccPreprocessing.crop({data: bytes, width, height}, card).data);
    }"""
    text = base64.b64encode(image.tobytes()).decode()
    given = {"text": text, "width": size[1], "height": size[0], "card": steps.describe()}
    cropped = np.array(page.evaluate(script, given)).reshape(112, 96, 4)
    expected = steps.crop_image(np.ascontiguousarray(image[:, :, :3]))
    np.testing.assert_array_equal(cropped[:, :, :3], expected)


def test_a_file_that_is_no_picture_is_named(page: Any) -> None:
    page.set_input_files(
        "#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no picture"}
    )
    page.wait_for_selector("#result[data-state=failed]", state="attached")
    assert "Choose a PNG, JPEG or WebP file" in page.inner_text("#status")


def test_the_page_fits_a_narrow_window(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
