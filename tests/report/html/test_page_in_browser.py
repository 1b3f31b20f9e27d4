"""The HTML page in headless Chromium, as people use it: sorting, filters, slider, keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path
from adcc_onnx.kernels.upsample import upsample

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

METHODS = ["gradcam", "layercam", "eigencam"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("report") / "run.sqlite"
    metrics = ["average_drop", "coherency", "complexity", "adcc", "deletion(steps=8)"]
    adcc.evaluate(classifier_path(), "drawings:40", METHODS, metrics, device="cpu", out=run)
    path = run.with_suffix(".html")
    path.write_text(adcc.render_report([run, run], format="html"), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, page_file: Path) -> Iterator[Any]:
    yield from opened(browser, page_file, 1280, "light")


def opened(browser: Any, path: Path, width: int, scheme: str) -> Iterator[Any]:
    """Open the page; any message on the console and any request fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".gallery canvas.front")
    yield page
    page.close()
    outside = [one for one in problems if not one.startswith(("file:", "data:image/jpeg"))]
    assert outside == []


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_its_window_in_both_color_schemes(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    for page in opened(browser, page_file, width, scheme):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colors = page.evaluate(
            "() => { const s = getComputedStyle(document.body);"
            " return [s.color, s.backgroundColor].map((c) => c.match(/[0-9.]+/g).map(Number)); }"
        )
        text, background = (relative_luminance(np.array(color[:3])) for color in colors)
        assert (background > text) == (scheme == "light")
        low, high = sorted((text, background))
        assert (high + 0.05) / (low + 0.05) >= 7  # WCAG 2.2, level AAA
        charts = page.locator(".chart:visible")
        assert charts.count() == 2 * 7 and charts.locator("svg[aria-label]").count() >= 2 * 7
    assert page_file.stat().st_size < 3e6


def relative_luminance(color: np.ndarray) -> float:
    """Relative luminance of sRGB bytes, WCAG 2.2."""
    share = color / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_tables_sort_by_mouse_and_keyboard_and_keep_controls_apart(page: Any) -> None:
    table = page.locator("#run-0 table.ranking")
    column = table.locator("thead th", has_text="Complexity")
    column.locator(".sort").click()
    index = column.evaluate("th => th.cellIndex")
    read = (
        "(body, i) => [...body.rows].filter(r => !r.matches('.divider'))"
        ".map(r => Number(r.cells[i].dataset.value))"
    )
    bodies = table.locator("tbody")
    assert column.get_attribute("aria-sort") == "descending"
    for body in (bodies.nth(0), bodies.nth(1)):
        values = body.evaluate(read, index)
        assert values == sorted(values, reverse=True) and len(values) >= 2
    column.locator(".sort").focus()
    page.keyboard.press("Enter")
    values = bodies.nth(0).evaluate(read, index)
    assert column.get_attribute("aria-sort") == "ascending" and values == sorted(values)
    assert bodies.nth(1).locator("tr").first.get_attribute("class") == "divider"


def test_the_cost_is_shown_in_time_or_passes(page: Any) -> None:
    figure = page.locator('#run-0 [data-chart="cost"]')
    assert "Time per image" in figure.locator("svg").first.text_content()
    page.locator('#run-0 [data-control="cost-choice"]').select_option("passes")
    assert "Model passes per image" in figure.locator("svg").first.text_content()
    run = page.evaluate("JSON.parse(document.querySelector('script.run-data').textContent)")
    # One pass with its backward part serves each of these methods.
    assert [run["passes"][name] for name in METHODS] == [1, 1, 1]


def test_help_opens_and_closes_by_keyboard(page: Any) -> None:
    button = page.locator("#run-0 table.ranking .help").first
    button.focus()
    page.keyboard.press("Enter")
    popover = page.locator("#run-0 .popover:popover-open")
    assert popover.count() == 1 and "does not say" in popover.inner_text()
    page.keyboard.press("Escape")
    assert popover.count() == 0


def test_the_gallery_filters_and_sorts(page: Any) -> None:
    section = page.locator("#run-0 .gallery-section")
    assert section.locator(".card").count() == 24
    section.locator(".more").click()
    assert section.locator(".card").count() == 40
    section.locator('[data-control="gallery-kind"]').select_option("best")
    assert section.locator(".card").count() == 5
    assert section.locator(".count").inner_text() == "5 of 5 images"
    section.locator('[data-control="gallery-kind"]').select_option("")
    section.locator('[data-control="gallery-sort"]').select_option("-complexity")
    section.locator('[data-control="gallery-method"]').select_option("eigencam")
    texts = section.locator(".card p:nth-of-type(2)").all_inner_texts()
    complexity = [float(text.split("Complexity ")[1].split()[0]) for text in texts]
    assert complexity == sorted(complexity, reverse=True)


def test_the_slider_and_the_modes_draw_the_map(page: Any) -> None:
    page.locator('#run-0 [data-control="gallery-method"]').select_option("gradcam")
    card = page.locator("#run-0 .card").first
    slider = card.locator('input[type="range"]')
    slider.focus()
    page.keyboard.press("Home")
    reveal = "view => view.style.getPropertyValue('--reveal')"
    assert card.locator(".view").evaluate(reveal) == "0%"
    card.locator('input[value="masked"]').check()
    run = page.evaluate("JSON.parse(document.querySelector('script.run-data').textContent)")
    read = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    front, back = (
        np.array(card.locator(f"canvas{name}").evaluate(read), np.float32)
        for name in (".front", ":not(.front)")
    )
    side = int(len(back) ** 0.5 / 2)
    front, back = front.reshape(side, side, 4)[..., :3], back.reshape(side, side, 4)[..., :3]
    height, width, encoded = run["images"][0]["maps"]["gradcam"]
    levels = page.evaluate("text => [...atob(text)].map((c) => c.charCodeAt(0))", encoded)
    small = (np.array(levels, np.float32) / 255).reshape(1, height, width)
    mask = upsample(small, (side, side))[0][..., None]
    wanted = back * mask + np.array(run["fill"], np.float32) * (1 - mask)
    assert np.abs(front - wanted).max() <= 1.0
