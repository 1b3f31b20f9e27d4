"""Train a built-in classifier on synthetic drawings and write it into the package.

Run from a checkout: ``python models/train_drawings.py --model cnn`` or ``--model transformer``
(needs torch and onnx; about 15 minutes on two CPU cores). The same version of torch on the same
kind of machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from drawing_networks import VisionTransformer, convolutional_network
from numpy.typing import NDArray
from torch import nn

from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.drawings.outlines import CLASSES

SIZE, MEAN, STD, SCALE = 112, 0.5, 0.25, 255
TRAINING_SEED, TEST_SEED = 0, 1
TEST_IMAGES, MIN_ACCURACY = 2000, 0.95
BATCH = 32


@dataclass(frozen=True)
class Recipe:
    """How a classifier is built and trained.

    Attributes:
        build: Function that builds the network with random weights.
        images: Number of training drawings.
        epochs: Number of epochs.
        learning_rate: Peak learning rate of AdamW, which follows one cycle.
        weight_decay: Weight decay of AdamW.
        threads: Number of threads, on which the rounding of sums depends.
    """

    build: Callable[[], Any]
    images: int
    epochs: int
    learning_rate: float
    weight_decay: float
    threads: int


RECIPES = {
    "cnn": Recipe(convolutional_network, 20_000, 14, 3e-3, weight_decay=1e-3, threads=2),
    "transformer": Recipe(VisionTransformer, 12_000, 3, 1e-3, weight_decay=0.02, threads=1),
}


def draw_labeled(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw images with their labels.

    Args:
        seed: Seed of the drawings.
        count: Number of images.

    Returns:
        Images, uint8 [count, 3, 112, 112], and class indices, [count].
    """
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    labels = np.empty(count, np.int64)
    for i, drawing in enumerate(draw_many(seed, count, SIZE)):
        images[i], labels[i] = drawing.image.transpose(2, 0, 1), drawing.label
    return images, labels


def normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalize images as the model card says: (pixel / scale - mean) / std.

    Args:
        images: Images, uint8 [N, 3, H, W].

    Returns:
        Input tensors, float32 [N, 3, H, W].
    """
    pixels = images.astype(np.float32)
    found: NDArray[np.float32] = (pixels / np.float32(SCALE) - np.float32(MEAN)) / np.float32(STD)
    return found


def batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[Any, Any]]:
    """Iterate over one epoch in random order, each batch randomly flipped and rotated by 90°.

    Args:
        images: Images, uint8 [N, 3, H, W].
        labels: Class indices, [N].
        rng: Random number generator of order and augmentation.

    Yields:
        Normalized images and labels of a batch, as tensors.
    """
    for chosen in np.array_split(rng.permutation(len(images)), -(-len(images) // BATCH)):
        x = np.rot90(images[chosen], int(rng.integers(4)), axes=(2, 3))
        x = x[..., ::-1] if rng.integers(2) else x
        yield (
            torch.from_numpy(normalized(np.ascontiguousarray(x))),
            torch.from_numpy(labels[chosen]),
        )


def train(
    recipe: Recipe, images: NDArray[np.uint8], labels: NDArray[np.int64], epochs: int, seed: int
) -> Any:
    """Train a classifier, printing the loss of every epoch.

    Args:
        recipe: The network and its hyperparameters.
        images: Training images, uint8 [N, 3, H, W].
        labels: Class indices, [N].
        epochs: Number of epochs.
        seed: Seed of the weights and of the order of the images.

    Returns:
        The trained module in evaluation mode.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = (
        False  # slow, and only useful for debugging
    )
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, rate = recipe.build().train(), recipe.learning_rate
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=recipe.weight_decay)
    steps = epochs * -(-len(images) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        total = 0.0
        for x, y in batches(images, labels, rng):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += float(loss.detach()) * len(y)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.eval()


def onnx_bytes(model: Any) -> bytes:
    """Export the classifier to ONNX with a dynamic batch and folded batch normalization.

    Args:
        model: The trained module.

    Returns:
        The serialized ONNX model.
    """
    file = io.BytesIO()
    torch.onnx.export(
        model,
        (torch.zeros(2, 3, SIZE, SIZE),),
        file,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=18,
        dynamo=False,
    )
    exported = onnx.load_from_string(file.getvalue())
    for node in exported.graph.node:
        node.doc_string = ""  # contains paths of this machine
    onnx.checker.check_model(exported, full_check=True)
    serialized: bytes = exported.SerializeToString(deterministic=True)
    return serialized


def accuracy(model: bytes, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Measure the top-1 accuracy of the ONNX model under onnxruntime.

    Args:
        model: The serialized ONNX model.
        images: Images, uint8 [N, 3, H, W].
        labels: Class indices, [N].

    Returns:
        The fraction of correctly classified images, in [0, 1].
    """
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    correct = 0
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        (logits,) = session.run(["logits"], {"image": normalized(images[part])})
        correct += int((logits.argmax(axis=1) == labels[part]).sum())
    return correct / len(images)


CARD = f"""\
# Preprocessing of images for {{file}}: x = (pixel / scale - mean) / std.
size = {SIZE}
resize = {SIZE}
channels = "RGB"
scale = {SCALE}
mean = [{MEAN}, {MEAN}, {MEAN}]
std = [{STD}, {STD}, {STD}]
labels = "labels.txt"
"""


def write(model: bytes, path: Path) -> None:
    """Write a classifier, its model card and its class names.

    Args:
        model: The serialized ONNX model.
        path: The ONNX file; the card and the names are written into its folder.
    """
    path.write_bytes(model)
    card = CARD.format(file=path.name)
    path.with_suffix(".toml").write_text(card, "utf-8", newline="\n")
    names = "\n".join(CLASSES) + "\n"
    path.with_name("labels.txt").write_text(names, "utf-8", newline="\n")


def main() -> None:
    """Train a classifier and write it if its accuracy is sufficient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=RECIPES, default="cnn", help="Architecture to train.")
    parser.add_argument("--images", type=int, help="Number of training images.")
    parser.add_argument("--epochs", type=int, help="Number of epochs.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of the training.")
    parser.add_argument(
        "--out", type=Path, default=classifier_path().parent, help="Folder to write the model to."
    )
    options = parser.parse_args()

    recipe = RECIPES[options.model]
    drawn = draw_labeled(TRAINING_SEED, options.images or recipe.images)
    trained = train(recipe, *drawn, options.epochs or recipe.epochs, options.seed)
    model = onnx_bytes(trained)
    found = accuracy(model, *draw_labeled(TEST_SEED, TEST_IMAGES))
    print(f"accuracy {found:.2%} on {TEST_IMAGES} test drawings; {len(model)} bytes")
    if found < MIN_ACCURACY:
        sys.exit(f"the accuracy is below {MIN_ACCURACY:.0%}: nothing written; train longer")
    write(model, options.out / classifier_path(options.model).name)


if __name__ == "__main__":
    main()
