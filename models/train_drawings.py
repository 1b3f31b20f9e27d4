"""Train the built-in classifier on synthetic drawings and write it into the package.

Run from a checkout: ``python models/train_drawings.py`` (needs torch and onnx; about 15 minutes on
two CPU cores). The same version of torch on the same kind of machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import draw_many
from adcc_onnx.drawings.outlines import CLASSES

SIZE, MEAN, STD, SCALE = 112, 0.5, 0.25, 255
TRAINING_SEED, TEST_SEED = 0, 1
TEST_IMAGES, MIN_ACCURACY = 2000, 0.95
BATCH, PEAK_LEARNING_RATE, WEIGHT_DECAY, LABEL_SMOOTHING = 32, 3e-3, 1e-3, 0.0
THREADS = 2


class Block(nn.Module):
    """Residual block: relu(x + bn(conv(relu(bn(conv(x)))))).

    Args:
        channels: Number of input and output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)

    def forward(self, x: Any) -> Any:
        """Apply the block to a feature map, [N, C, H, W]."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def convolution(inputs: int, outputs: int, stride: int = 1) -> Any:
    """Build a 3 x 3 convolution followed by batch normalization.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride in pixels.

    Returns:
        The two layers as one module.
    """
    kernel = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(outputs))


def network() -> Any:
    """Build the classifier: [batch, 3, 112, 112] to [batch, classes].

    Returns:
        The module with random weights; its last feature map is 64 x 14 x 14.
    """
    return nn.Sequential(
        convolution(3, 16, stride=2),
        nn.ReLU(),
        convolution(16, 32, stride=2),
        nn.ReLU(),
        convolution(32, 64, stride=2),
        nn.ReLU(),
        Block(64),
        Block(64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(CLASSES)),
    )


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


def train(images: NDArray[np.uint8], labels: NDArray[np.int64], epochs: int, seed: int) -> Any:
    """Train the classifier, printing the loss of every epoch.

    Args:
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
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * -(-len(images) // BATCH)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=steps
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
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
# Preprocessing of images for classifier.onnx: x = (pixel / scale - mean) / std.
size = {SIZE}
resize = {SIZE}
channels = "RGB"
scale = {SCALE}
mean = [{MEAN}, {MEAN}, {MEAN}]
std = [{STD}, {STD}, {STD}]
labels = "labels.txt"
"""


def write(model: bytes, folder: Path) -> None:
    """Write the classifier, its model card and its class names.

    Args:
        model: The serialized ONNX model.
        folder: Folder to write into.
    """
    (folder / "classifier.onnx").write_bytes(model)
    (folder / "classifier.toml").write_text(CARD, "utf-8", newline="\n")
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n", "utf-8", newline="\n")


def main() -> None:
    """Train the classifier and write it if its accuracy is sufficient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="Number of training images.")
    parser.add_argument("--epochs", type=int, default=14, help="Number of epochs.")
    parser.add_argument("--seed", type=int, default=0, help="Random seed of the training.")
    parser.add_argument(
        "--out", type=Path, default=classifier_path().parent, help="Folder to write the model to."
    )
    options = parser.parse_args()

    trained = train(*draw_labeled(TRAINING_SEED, options.images), options.epochs, options.seed)
    model = onnx_bytes(trained)
    found = accuracy(model, *draw_labeled(TEST_SEED, TEST_IMAGES))
    print(f"accuracy {found:.2%} on {TEST_IMAGES} test drawings; {len(model)} bytes")
    if found < MIN_ACCURACY:
        sys.exit(f"the accuracy is below {MIN_ACCURACY:.0%}: nothing written; train longer")
    write(model, options.out)


if __name__ == "__main__":
    main()
