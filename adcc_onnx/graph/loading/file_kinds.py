"""Recognize files that are not ONNX models, to say what they are and what to do."""

from __future__ import annotations

from pathlib import Path

_HEAD = 512  # bytes that are looked at
_ZIP = b"PK\x03\x04"


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
    text = head.lstrip().lower()
    if not head:
        return "is empty: download or export it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the model itself: run `git lfs pull`"
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, not a model: download the raw file"
    if head[4:8] == b"ORTM":
        return "is in onnxruntime's ORT format: use the .onnx file that it was made from"
    if head[4:8] == b"TFL3":
        return "is a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite`"
    if head.startswith(b"\x89HDF\r\n"):
        return "is a Keras model (HDF5): convert it to ONNX with tf2onnx"
    if head.startswith(_ZIP):
        return _describe_zip(path.suffix)
    if head.startswith(b"\x80") and path.suffix in (".pt", ".pth", ".pkl", ".bin"):
        return "is a PyTorch checkpoint: export the network with `torch.onnx.export`"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed (gzip): unpack it first"
    if text.startswith(b"{"):
        return "is a JSON file, not an ONNX model"
    return None


def _describe_zip(suffix: str) -> str:
    if suffix in (".pt", ".pth", ".ckpt", ".bin"):
        return "is a PyTorch checkpoint: export the network with `torch.onnx.export`"
    if suffix == ".keras":
        return "is a Keras model: export it with `model.export(..., format='onnx')` or tf2onnx"
    return "is a ZIP archive: unpack it first"
