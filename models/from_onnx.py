"""Ready ONNX files in the layout of the ONNX model zoo: `adcc-onnx export onnx:FOLDER`.

A folder holds one model and test data sets: `model.onnx`, `test_data_set_0/input_0.pb` and
`test_data_set_0/output_0.pb`. The model is copied, and its scores are compared with the stored
ones. The layout says nothing about preprocessing, which `adcc-onnx check` finds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from adcc_onnx.errors import ModelError, OptionError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.graph.loading.reading import read_model
from adcc_onnx.graph.loading.saving import save

_MAX_BYTES = 256 * 2**20  # of a stored tensor


def names() -> list[str]:
    """List the names of the available classifiers: none, because folders are given."""
    return []


def export(name: str, weights: str, path: Path) -> ExportedNetwork:
    """Copy a model, with a card that holds what its file says.

    Args:
        name: The folder.
        weights: "default"; a ready file has no other weights.
        path: ONNX file to write.

    Returns:
        The network and its card.

    Raises:
        OptionError: The folder has another layout.
        ModelError: The model or a tensor cannot be read.
    """
    if weights != "default":
        raise OptionError(f"the model in {name} has its own weights: leave out --weights")
    folder = Path(name)
    model = _model_file(folder)
    images = _tensor(folder / "test_data_set_0" / "input_0.pb")
    scores = _tensor(folder / "test_data_set_0" / "output_0.pb")
    save(read_model(model), path)
    card = {"about": {"source": f"{folder.resolve().name}/{model.name}, a ready ONNX file"}}
    return ExportedNetwork(card, lambda _: scores, images=images.astype(np.float32))


def _model_file(folder: Path) -> Path:
    """Return the single ONNX file of a folder."""
    if not folder.is_dir():
        raise OptionError(f"there is no folder {folder} with model.onnx and test_data_set_0")
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        files = ", ".join(file.name for file in found) or "none"
        raise OptionError(f"{folder} must hold one .onnx file, not {files}")
    return found[0]


def _tensor(path: Path) -> NDArray[Any]:
    """Read a tensor that is stored as a protobuf file."""
    if not path.is_file() or path.resolve().parents[1] != path.parents[1].resolve():
        raise OptionError(
            f"there is no file {path}: the folder needs test_data_set_0 with input_0.pb and "
            "output_0.pb"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise OptionError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB")
    try:
        values: NDArray[Any] = numpy_helper.to_array(onnx.load_tensor(path))
    except Exception as error:  # protobuf's and onnx's errors have no common type
        raise ModelError(f"{path} holds no tensor: {first_line(error)}") from error
    return values
