"""The pictures of the README: a grid of heatmaps and an HTML report, on generated drawings.

    python docs/_figures/readme_pictures.py

It writes docs/images/heatmaps.webp and docs/images/report.webp. The report is opened in Chromium.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import sync_playwright

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

IMAGES = Path(__file__).parents[1] / "images"
METHODS = ["gradcam", "gradcam++", "layercam", "scorecam", "eigencam"]
GRID = ["gradcam", "layercam", "scorecam", "integratedgradients", "random"]
_POSITIONS = (2, 5)  # drawings of the source that the grid shows


def main() -> None:
    """Write both pictures."""
    model = adcc.load(classifier_path(), device="cpu")
    write(heatmaps(model), "heatmaps")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run.sqlite")
        adcc.evaluate(model, "drawings:100", METHODS, ["adcc", "average_drop", "coherency",
                      "complexity", "insertion(steps=28)"], out=run)  # fmt: skip
        page = run.with_suffix(".html")
        page.write_text(adcc.render_report(run, format="html"), "utf-8")
        write(screenshot(page), "report")


def heatmaps(model: adcc.Model) -> NDArray[np.uint8]:
    """Return the grids of several drawings side by side, [height, width, 3]."""
    found = [adcc.explain(model, "drawings:8", method) for method in GRID]
    grids = [found[0].grid(position, found[1:]) for position in _POSITIONS]
    return np.concatenate(grids, axis=1)


def screenshot(page: Path) -> NDArray[np.uint8]:
    """Return the top of an HTML page as Chromium shows it, [height, width, 3]."""
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1300, "height": 880}, color_scheme="light")
        view.goto(page.as_uri())
        view.wait_for_selector(".gallery canvas.front")
        view.screenshot(path=Path(folder, "page.png"))
        return np.asarray(Image.open(Path(folder, "page.png")).convert("RGB"))


def write(picture: NDArray[np.uint8], name: str) -> None:
    """Write a picture under docs/images/."""
    path = IMAGES / f"{name}.webp"
    Image.fromarray(picture).save(path, quality=88, method=6)
    print(path, picture.shape, f"{path.stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main()
