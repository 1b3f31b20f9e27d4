"""The drawings: each image stands alone, and its mask is the object that one sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from adcc_onnx.drawings import generate
from adcc_onnx.drawings.generate import CLASSES, Drawing, draw, drawings
from adcc_onnx.drawings.shapes import UNIT_OUTLINES, area

measure = pytest.importorskip("skimage.measure")

SEED, COUNT = 5, 400


@pytest.fixture(scope="module")
def stream() -> list[Drawing]:
    return list(drawings(SEED, COUNT))


def same(one: Drawing, other: Drawing) -> bool:
    return (
        one.label == other.label
        and np.array_equal(one.image, other.image)
        and np.array_equal(one.mask, other.mask)
    )


def test_an_image_drawn_alone_is_the_one_of_the_stream(stream: list[Drawing]) -> None:
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
    labels = [draw(SEED, index, 32).label for index in range(2000)]
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
        assert area(outline) == pytest.approx(1, abs=1e-12)


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
def test_masks_have_the_shape_of_their_class(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "distractors", lambda rng, count: [])
    seen = 0
    for index in range(120):
        drawing = draw(SEED, index, 448)
        if CLASSES[drawing.label] != name:
            continue
        (region,) = measure.regionprops(drawing.mask.astype(int))
        # Stretching an outline leaves its solidity; pixels round it by less than a percent.
        assert region.solidity == pytest.approx(SOLIDITY[name], abs=0.01)
        assert region.euler_number == (0 if name == "ring" else 1)
        seen += 1
    assert seen >= 4


def without_object(monkeypatch: pytest.MonkeyPatch, index: int) -> Drawing:
    with monkeypatch.context() as patch:
        patch.setattr(generate, "_coverage", lambda outline, size: np.zeros((size, size), "f4"))
        return draw(SEED, index)


def test_the_mask_is_where_the_object_changes_the_picture(
    stream: list[Drawing], monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(60):
        drawing, empty = stream[index], without_object(monkeypatch, index)
        assert not empty.mask.any()
        change = np.abs(drawing.image.astype(int) - empty.image).max(axis=2)
        inside = ndimage.binary_erosion(drawing.mask, iterations=2)
        outside = ~ndimage.binary_dilation(drawing.mask, iterations=5)
        assert np.mean(change[inside] > 12) > 0.99
        assert np.mean(change[drawing.mask] > 12) > 0.95
        # The lens reaches 4 pixels and the clutter on top shows no object through.
        assert np.mean(change[outside] == 0) > 0.99
        assert change[outside].max(initial=0) < 12


def test_clutter_on_top_is_no_part_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    touched = 0
    for index in range(60):
        drawing = draw(SEED, index)
        with monkeypatch.context() as patch:
            patch.setattr(generate, "distractors", lambda rng, count: [])
            clear = draw(SEED, index)
        hidden = clear.mask & ~drawing.mask
        assert not (drawing.mask & ~clear.mask).any()
        assert hidden.sum() <= 0.25 * clear.mask.sum()
        change = np.abs(drawing.image.astype(int) - clear.image).max(axis=2)
        if hidden.any():
            touched += 1
            assert change[hidden].mean() > change[drawing.mask].mean()
    assert touched > 10


def test_colour_does_not_tell_the_class() -> None:
    """The object's mean colour and its spread do not differ between classes (one-way ANOVA)."""
    drawn = list(drawings(SEED, 1500, 64))
    labels = np.array([drawing.label for drawing in drawn])
    inside = [drawing.image[drawing.mask].astype(float) for drawing in drawn]
    figures = np.array([[*pixels.mean(axis=0), pixels.std(axis=0).mean()] for pixels in inside])
    for figure in figures.T:
        groups = [figure[labels == label] for label in range(len(CLASSES))]
        assert stats.f_oneway(*groups).pvalue > 1e-3
