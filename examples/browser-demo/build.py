"""Builds a page that explains pictures in a browser, with no server and no network.

    npm ci --ignore-scripts
    python build.py -o demo.html
    python build.py -o demo.html --model mobilenet_v2.onnx --preprocess torch --labels synsets.txt

The page is one file: onnxruntime-web, the models that `adcc_onnx.bake` writes, their preprocessing
and the scripts of this folder. It can be opened from a disk or served as any other file.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jinja2
import numpy as np
from PIL import Image

import adcc_onnx as adcc
from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.explanation.drawing_style import ALPHA
from adcc_onnx.report.overlay import colors_of

FOLDER = Path(__file__).parent
RUNTIME = FOLDER / "node_modules" / "onnxruntime-web" / "dist"
METHODS = ("gradcam", "gradcam++", "layercam")
SAMPLES = 6


@dataclass(frozen=True)
class BakedModel:
    """A model with a heatmap as its last output, and what the page needs to run it."""

    file: bytes
    description: dict[str, Any]


def bake(model: adcc.Model, path: Path, method: str) -> BakedModel:
    """Bake a method into a model.

    Args:
        model: The loaded model.
        path: Its file.
        method: The method.

    Returns:
        The model for the page.

    Raises:
        click.ClickException: The page cannot preprocess pictures for this model.
    """
    steps = model.preprocessing
    if steps is None or steps.channels not in ("RGB", "BGR") or steps.interpolation == "nearest":
        raise click.ClickException(
            f"{path.name}: the page preprocesses RGB and BGR pictures, resized by bilinear or "
            "bicubic interpolation; name them with --preprocess or in a card"
        )
    classifier = model.classifier
    if classifier.scores_kind not in ("logits", "probabilities"):
        raise click.ClickException(
            f"{path.name}: the page shows logits and probabilities, not {classifier.scores_kind}"
        )
    baked = adcc.bake(model, method)
    description = {
        "title": f"{path.stem}, {method_title(method)}",
        "card": {**steps.describe(), "layout": classifier.layout},
        "labels": model.labels,
        "kind": classifier.scores_kind,
        "input": baked.graph.input[0].name,
        "scores": baked.graph.output[0].name,
    }
    return BakedModel(baked.SerializeToString(), description)


def samples() -> list[dict[str, str]]:
    """Draw pictures for visitors who have none at hand: PNG in base64, with a name."""
    found = []
    for number, drawing in enumerate(draw_many(3, SAMPLES, 224), 1):
        stream = io.BytesIO()
        Image.fromarray(drawing.image).save(stream, "PNG", optimize=True)
        found.append({"png": text(stream.getvalue()), "name": f"Drawing {number}"})
    return found


def text(data: bytes) -> str:
    """Encode bytes as text for a page."""
    return base64.b64encode(data).decode("ascii")


def read_runtime(name: str) -> bytes:
    """Read a file of onnxruntime-web.

    Raises:
        click.ClickException: It is not installed.
    """
    if not (RUNTIME / name).is_file():
        raise click.ClickException(
            f"onnxruntime-web is not installed: run `npm ci --ignore-scripts` in {FOLDER}"
        )
    return (RUNTIME / name).read_bytes()


def page(models: list[BakedModel]) -> str:
    """Write the page with the given models."""
    colors = colors_of(np.arange(256, dtype=np.uint8)[None])[0].tolist()
    settings = {"models": [model.description for model in models], "colors": colors}
    scripts = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=False)
    return scripts.get_template("page.html").render(
        css=(FOLDER / "demo.css").read_text("utf-8"),
        gradient=", ".join(f"rgb({r} {g} {b})" for r, g, b in colors[::32] + colors[-1:]),
        alpha=ALPHA,
        samples=samples(),
        # "</script>" inside a name of a class would end the element.
        settings=json.dumps(settings).replace("<", "\\u003c"),
        runtime_loader=text(read_runtime("ort-wasm-simd-threaded.mjs")),
        runtime=text(read_runtime("ort-wasm-simd-threaded.wasm")),
        models=[text(model.file) for model in models],
        ort=read_runtime("ort.wasm.min.js").decode("utf-8"),
        preprocessing=(FOLDER / "preprocessing.js").read_text("utf-8"),
        demo=(FOLDER / "demo.js").read_text("utf-8"),
    )


def read_labels(path: Path | None) -> list[str] | None:
    """Read one class name per line; an ImageNet identifier in front of a name is dropped."""
    if path is None:
        return None
    lines = path.read_text("utf-8").splitlines()
    return [line.split(" ", 1)[-1].replace("_", " ") for line in lines if line.strip()]


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The page.")
@click.option(
    "--model",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another model, shown beside the built-in classifier.",
)
@click.option("--preprocess", help="Preset or card of that model; default: the card beside it.")
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text file with the class names of that model, one per line.",
)
def main(out: Path, path: Path | None, preprocess: str | None, labels: Path | None) -> None:
    """Build the page."""
    builtin = adcc.load(classifier_path(), device="cpu")
    models = [bake(builtin, classifier_path(), method) for method in METHODS]
    if path is not None:
        own = adcc.load(path, preprocessing=preprocess, device="cpu")
        names = read_labels(labels)
        models.append(bake(own.with_labels(names) if names else own, path, METHODS[0]))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(models), encoding="utf-8")
    click.echo(f"{out}: {out.stat().st_size / 1e6:.0f} MB, {len(models)} models")


if __name__ == "__main__":
    main()
