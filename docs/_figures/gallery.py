"""The gallery: every method on four images, with at most six methods of a family per picture.

    python docs/_figures/gallery.py                                   # the pictures of the site
    python docs/_figures/gallery.py --model net.onnx --preprocess torch --images photos/ -o out/

The first command draws generated images under the built-in classifiers into docs/images/: methods
on attention under the transformer, all others under the convolutional network, and a product of the
maps of several layers. The second one draws the first four photos of a folder under any model;
`--method` chooses methods, because those with many passes take long.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import adcc_onnx as adcc
from adcc_onnx.drawings import classifier_path

RGB = NDArray[np.uint8]
_IMAGES = Path(__file__).parents[1] / "images"
_COUNT = 4
_ROWS = 6  # methods per picture
# The layers of the built-in classifier whose maps are multiplied: 28 x 28 and 14 x 14 cells.
_FUSED_LAYERS = ["/3/Relu_output_0", "/5/Relu_output_0", "/7/Relu_1_output_0"]
_CELL, _GAP, _LABEL = 168, 6, 24  # pixels


def main() -> None:
    """Write the pictures of all families."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--preprocess")
    parser.add_argument("--images", default="drawings:4@3")
    parser.add_argument("--method", action="append", default=[])
    parser.add_argument("-o", "--out", type=Path, default=_IMAGES)
    options = parser.parse_args()
    model = adcc.load(options.model or classifier_path(), options.preprocess, device="cpu")
    source = first_images(options.images)
    images = model_crops(model, source)
    options.out.mkdir(exist_ok=True)
    for family, names in families(options.method).items():
        built_in = not options.model and family == "attention"
        shown = adcc.load(classifier_path("transformer"), device="cpu") if built_in else model
        for start in range(0, len(names), _ROWS):
            rows = overlays(shown, source, names[start : start + _ROWS], images)
            number = f"-{start // _ROWS + 1}" if start else ""
            save(options.out / f"gallery-{family}{number}.webp", [("image", images), *rows])
    if not options.model and not options.method:
        rows = fused_overlays(source, images)
        save(options.out / "gallery-fusion.webp", [("image", images), *rows])


def save(path: Path, rows: list[tuple[str, list[RGB]]]) -> None:
    """Write a picture and report its size."""
    Image.fromarray(picture(rows)).save(path, quality=85, method=6)
    print(path, f"{path.stat().st_size / 1e3:.0f} KB", *(name for name, _ in rows[1:]))


def fused_overlays(source: str | list[Path], images: list[RGB]) -> Iterator[tuple[str, list[RGB]]]:
    """Yield Grad-CAM++ of three layers of the built-in classifier, and the product of its maps."""
    for layers in (*([name] for name in _FUSED_LAYERS), _FUSED_LAYERS):
        model = adcc.load(classifier_path(), device="cpu", layers=layers, fuse="product")
        (found,) = overlays(model, source, ["gradcam++"], images)
        label = f"gradcam++, {layers[0]}" if len(layers) == 1 else "gradcam++, their product"
        yield label, found[1]


def families(chosen: list[str]) -> dict[str, list[str]]:
    """Return the chosen methods, or all, by family, in the order of `adcc-onnx methods`."""
    found: dict[str, list[str]] = {}
    for method in adcc.list_methods():
        if not chosen or method.name in chosen:
            found.setdefault(method.family, []).append(method.name)
    return found


def first_images(given: str) -> str | list[Path]:
    """Return the first files of a folder; any other source must have four images."""
    if not Path(given).is_dir():
        return given
    return sorted(path for path in Path(given).iterdir() if path.is_file())[:_COUNT]


def model_crops(model: adcc.Model, source: str | list[Path]) -> list[RGB]:
    """Return the images as the model sees them, before normalization."""
    found = adcc.explain(model, source, "center")
    opened = [Image.open(io.BytesIO(found.thumbnails[name])) for name in found.names]
    return [np.asarray(image.convert("RGB").resize((_CELL, _CELL))) for image in opened]


def overlays(
    model: adcc.Model, source: str | list[Path], names: list[str], images: list[RGB]
) -> Iterator[tuple[str, list[RGB]]]:
    """Yield each method with its overlays; a method that cannot explain the model is left out."""
    for name in names:
        try:
            maps = adcc.explain(model, source, name).maps
        except adcc.AdccError as error:
            print(f"{name}: {error}")
            continue
        sized = [np.asarray(Image.fromarray(m).resize((_CELL, _CELL))).clip(0, 1) for m in maps]
        drawn = [adcc.overlay(i, m) for i, m in zip(images, sized, strict=True)]
        yield name, drawn


def picture(rows: list[tuple[str, list[RGB]]]) -> RGB:
    """Return rows of images with their names above them, [height, width, 3]."""
    step = _CELL + _LABEL + _GAP
    canvas = Image.new("RGB", (_COUNT * (_CELL + _GAP) - _GAP, len(rows) * step - _GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=15)
    for row, (name, cells) in enumerate(rows):
        draw.text((2, row * step + 3), name, fill="black", font=font)
        for column, cell in enumerate(cells):
            canvas.paste(Image.fromarray(cell), (column * (_CELL + _GAP), row * step + _LABEL))
    return np.asarray(canvas)


if __name__ == "__main__":
    main()
