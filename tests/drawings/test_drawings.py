"""Drawings: every image is independent of the others, and its mask is the visible object."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial, stats

from adcc_onnx.drawings import generate
from adcc_onnx.drawings.generate import Drawing, draw, draw_many
from adcc_onnx.drawings.outlines import CLASSES, UNIT_OUTLINES, Outline, outline_area
from adcc_onnx.drawings.textures import PixelArray

measure = pytest.importorskip("skimage.measure")
polygon2mask = pytest.importorskip("skimage.draw").polygon2mask

SEED, COUNT = 5, 400
# An edge pixel that the mask leaves out, and the 4 pixels that the lens reaches (4 sigma).
SQUARE, REACH = np.ones((3, 3), bool), 5


@pytest.fixture(scope="module")
def stream() -> list[Drawing]:
    return list(draw_many(SEED, COUNT))


def same(one: Drawing, other: Drawing) -> bool:
    return (
        one.label == other.label
        and np.array_equal(one.image, other.image)
        and np.array_equal(one.mask, other.mask)
    )


def test_an_image_drawn_separately_equals_that_of_the_stream(stream: list[Drawing]) -> None:
    for index in (COUNT - 1, 0, 17, 0):
        assert same(draw(SEED, index), stream[index])


def test_seeds_and_indices_give_different_images(stream: list[Drawing]) -> None:
    assert len({drawing.image.tobytes() for drawing in stream}) == COUNT
    assert not same(draw(SEED + 1, 0), stream[0])
    assert not same(draw(0, SEED), draw(SEED, 0))


@pytest.mark.parametrize("size", [32, 112, 224])
def test_arrays(size: int) -> None:
    drawing = draw(SEED, 0, size)
    assert drawing.image.shape == (size, size, 3)
    assert drawing.image.dtype == np.uint8
    assert drawing.mask.shape == (size, size)
    assert drawing.mask.dtype == np.bool_


def test_the_scene_does_not_depend_on_the_size() -> None:
    for index in range(20):
        small, large = draw(SEED, index, 112), draw(SEED, index, 224)
        assert small.label == large.label
        halved = large.mask.reshape(112, 2, 112, 2).mean(axis=(1, 3)) >= 0.5
        union = np.count_nonzero(halved | small.mask)
        # The two rasters may differ along the edges alone.
        inner = ndimage.binary_erosion(small.mask) & ~halved
        outer = ~ndimage.binary_dilation(small.mask) & halved
        assert np.count_nonzero(inner | outer) < 0.03 * union


def test_classes_are_equally_frequent() -> None:
    labels = [draw(SEED, index, 32).label for index in range(1000)]
    assert stats.chisquare(np.bincount(labels, minlength=len(CLASSES))).pvalue > 1e-3


def test_visible_area(stream: list[Drawing]) -> None:
    areas = np.array([drawing.mask.mean() for drawing in stream])
    assert areas.min() >= 0.08
    assert areas.max() <= 0.25
    for label in range(len(CLASSES)):  # the size must not tell the class
        mean = areas[[drawing.label == label for drawing in stream]].mean()
        assert mean == pytest.approx(0.172, abs=0.03)


def test_outlines_have_area_one() -> None:
    assert len(UNIT_OUTLINES) == len(CLASSES)
    for outline in UNIT_OUTLINES:
        assert outline_area(outline) == pytest.approx(1, abs=1e-12)


SOLIDITY = {  # area over the convex hull's: closed forms, but for the heart and the crescent
    "circle": 1.0,
    "square": 1.0,
    "triangle": 1.0,
    "star": 0.45 / np.cos(np.pi / 5),
    "ring": 1 - 0.58**2,
    "cross": (4 - 4 * 0.68**2) / (4 - 2 * 0.68**2),
    "arrow": (1.1 * 0.52 + 0.9 * 1.5 / 2) / (1.1 * (0.52 + 1.5) / 2 + 0.9 * 1.5 / 2),
    "hourglass": (0.8 + 0.1) / (2 * 0.8),
}


@pytest.mark.parametrize("name", SOLIDITY)
def test_outlines_have_the_form_of_their_class(name: str) -> None:
    outer = UNIT_OUTLINES[CLASSES.index(name)][0]
    hull = spatial.ConvexHull(outer).volume  # in the plane, its area
    assert 1 / hull == pytest.approx(SOLIDITY[name], rel=1e-9)


def test_masks_are_the_outlines_on_the_pixel_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[Outline] = []
    coverage = generate._coverage

    def spy(outline: Outline, size: int) -> PixelArray:
        placed.append(outline)
        return coverage(outline, size)

    monkeypatch.setattr(generate, "_coverage", spy)
    monkeypatch.setattr(generate, "random_distractors", lambda rng, count: [])
    for drawing in draw_many(SEED, 60):
        outer, *holes = (
            polygon2mask(drawing.mask.shape, contour[:, ::-1] * len(drawing.mask) - 0.5)
            for contour in placed.pop()
        )
        truth = outer & ~np.logical_or.reduce(holes) if holes else outer
        # On the 4 times finer raster corners are rounded by half a pixel, and OpenCV fills the
        # pixels that the outline itself passes: a quarter of a pixel, on diagonals times sqrt(2).
        bound = measure.perimeter(truth) * np.sqrt(2) / 4
        assert np.count_nonzero(truth ^ drawing.mask) <= bound + 4


def without_object(monkeypatch: pytest.MonkeyPatch, index: int) -> Drawing:
    with monkeypatch.context() as patch:
        patch.setattr(generate, "_coverage", lambda outline, size: np.zeros((size, size), "f4"))
        return draw(SEED, index)


def test_the_mask_is_where_the_object_changes_the_image(
    stream: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(60):
        drawing, empty = stream[index], without_object(monkeypatch, index)
        assert not empty.mask.any()
        change = np.abs(drawing.image.astype(int) - empty.image).max(axis=2)
        inside = ndimage.binary_erosion(drawing.mask, iterations=2)
        outside = ~ndimage.binary_dilation(drawing.mask, SQUARE, REACH)
        assert np.mean(change[inside] > 12) > 0.99
        assert np.mean(change[drawing.mask] > 12) > 0.95
        assert not change[outside].any()


def test_clutter_in_front_is_not_part_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    touched = 0
    for index in range(60):
        drawing = draw(SEED, index)
        with monkeypatch.context() as patch:
            patch.setattr(generate, "random_distractors", lambda rng, count: [])
            clear = draw(SEED, index)
        hidden = clear.mask & ~drawing.mask
        assert not (drawing.mask & ~clear.mask).any()
        assert hidden.sum() <= 0.25 * clear.mask.sum()
        change = np.abs(drawing.image.astype(int) - clear.image).max(axis=2)
        if hidden.any():
            touched += 1
            assert change[hidden].mean() > change[drawing.mask].mean()
    assert touched > 10


def test_only_the_shape_determines_the_class(
    stream: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every outline replaced by another class's, the rest of the picture stays as it is."""
    monkeypatch.setattr(generate, "UNIT_OUTLINES", UNIT_OUTLINES[1:] + UNIT_OUTLINES[:1])
    compared = 0
    for index in range(60):
        drawing, other = stream[index], draw(SEED, index)
        either, both = drawing.mask | other.mask, drawing.mask & other.mask
        alike = ndimage.binary_erosion(both, SQUARE, REACH)
        alike |= ~ndimage.binary_dilation(either, SQUARE, REACH)
        np.testing.assert_array_equal(drawing.image[alike], other.image[alike])
        compared += np.count_nonzero(alike & both)
    assert compared > 1000
