"""Overlays and grids: the exact blend, where the crop lies in its image, color bar and text."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFont

import adcc_onnx as adcc
import adcc_onnx.report.overlay
from adcc_onnx.explanation.drawing_style import COLORMAPS, DrawingStyle
from adcc_onnx.images.preprocessing import Preprocessing
from adcc_onnx.kernels.upsample import upsample
from adcc_onnx.report.overlay import colors_of, overlay
from adcc_onnx.report.overlay_grid import draw_grid, drawable, shortened

RNG = np.random.default_rng(3)
LEVELS = np.arange(256, dtype=np.uint8)[None]
OPAQUE = DrawingStyle(alpha=1.0)


def heat_in(drawn: np.ndarray) -> np.ndarray:
    """The levels of an opaque overlay in 0..255; -1 where there is no color of the map."""
    packed, table = (_packed(colors) for colors in (drawn, colors_of(LEVELS)[0]))
    order = np.argsort(table)
    place = np.searchsorted(table, packed, sorter=order).clip(max=255)
    return np.where(table[order][place] == packed, order[place], -1)


def _packed(colors: np.ndarray) -> np.ndarray:
    return colors.astype(np.int64) @ np.array([2**16, 2**8, 1])


@pytest.mark.parametrize("name", COLORMAPS)
def test_the_blend_is_exact(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    picture = RNG.integers(0, 256, (17, 23, 3), dtype=np.uint8)
    levels = RNG.integers(0, 256, (17, 23))
    found = adcc.overlay(picture, levels / 255, alpha=0.3, colormap=name)
    gray = np.asarray(Image.fromarray(picture).convert("L"), np.float64)[:, :, None]
    colors = matplotlib.colormaps[name](levels, bytes=True)[:, :, :3].astype(np.float64)
    # OpenCV's table and matplotlib's may differ by the rounding of one level.
    assert np.abs(found - (0.7 * gray + 0.3 * colors)).max() < 0.801
    table = cv2.applyColorMap(levels.astype(np.uint8), getattr(cv2, f"COLORMAP_{name.upper()}"))
    exact = 0.7 * gray + 0.3 * table[:, :, ::-1].astype(np.float64)
    np.testing.assert_array_equal(found, np.rint(exact).astype(np.uint8))


def test_the_opacity_ends_at_the_gray_image_and_at_the_pure_color() -> None:
    picture = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    heat = RNG.random((5, 6), np.float32)
    gray = np.asarray(Image.fromarray(picture).convert("L"))
    assert (overlay(picture, heat, DrawingStyle(alpha=0.0)) == gray[:, :, None]).all()
    np.testing.assert_array_equal(heat_in(overlay(picture, heat, OPAQUE)), np.rint(heat * 255))


@pytest.mark.parametrize("size", [(300, 457), (641, 353), (1201, 1200), (256, 256)])
@pytest.mark.parametrize("crop", [True, False])
def test_a_marker_in_the_crop_is_drawn_where_it_is_in_the_image(
    size: tuple[int, int], crop: bool
) -> None:
    steps = Preprocessing((224, 192), 256, crop=crop)
    left, top, right, bottom = steps.crop_box(size)
    for x, y in ((0.1, 0.2), (0.5, 0.5), (0.85, 0.9)):
        column, row = round(left + x * (right - left)), round(top + y * (bottom - top))
        picture = np.zeros((*size, 3), np.uint8)
        picture[row - 8 : row + 9, column - 8 : column + 9] = 255
        seen = steps.crop_image(picture)[:, :, 0] / np.float32(255)
        assert seen.max() > 0.9
        found = heat_in(adcc.overlay(picture, seen, alpha=1.0, crop=steps)).clip(0)
        rows, columns = np.indices(size)
        center = [(axis * found).sum() / found.sum() for axis in (rows, columns)]
        np.testing.assert_allclose(center, (row, column), atol=0.3)


def test_what_the_model_does_not_see_is_dimmed_and_without_color() -> None:
    picture = RNG.integers(0, 256, (256, 512, 3), dtype=np.uint8)
    steps = Preprocessing.preset("unit", (224, 224))
    assert steps.crop_box((256, 512)) == (144, 16, 368, 240)
    drawn = adcc.overlay(picture, np.ones((224, 224)), alpha=1.0, crop=steps)
    inside = np.zeros((256, 512), bool)
    inside[16:240, 144:368] = True
    assert (drawn[inside] == colors_of(LEVELS)[0, 255]).all()
    gray = np.asarray(Image.fromarray(picture).convert("L"), np.float64)[~inside]
    np.testing.assert_array_equal(drawn[~inside], np.rint(0.6 * gray)[:, None].repeat(3, 1))


def test_a_map_is_stretched_like_the_maps_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = RNG.random((1, 7, 5), np.float32)
    picture = np.zeros((90, 61, 3), np.uint8)
    wanted = np.rint(upsample(small, (90, 61))[0] * 255)
    found = overlay(picture, small[0], OPAQUE, (0, 0, 61, 90))
    assert np.abs(heat_in(found) - wanted).max() <= 1  # ties of rounding
    monkeypatch.setattr(adcc_onnx.report.overlay, "_STRIP_PIXELS", 200)
    np.testing.assert_array_equal(overlay(picture, small[0], OPAQUE, (0, 0, 61, 90)), found)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (3, 2), (28, 28)])
def test_tiny_images_are_drawn(size: tuple[int, int]) -> None:
    steps = Preprocessing.preset("unit", (224, 224))
    drawn = adcc.overlay(np.zeros((*size, 3), np.uint8), np.ones((224, 224)), crop=steps)
    assert drawn.shape == (*size, 3)
    grid = draw_grid(
        np.zeros((*size, 3), np.uint8), {"a": np.ones((224, 224), np.float32)},
        box=steps.crop_box(size),
    )  # fmt: skip
    assert min(grid.shape[:2]) > 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha must be from 0 to 1, not 1.5"),
        ({"alpha": float("nan")}, "alpha must be from 0 to 1"),
        ({"colormap": "jet"}, "colormap must be one of viridis, "),
        ({"colormap": "infernal"}, "did you mean 'inferno'"),
        ({"crop": (0, 0, 9, 8)}, "within the image of 8 x 8 pixels"),
        ({"crop": (4, 4, 4, 8)}, "at least one pixel"),
        ({"crop": (0, 0, float("nan"), 8)}, "crop must be"),
        ({"crop": (0, 0, 8)}, "crop must be"),
        ({"crop": "center"}, "crop must be"),
        ({"alpha": "half"}, "alpha must be a number"),
    ],
)
def test_mistakes_name_the_option(options: dict[str, object], message: str) -> None:
    with pytest.raises((adcc.OptionError, ValueError, TypeError), match=message):
        adcc.overlay(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8)), **options)


def test_a_map_with_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        adcc.overlay(np.zeros((2, 2, 3), np.uint8), np.full((2, 2), np.nan))


@pytest.mark.parametrize("name", COLORMAPS)
def test_the_color_bar_goes_from_0_to_1(name: str) -> None:
    style = DrawingStyle(colormap=name)
    white = np.full((50, 80, 3), 255, np.uint8)
    grid = draw_grid(white, {"a": np.zeros((50, 80), np.float32)}, style=style)
    bar = grid[:, grid.shape[1] - 32]
    table = colors_of(LEVELS, style)[0]
    rows = np.flatnonzero((bar != 255).any(axis=1))
    assert (bar[rows[0]] == table[255]).all() and (bar[rows[-1]] == table[0]).all()
    levels = np.abs(bar[rows].astype(int)[:, None] - table[None]).sum(axis=2).argmin(axis=1)
    assert (np.diff(levels) <= 0).all() and len(set(levels.tolist())) > 100


def test_every_panel_of_a_grid_is_the_overlay_of_its_map() -> None:
    picture = RNG.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    heats = {name: RNG.random((7, 7), np.float32) for name in "abcdefg"}
    box = (40.0, 0.0, 280.0, 240.0)
    grid = draw_grid(picture, heats, ["one", "two"], box=box)
    panels = [picture, *(overlay(picture, heat, box=box) for heat in heats.values())]
    for i, panel in enumerate(panels):
        y, x = 64 + i // 4 * 265, 12 + i % 4 * 332
        np.testing.assert_array_equal(grid[y : y + 240, x : x + 320], panel)


def test_long_text_keeps_its_ends_and_its_width() -> None:
    font = ImageFont.load_default(size=15)
    text = "smoothgradcam++(n=25, sigma=0.15)"
    for width in (20, 60, 120, 200):
        found = shortened(text, width, font)
        assert font.getlength(found) <= width and "…" in found
        first, last = found.split("…")
        assert text.startswith(first) and text.endswith(last)
    assert shortened(text, 1000, font) == text
    assert drawable("naïve\n\x1b[31m中 ﬁ") == "naive??[31m? fi"
