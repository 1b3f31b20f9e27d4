"""Boxes, polygons, run-length encodings and mask images give exactly the pixels they define."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import draw

from adcc_onnx.errors import ImageError, SourceError
from adcc_onnx.images.annotations.ground_truth import with_ground_truth
from adcc_onnx.images.annotations.polygons import decode_runs, mask_from_runs, polygon_mask
from adcc_onnx.images.sources.image_source import Record, Source
from adcc_onnx.images.sources.open_images import open_arrays, open_source

HEIGHT, WIDTH = 30, 40


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, `cat/1.png` and `dog/2.png`."""
    for name in ("cat/1.png", "dog/2.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    return tmp_path / "pictures"


def voc(*boxes: tuple[float, ...], size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> str:
    declared = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    objects = "".join(
        "<object><name>n01440764</name><part><bndbox><xmin>1</xmin></bndbox></part><bndbox>"
        f"<xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    return f"<annotation><filename>1</filename>{declared}{objects}</annotation>"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def coco(path: Path, *annotations: dict[str, Any], **image: Any) -> Path:
    images = [
        {"id": 7, "file_name": "cat/1.jpg", "height": HEIGHT, "width": WIDTH, **image},
        {"id": 8, "file_name": "2.jpg", "height": HEIGHT, "width": WIDTH},
    ]
    content = {"images": images, "annotations": [{"image_id": 7, **a} for a in annotations]}
    return write(path, json.dumps(content))


def first(source: Source) -> Record:
    return next(iter(source))


def mask_of(pictures: Path, spec: Path) -> np.ndarray:
    record = first(with_ground_truth(open_source(pictures), spec))
    assert record.truth is not None
    return record.truth()


def painted(*areas: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for area in areas:
        mask[area] = True
    return mask


def test_voc_counts_from_one_and_includes_both_ends(pictures: Path, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.xml", voc((3, 5, 10, 20)))
    np.testing.assert_array_equal(
        mask_of(pictures, tmp_path / "a"), painted((slice(4, 20), slice(2, 10)))
    )
    write(tmp_path / "a" / "1.xml", voc((1, 1, WIDTH, HEIGHT)))
    assert mask_of(pictures, tmp_path / "a").all()
    write(tmp_path / "a" / "1.xml", voc((7, 7, 7, 7)))
    np.testing.assert_array_equal(
        mask_of(pictures, tmp_path / "a"), painted((slice(6, 7), slice(6, 7)))
    )


def test_several_boxes_are_united_and_clipped(pictures: Path, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.xml", voc((0, 0, 4, 4), (30, 25, 500, 500), (3.4, 3.4, 6.9, 6.9)))
    wanted = painted(
        (slice(0, 4), slice(0, 4)), (slice(24, 30), slice(29, 40)), (slice(3, 6), slice(3, 6))
    )
    np.testing.assert_array_equal(mask_of(pictures, tmp_path / "a"), wanted)


def test_annotations_by_path_by_name_and_missing(pictures: Path, tmp_path: Path) -> None:
    write(tmp_path / "a" / "dog" / "2.xml", voc((1, 1, 2, 2)))
    cat, dog = with_ground_truth(open_source(pictures), tmp_path / "a")
    assert cat.truth is None and dog.truth is not None and dog.truth().sum() == 4
    write(tmp_path / "b" / "1.xml", voc((1, 1, 3, 3)))
    cat, dog = with_ground_truth(open_source(pictures), tmp_path / "b")
    assert dog.truth is None and cat.truth is not None and cat.truth().sum() == 9


def test_an_ambiguous_file_name_matches_no_image(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png", "dog/2.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    write(tmp_path / "a" / "1.xml", voc((1, 1, 2, 2)))
    write(tmp_path / "a" / "2.xml", voc((1, 1, 2, 2)))
    source = with_ground_truth(open_source(tmp_path / "pictures"), tmp_path / "a")
    assert [record.truth is not None for record in source] == [False, False, True]


def test_no_annotation_is_read_outside_its_folder(tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "1.png")
    write(tmp_path / "lists" / "list.csv", "../1.png\n")
    write(tmp_path / "1.xml", voc((1, 1, 2, 2)))
    write(tmp_path / "a" / "other.xml", voc((1, 1, 2, 2)))
    with pytest.raises(SourceError, match="annotates no image"):
        with_ground_truth(open_source(tmp_path / "lists" / "list.csv"), tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (voc((1, 1, 2, 2), size=(WIDTH + 1, HEIGHT)), "30 x 41 pixels .* not 30 x 40"),
        (voc((41, 1, 50, 5)), "reverse order or is outside"),
        (voc((10, 1, 9, 5)), "reverse order or is outside"),
        (voc((1, 1, float("nan"), 5)), "not a finite number"),
        (voc((1, 1, 2, 2)).replace("<xmax>2</xmax>", ""), "is not numeric"),
        (voc((1, 1, 2, 2)).replace("</annotation>", ""), "the XML is malformed"),
        ("", "the XML is malformed"),
        ("<!DOCTYPE a [<!ENTITY b 'bbbb'>]>" + voc((1, 1, 2, 2)), "document type"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + voc((1, 1, 2, 2)), "document type"),
        ("<a>" * 200_000, "the XML is malformed"),
        ("<a>" * 100_000 + "</a>" * 100_000 + " " * 2**20, "more than"),
    ],
)
def test_a_broken_box_file_fails_its_image_by_name(
    pictures: Path, tmp_path: Path, text: str, words: str
) -> None:
    write(tmp_path / "a" / "1.xml", text)
    with pytest.raises(ImageError, match=words) as caught:
        mask_of(pictures, tmp_path / "a")
    assert "1.xml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_box_file_without_boxes_gives_an_empty_mask(pictures: Path, tmp_path: Path) -> None:
    for text in (voc(), "<a>" * 50_000 + "</a>" * 50_000):
        write(tmp_path / "a" / "1.xml", text)
        assert not mask_of(pictures, tmp_path / "a").any()


def test_nonzero_pixels_form_the_mask(pictures: Path, tmp_path: Path) -> None:
    truth = np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.3
    folder = tmp_path / "m"
    folder.mkdir()
    clear = np.dstack([truth * 9, truth * 0, truth * 0, np.full(truth.shape, 255)])
    palette = Image.fromarray((truth * 15).astype(np.uint8), "P")
    palette.putpalette([0] * 768)
    kinds = [
        Image.fromarray((truth * 255).astype(np.uint8)),
        Image.fromarray(truth),
        Image.fromarray((truth * 1).astype(np.uint16)),
        Image.fromarray(clear.astype(np.uint8), "RGBA"),
        palette,
    ]
    for kind in kinds:
        kind.save(folder / "1.png")
        np.testing.assert_array_equal(mask_of(pictures, folder), truth)


def test_a_damaged_mask_or_one_of_another_size_fails_its_image(
    pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    Image.new("L", (HEIGHT, WIDTH)).save(folder / "1.png")
    with pytest.raises(ImageError, match=r"40 x 30 pixels .* not 30 x 40"):
        mask_of(pictures, folder)
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:50])
    with pytest.raises(ImageError, match=r"1\.png: truncated"):
        mask_of(pictures, folder)


def test_a_rotated_image_has_the_mask_of_the_upright_one(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "pictures" / "1.png", exif=exif)
    write(tmp_path / "a" / "1.xml", voc((1, 1, 4, 2), size=(HEIGHT, WIDTH)))
    found = mask_of(tmp_path / "pictures", tmp_path / "a")
    assert found.shape == (WIDTH, HEIGHT) and found[:2, :4].all() and found.sum() == 8
    write(tmp_path / "a" / "1.xml", voc((1, 1, 4, 2)))
    with pytest.raises(ImageError, match="30 x 40 pixels"):
        mask_of(tmp_path / "pictures", tmp_path / "a")


def test_coco_boxes_cover_pixels_whose_centers_lie_inside(pictures: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for _ in range(50):
        x, y = rng.uniform(-3, 30, 2).round(1)
        w, h = rng.uniform(3.5, 20, 2).round(1)
        found = mask_of(pictures, coco(tmp_path / "c.json", {"bbox": [x, y, w, h]}))
        wanted = (x <= columns) & (columns < x + w) & (y <= rows) & (rows < y + h)
        np.testing.assert_array_equal(found, wanted)
    whole = coco(tmp_path / "c.json", {"bbox": [3, 4, 10, 20]})
    np.testing.assert_array_equal(mask_of(pictures, whole), painted((slice(4, 24), slice(3, 13))))
    speck = coco(tmp_path / "c.json", {"bbox": [3.6, 4.6, 0.2, 0.2]}, {"bbox": [0, 0, 1, 1]})
    assert mask_of(pictures, speck).sum() == 1


def test_outlines_against_scikit_image() -> None:
    rng = np.random.default_rng(2)
    for corners in (3, 4, 5, 9, 30):
        for _ in range(20):
            x, y = rng.uniform(-5, 45, corners), rng.uniform(-5, 35, corners)
            found = polygon_mask(np.stack([x, y], 1).ravel().tolist(), (HEIGHT, WIDTH))
            wanted = draw.polygon2mask((HEIGHT, WIDTH), np.stack([y - 0.5, x - 0.5], 1))
            np.testing.assert_array_equal(found, wanted)
    square = polygon_mask([3, 4, 13, 4, 13, 24, 3, 24], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(square, painted((slice(4, 24), slice(3, 13))))


def test_outlines_and_run_lengths_against_cocos_own() -> None:
    """Its outlines are rounded on a finer grid: they may differ where an edge meets a center."""
    masks = pytest.importorskip("pycocotools.mask")
    rng, off, size = np.random.default_rng(3), 0.0, 0
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radius = rng.uniform(5, 14, 12)
        x, y = 20 + radius * np.cos(angles), 15 + radius * np.sin(angles)
        outline = np.stack([x, y], 1).ravel().tolist()
        theirs = masks.decode(masks.frPyObjects([outline], HEIGHT, WIDTH))[:, :, 0].astype(bool)
        off += np.sum(theirs != polygon_mask(outline, (HEIGHT, WIDTH)))
        size += theirs.sum()
        noise = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < rng.uniform(0.01, 0.99))
        packed = masks.encode(noise.astype(np.uint8))["counts"].decode()
        np.testing.assert_array_equal(mask_from_runs(decode_runs(packed), (HEIGHT, WIDTH)), noise)
    assert off / size < 0.03


def test_every_kind_of_segmentation(pictures: Path, tmp_path: Path) -> None:
    square, other = [3, 4, 13, 4, 13, 24, 3, 24], [20, 1, 22, 1, 22, 3, 20, 3]
    two = painted((slice(4, 24), slice(3, 13)), (slice(1, 3), slice(20, 22)))
    path = tmp_path / "c.json"
    box = {"bbox": [0, 0, 40, 30]}
    outlines = coco(path, {"segmentation": [square, other], **box})
    np.testing.assert_array_equal(mask_of(pictures, outlines), two)
    apart = coco(path, {"segmentation": [square]}, {"segmentation": [other]})
    np.testing.assert_array_equal(mask_of(pictures, apart), two)
    plain = {"size": [HEIGHT, WIDTH], "counts": [2 * HEIGHT + 3, 4, HEIGHT * 38 - 7]}
    runs = coco(path, {"segmentation": plain, "iscrowd": 1, **box})
    np.testing.assert_array_equal(mask_of(pictures, runs), painted((slice(3, 7), slice(2, 3))))


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"segmentation": [[1, 2, 3, 4]]}, "three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e999]]}, "three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, ""),
        ({"segmentation": {"size": [3, 4], "counts": [12]}}, "3 x 4 pixels"),
        ({"segmentation": {"size": [30, 40], "counts": [12]}}, "the runs have 12 pixels"),
        ({"segmentation": {"size": [30, 40], "counts": [10**30]}}, ""),
        ({"segmentation": {"size": [30, 40], "counts": [-1, 1201]}}, "integers from 0"),
        ({"segmentation": {"size": [30, 40], "counts": "zzz"}}, "an invalid character"),
        ({"segmentation": {"size": [30, 40], "counts": "P"}}, "within a number"),
        ({"segmentation": {}}, ""),
        ({"bbox": [1, 2, 3]}, ""),
        ({"bbox": None}, ""),
        ({"bbox": [100, 100, 3, 3]}, "outside the image"),
        ({"bbox": [1, 1, "2", 2]}, ""),
    ],
)
def test_a_broken_annotation_fails_its_image(
    pictures: Path, tmp_path: Path, annotation: dict[str, Any], words: str
) -> None:
    with pytest.raises(ImageError, match=r"c\.json, image 7.*" + words) as caught:
        mask_of(pictures, coco(tmp_path / "c.json", annotation))
    assert "\n" not in str(caught.value)


def test_coco_sizes_must_match_and_images_may_lack_annotations(
    pictures: Path, tmp_path: Path
) -> None:
    path = coco(tmp_path / "c.json", {"bbox": [0, 0, 2, 2]}, height=31)
    with pytest.raises(ImageError, match="31 x 40 pixels"):
        mask_of(pictures, path)
    path = coco(tmp_path / "c.json", {"bbox": [0, 0, 2, 2]}, height=None)
    cat, dog = with_ground_truth(open_source(pictures), path)
    assert cat.truth is not None and cat.truth().sum() == 4 and dog.truth is None


@pytest.mark.parametrize(
    ("files", "spec", "words"),
    [
        ({}, "gone", "no such file or folder"),
        ({"a/9.xml": "<a/>"}, "a", "annotates no image of the source, such as cat/1.png"),
        ({"a/1.xml": "<a/>", "a/1.png": "x"}, "a", "both boxes"),
        ({"a/1.txt": "x"}, "a", "neither boxes"),
        ({"a.txt": "x"}, "a.txt", "neither a folder"),
        ({"a.json": "{"}, "a.json", "cannot be read as JSON"),
        ({"a.json": "[" * 100_000}, "a.json", "cannot be read as JSON"),
        ({"a.json": "[]"}, "a.json", "not a COCO file"),
        ({"a.json": '{"images": [{"id": 1}], "annotations": []}'}, "a.json", "not a COCO file"),
        ({"a.json": '{"images": [], "annotations": []}'}, "a.json", "annotates no image"),
    ],
)
def test_mistakes_are_named(
    pictures: Path, tmp_path: Path, files: dict[str, str], spec: str, words: str
) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(SourceError, match=words) as caught:
        with_ground_truth(open_source(pictures), tmp_path / spec)
    assert "\n" not in str(caught.value)


def test_the_image_is_decoded_once(pictures: Path, tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.xml", voc((1, 1, 2, 2)))
    source = open_source(pictures)
    loads = []

    def counted(positions: Any) -> Any:
        for record in source.at(positions):
            load = record.load
            yield Record(record.name, None, lambda load=load: loads.append(1) or load())

    record = first(with_ground_truth(Source(source.names, source.labels, counted), tmp_path / "a"))
    assert record.truth is not None
    record.load()
    record.truth()
    record.truth()
    assert len(loads) == 1


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_masks_of_preprocessed_tensors(tmp_path: Path, save: Any) -> None:
    rng = np.random.default_rng(4)
    x, mask = rng.standard_normal((5, 3, 6, 7)).astype(np.float32), rng.random((5, 6, 7)) < 0.5
    save(tmp_path / "x.npz", x=x, mask=mask, label=np.arange(5))
    for source in (open_source(tmp_path / "x.npz"), open_arrays(x, masks=mask)):
        records = list(source)
        assert all(record.truth is not None for record in records)
        found = np.stack([record.truth() for record in records if record.truth])
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found, mask)
        np.testing.assert_array_equal(np.stack([record.load() for record in records]), x)
    with pytest.raises(SourceError, match=r"must be bool \[5 x 6 x 7\], not bool \[5 x 7 x 6\]"):
        open_arrays(x, masks=mask.transpose(0, 2, 1))
