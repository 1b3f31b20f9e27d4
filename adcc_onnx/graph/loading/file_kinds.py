"""Recognize files that are not ONNX models, to say what they are and what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

_HEAD = 512  # bytes that are looked at
_FROM_TORCH = "export the network with `torch.onnx.export`"
_FROM_KERAS = (
    "load it with `keras.models.load_model`, then `model.export('model.onnx', format='onnx')`"
)
_TF2ONNX = "convert it with `python -m tf2onnx.convert --{} {} --output model.onnx`"
_COMPILED = "use the .onnx file that it was made from"

# What the first bytes say, at an offset.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "is a Git LFS pointer, not the model: run `git lfs pull`"),
    (4, b"ORTM", f"is in onnxruntime's ORT format: {_COMPILED}"),
    (4, b"TFL3", "is a TensorFlow Lite model: " + _TF2ONNX.format("tflite", "FILE")),
    (0, b"\x89HDF\r\n", f"is a Keras model (HDF5): {_FROM_KERAS}"),
    # The pickled magic number of files that PyTorch wrote before version 1.6.
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", f"is a PyTorch checkpoint: {_FROM_TORCH}"),
    (0, b"\x1f\x8b", "is compressed (gzip): unpack it first"),
    (0, b"ftrt", f"is a TensorRT engine, compiled for one kind of GPU: {_COMPILED}"),
    (0, b"\xff\xd8\xff", "is an image (JPEG): give a model here, and images with --images"),
    (0, b"\x89PNG", "is an image (PNG): give a model here, and images with --images"),
)
# What the suffix says, for formats whose first bytes say nothing.
_SUFFIXES = {
    ".pt": f"is a PyTorch checkpoint: {_FROM_TORCH}",
    ".pth": f"is a PyTorch checkpoint: {_FROM_TORCH}",
    ".ckpt": f"is a checkpoint of a training framework: {_FROM_TORCH}",
    ".pkl": "is a Python pickle: export the network to ONNX with its framework",
    ".engine": f"is a TensorRT engine, compiled for one kind of GPU: {_COMPILED}",
    ".plan": f"is a TensorRT engine, compiled for one kind of GPU: {_COMPILED}",
    ".trt": f"is a TensorRT engine, compiled for one kind of GPU: {_COMPILED}",
    ".mlmodel": "is a Core ML model: export the network to ONNX from its training framework",
    ".pdmodel": "is a Paddle model: convert it with `paddle2onnx`",
    ".pdiparams": "holds the weights of a Paddle model: convert it with `paddle2onnx`",
    ".caffemodel": "is a Caffe model: convert it to ONNX, for example with `caffe2onnx`",
    ".pb": "is a TensorFlow graph: " + _TF2ONNX.format("graphdef", "FILE --inputs X --outputs Y"),
}
_SAVED_MODEL = "saved_model.pb"


def describe_other_format(path: Path) -> str | None:
    """Say what a file is, if it is of a well-known format other than ONNX.

    Args:
        path: A file that could not be parsed as ONNX.

    Returns:
        What the file is and what to do about it, as the end of a sentence that begins with the
        file's name; None if the format is not recognized.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "is empty: download or export it again"
    for offset, magic, text in _MAGIC:
        if head.startswith(magic, offset):
            return text
    if head.startswith(b"PK\x03\x04"):
        return _describe_zip(path)
    if path.name == _SAVED_MODEL:
        return f"is a part of a TensorFlow SavedModel: {_TF2ONNX.format('saved-model', 'FOLDER')}"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return f"holds weights only (safetensors): build the network and {_FROM_TORCH}"
    return _describe_text(head.lstrip().lower()) or _SUFFIXES.get(path.suffix.lower())


def describe_folder(path: Path) -> str:
    """Say what a folder is that was given in place of a model.

    Args:
        path: The folder.

    Returns:
        The end of a sentence that begins with the folder's name.
    """
    if (path / _SAVED_MODEL).is_file():
        return f"is a TensorFlow SavedModel: {_TF2ONNX.format('saved-model', str(path))}"
    if path.suffix == ".mlpackage":
        return _SUFFIXES[".mlmodel"]
    inside = sorted(file.name for file in path.glob("*.onnx"))
    if inside:
        return f"is a folder: give the file in it, such as {path / inside[0]}"
    return "is a folder, not an ONNX file"


def _describe_text(text: bytes) -> str | None:
    if text.startswith(b"<?xml") and b"<net " in text:
        return f"is an OpenVINO model: {_COMPILED}"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, not a model: download the raw file"
    if text.startswith(b"{"):
        return "is a JSON file, not an ONNX model"
    return None


def _describe_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "is a damaged ZIP archive: download it again"
    if any(name.endswith("data.pkl") for name in names):
        return f"is a PyTorch checkpoint: {_FROM_TORCH}"
    if "model.weights.h5" in names:
        return f"is a Keras model: {_FROM_KERAS}"
    if names and all(name.endswith(".npy") for name in names):
        return "is an archive of arrays (.npz): give a model here, and images with --images"
    return "is a ZIP archive: unpack it first"
