"""Train the built-in classifier on drawings and write it into the package.

Run from a checkout: ``python models/train_drawings.py``. It needs torch and onnx, and takes about
15 minutes on a CPU. The same version of torch on the same kind of machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adcc_onnx.drawings import classifier_path
from adcc_onnx.drawings.generate import CLASSES, drawings

SIZE, MEAN, STD, SCALE = 112, 0.5, 0.25, 255
TRAINING_SEED, UNSEEN_SEED = 0, 1
UNSEEN, LEAST_ACCURACY = 2000, 0.95
BATCH, PEAK_RATE, DECAY, SMOOTHING = 32, 3e-3, 1e-3, 0.0
THREADS = 2


class Block(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolution(channels, channels)
        self.second = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to [batch, channels, h, w]."""
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution with batch norm."""
    kernel = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(outputs))


def network() -> nn.Sequential:
    """Return the network [batch, 3, 112, 112] -> [batch, classes]; its last map is 64 x 14 x 14."""
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


def drawn(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw images [count, 3, 112, 112] and return them with their labels [count]."""
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    labels = np.empty(count, np.int64)
    for i, drawing in enumerate(drawings(seed, count, SIZE)):
        images[i], labels[i] = drawing.image.transpose(2, 0, 1), drawing.label
    return images, labels


def normalized(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Preprocess images as in the card: (pixel / scale - mean) / std."""
    scaled = np.divide(images, np.float32(SCALE), dtype=np.float32)
    return (scaled - np.float32(MEAN)) / np.float32(STD)


def batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one epoch in random order; batches are randomly mirrored and rotated by 90 degrees."""
    for chosen in np.array_split(rng.permutation(len(images)), -(-len(images) // BATCH)):
        x = np.rot90(images[chosen], int(rng.integers(4)), axes=(2, 3))
        x = x[..., ::-1] if rng.integers(2) else x
        yield (
            torch.from_numpy(normalized(np.ascontiguousarray(x))),
            torch.from_numpy(labels[chosen]),
        )


def train(
    images: NDArray[np.uint8], labels: NDArray[np.int64], epochs: int, seed: int
) -> nn.Sequential:
    """Train the network, print the loss of every epoch, and return it ready for inference."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # only for debugging, and slow
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE, weight_decay=DECAY)
    steps = epochs * -(-len(images) // BATCH)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    for epoch in range(epochs):
        total = 0.0
        for x, y in batches(images, labels, rng):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            rate.step()
            total += float(loss.detach()) * len(y)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.eval()


def onnx_bytes(model: nn.Module) -> bytes:
    """Export to ONNX with a symbolic batch and batch norms merged into weights."""
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
        node.doc_string = ""  # it would contain paths of this machine
    onnx.checker.check_model(exported, full_check=True)
    return bytes(exported.SerializeToString(deterministic=True))


def accuracy(model: bytes, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the fraction of images that the ONNX model classifies correctly in onnxruntime."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    right = 0
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        (logits,) = session.run(["logits"], {"image": normalized(images[part])})
        right += int((logits.argmax(axis=1) == labels[part]).sum())
    return right / len(images)


CARD = f"""\
# How an image becomes the input of classifier.onnx: x = (pixel / scale - mean) / std.
size = {SIZE}
resize = {SIZE}
channels = "RGB"
scale = {SCALE}
mean = [{MEAN}, {MEAN}, {MEAN}]
std = [{STD}, {STD}, {STD}]
labels = "labels.txt"
"""


def write(model: bytes, folder: Path) -> None:
    """Write the classifier, its card and its labels."""
    (folder / "classifier.onnx").write_bytes(model)
    (folder / "classifier.toml").write_text(CARD, "utf-8", newline="\n")
    (folder / "labels.txt").write_text("\n".join(CLASSES) + "\n", "utf-8", newline="\n")


def main() -> None:
    """Train and test the classifier, and write it if it is accurate enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000, help="Number of training drawings.")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument(
        "--seed", type=int, default=0, help="Random seed for the weights and the order."
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=classifier_path().parent,
        help="Folder of the files that are written.",
    )
    options = parser.parse_args()

    trained = train(*drawn(TRAINING_SEED, options.images), options.epochs, options.seed)
    model = onnx_bytes(trained)
    found = accuracy(model, *drawn(UNSEEN_SEED, UNSEEN))
    print(f"{found:.2%} correct on {UNSEEN} test drawings; {len(model)} bytes")
    if found < LEAST_ACCURACY:
        sys.exit(f"below {LEAST_ACCURACY:.0%}: nothing written; train longer or on more drawings")
    write(model, options.out)


if __name__ == "__main__":
    main()
