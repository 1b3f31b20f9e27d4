"""Files that are not ONNX models: the error says what they are and what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from helpers.small_models import small

from adcc_onnx.cli.command_group import main
from adcc_onnx.errors import NotAModelError
from adcc_onnx.graph.loading.reading import read_model


def _zip(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return stream.getvalue()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros((2, 3)))
    return stream.getvalue()


def _safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(4)


# Torch before 1.6 pickles its magic number first.
LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
WHOLE = small().SerializeToString()
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
# name: (file name, content, what the message says that it is, the remedy)
FILES = {
    "Git LFS pointer": ("m.onnx", LFS, "is a Git LFS pointer", "git lfs pull"),
    "HTML": ("m.onnx", b"\n<!DOCTYPE html><html></html>", "is a web page", "the raw file"),
    "XML error": ("m.onnx", b'<?xml version="1.0"?><Error/>', "is a web page", "the raw file"),
    "ORT": ("m.ort", b"\x10\0\0\0ORTM" + bytes(90), "ORT format", "use the .onnx file"),
    "TFLite": ("m.tflite", b"\x1c\0\0\0TFL3" + bytes(90), "TensorFlow Lite", "--tflite FILE"),
    "PyTorch": ("m.pt", _zip("m/data.pkl", "m/data/0"), "PyTorch checkpoint", "torch.onnx.export"),
    "renamed": ("m.onnx", _zip("m/data.pkl"), "PyTorch checkpoint", "torch.onnx.export"),
    "legacy PyTorch": ("m.onnx", LEGACY_TORCH, "PyTorch checkpoint", "torch.onnx.export"),
    "pickle": ("m.pkl", pickle.dumps({"a": 1}, 4), "is a Python pickle", "export the network"),
    "Keras": ("m.keras", _zip("config.json", "model.weights.h5"), "Keras model", "model.export"),
    "HDF5": ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(90), "Keras model (HDF5)", "model.export"),
    "gzip": ("m.onnx", gzip.compress(WHOLE), "is compressed (gzip)", "unpack it"),
    "ZIP": ("m.zip", _zip("model.onnx"), "is a ZIP archive", "unpack it"),
    "cut ZIP": ("m.zip", _zip("model.onnx")[:60], "is a damaged ZIP archive", "download it again"),
    "NumPy": ("m.npz", _npz(), "is an archive of arrays", "images with --images"),
    "JPEG": ("m.jpg", b"\xff\xd8\xff\xe0" + bytes(90), "is an image (JPEG)", "--images"),
    "empty": ("m.onnx", b"", "is empty", "download or export it again"),
    "JSON": ("m.json", b'{"format": "graph-model"}', "is a JSON file", "not an ONNX model"),
    "safetensors": ("m.safetensors", _safetensors(), "holds weights only", "torch.onnx.export"),
    "SavedModel": ("saved_model.pb", b"\x08\x01\x12\x02\n\0", "SavedModel", "--saved-model FOLDER"),
    "frozen graph": ("m.pb", b"\n\x03\n\x01x", "is a TensorFlow graph", "--graphdef FILE"),
    "TensorRT": ("m.engine", b"ftrt" + bytes(90), "TensorRT engine", "use the .onnx file"),
    "Core ML": ("m.mlmodel", b"\x08\x04\x12\x01\0", "is a Core ML model", "training framework"),
    "OpenVINO": ("m.xml", b'<?xml version="1.0"?>\n<net name="m">', "OpenVINO", ".onnx file"),
    "Paddle": ("m.pdmodel", b"\n\x04\x08\0\x10\0", "is a Paddle model", "paddle2onnx"),
    "truncated": ("m.onnx", WHOLE[:-9], "is not an ONNX model, or it is truncated", "("),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_error_says_what_a_file_is_and_what_to_do(kind: str, tmp_path: Path) -> None:
    name, content, what, remedy = FILES[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(NotAModelError) as caught:
        read_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path} ")
    assert what in text
    assert remedy in text
    assert "\n" not in text


FOLDERS = {
    "SavedModel": (["saved_model.pb"], "is a TensorFlow SavedModel: convert it with"),
    "models": (["b.onnx", "a.onnx"], "is a folder: give the file in it, such as"),
    "other": (["readme.txt"], "is a folder, not an ONNX file"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_is_no_model(kind: str, tmp_path: Path) -> None:
    names, what = FOLDERS[kind]
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(NotAModelError, match=what):
        read_model(tmp_path)


def test_torch_files_are_recognized(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    for new in (True, False):
        path = tmp_path / "m.bin"
        torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=new)
        with pytest.raises(NotAModelError, match="is a PyTorch checkpoint"):
            read_model(path)


def test_the_suffix_of_a_model_does_not_matter(tmp_path: Path) -> None:
    onnx.save(small(), tmp_path / "net.pb", format="protobuf")
    assert read_model(tmp_path / "net.pb").graph.num_nodes() == 5


@pytest.mark.parametrize("command", ["inspect", "evaluate", "expose"])
def test_the_command_line_prints_one_line(command: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(LFS)
    more = {"evaluate": ["--images", "drawings:2"], "expose": ["-o", str(tmp_path / "o.onnx")]}
    result = CliRunner().invoke(main, [command, str(path), *more.get(command, [])])
    assert result.exit_code == 1
    assert result.stderr == (
        f"adcc-onnx: {path} is a Git LFS pointer, not the model: run `git lfs pull`\n"
    )
