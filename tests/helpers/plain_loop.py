"""ADCC written out plainly, photo by photo: onnxruntime, numpy and scipy, nothing of ours.

Both models end in global average pooling and a linear layer, so the gradient of a logit at the last
feature map is known in closed form: the class's weights over h w, whatever the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.special import softmax
from scipy.stats import pearsonr

Array = np.ndarray


@dataclass
class PlainModel:
    """A model whose last feature map is an output, and the linear layer behind it."""

    session: onnxruntime.InferenceSession
    weights: Array  # [classes, K]
    softmax_inside: bool

    @classmethod
    def read(cls, path: Path, layer: str, weights: str) -> PlainModel:
        model = onnx.load(path)
        tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        gemm = next(n for n in model.graph.node if n.op_type == "Gemm" and weights in n.input)
        matrix = tensors[weights]
        transposed = any(a.name == "transB" and a.i for a in gemm.attribute)
        inside = model.graph.node[-1].op_type == "Softmax"
        del model.graph.output[:]
        for name in (gemm.output[0], layer):
            kind = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(kind)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return cls(session, (matrix if transposed else matrix.T).astype(np.float64), inside)

    def run(self, images: Array) -> tuple[Array, Array]:
        """(logits, A), one image a run."""
        name = self.session.get_inputs()[0].name
        parts = [self.session.run(None, {name: image[None]}) for image in images]
        logits, maps = (
            np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True)
        )
        return logits, maps


def torch_preset(path: Path) -> Array:
    pixels = _crop(path)[:, :, ::1] / 255.0
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return ((pixels - mean) / std).transpose(2, 0, 1).astype(np.float32)


def caffe_preset(path: Path) -> Array:
    return (_crop(path)[:, :, ::-1] - (104.0, 117.0, 123.0)).transpose(2, 0, 1).astype(np.float32)


def _crop(path: Path) -> Array:
    """Shorter side to 256, central 224, as torchvision does it on a PIL image."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (256, int(256 * height / width)) if width == short else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    return np.asarray(image.crop((left, top, left + 224, top + 224)), np.float64)


def normalize(raw: Array) -> Array:
    return (raw - raw.min()) / (raw.max() - raw.min()) if raw.max() > raw.min() else 0.0 * raw


def enlarge(small: Array, side: int = 224) -> Array:
    """Bilinear with half-pixel centers, the edge repeated."""
    axes = [(np.arange(side) + 0.5) * n / side - 0.5 for n in small.shape]
    places = np.meshgrid(*axes, indexing="ij")
    return np.asarray(map_coordinates(small, places, order=1, mode="nearest"))


def weighted(weights: Array, maps: Array) -> Array:
    return np.maximum(np.tensordot(weights, maps, 1), 0.0)


def plus_plus(maps: Array, g: Array) -> Array:
    s = maps.sum(axis=(1, 2))
    bottom = 2 * g**2 + s * g**3
    alpha = np.divide(g**2, bottom, out=np.zeros_like(g), where=bottom != 0)
    return weighted(maps[0].size * alpha * np.maximum(g, 0.0), maps)


# From the feature map A [K, h, w] and the (constant) gradient g [K] to the raw map.
GRADIENT_METHODS: dict[str, Callable[[Array, Array], Array]] = {
    "gradcam": lambda maps, g: weighted(g, maps),
    "gradcam++": plus_plus,
    # The gradient of a linear head does not depend on the image: noise changes nothing.
    "smoothgradcam++(n=2)": plus_plus,
    "xgradcam": lambda maps, g: weighted(np.where(maps.sum(axis=(1, 2)) != 0, g, 0.0), maps),
    "layercam": lambda maps, g: weighted(np.maximum(g, 0.0), maps),
    "hirescam": lambda maps, g: weighted(g, maps),
}


def cam(model: PlainModel, method: str, image: Array, maps: Array, target: int) -> Array:
    """The map [224, 224] of one image whose feature map is `maps`."""
    if method == "fakecam":
        fake = np.ones((224, 224))
        fake[0, 0] = 0.0
        return fake
    if method == "scorecam":
        return enlarge(normalize(weighted(score_weights(model, image, maps, target), maps)))
    g = model.weights[target] / maps[0].size
    return enlarge(normalize(GRADIENT_METHODS[method](maps, g)))


def score_weights(model: PlainModel, image: Array, maps: Array, target: int) -> Array:
    scores = [
        model.run((image * enlarge(normalize(channel))).astype(np.float32)[None])[0][0, target]
        for channel in maps
    ]
    return np.asarray(softmax(scores))


def table(model: PlainModel, images: Array, methods: list[str]) -> dict[str, dict[str, Array]]:
    """Per image: p(x), p(e), coherency and complexity of every method."""
    logits, features = model.run(images)
    targets = logits.argmax(axis=1)
    p = softmax(logits, axis=1)[np.arange(len(images)), targets]
    rows: dict[str, dict[str, Array]] = {}
    for method in methods:
        first = [
            cam(model, method, x, a, c) for x, a, c in zip(images, features, targets, strict=True)
        ]
        masked = (images * np.array(first)[:, None]).astype(np.float32)
        again, second_features = model.run(masked)
        second = [
            cam(model, method, x, a, c)
            for x, a, c in zip(masked, second_features, targets, strict=True)
        ]
        rows[method] = {
            "p": p,
            "p_masked": softmax(again, axis=1)[np.arange(len(images)), targets],
            "coherency": np.array(
                [
                    (1 + pearsonr(b.ravel(), a.ravel())[0]) / 2
                    for a, b in zip(first, second, strict=True)
                ]
            ),
            "complexity": np.abs(first).mean(axis=(1, 2)),
        }
    return rows


def scores(row: dict[str, Array]) -> dict[str, float]:
    """The dataset's figures of one method."""
    p, masked = row["p"], row["p_masked"]
    drop = np.maximum(0.0, p - masked) / p
    coherency, simplicity = row["coherency"], 1 - row["complexity"]
    per_image = 3 / (1 / coherency + 1 / simplicity + 1 / (1 - drop))
    terms = coherency.mean(), simplicity.mean(), 1 - drop.mean()
    return {
        "average_drop": float(drop.mean()),
        "average_increase": float((masked > p).mean()),
        "coherency": float(coherency.mean()),
        "complexity": float(row["complexity"].mean()),
        "adcc": 3 / sum(1 / term for term in terms),
        "adcc_per_image": float(per_image.mean()),
    }
