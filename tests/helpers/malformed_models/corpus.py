"""All malformed models by name, and how each is written to a folder."""

from __future__ import annotations

from pathlib import Path

from helpers.malformed_models.attributes import attributes
from helpers.malformed_models.base import Cases, Content
from helpers.malformed_models.damaged_files import damaged_copies, other_files, truncated_copies
from helpers.malformed_models.external_weights import external_weights
from helpers.malformed_models.names import names
from helpers.malformed_models.recursions import recursions
from helpers.malformed_models.sizes import constants, sizes
from helpers.malformed_models.structures import inputs, structures, versions
from helpers.malformed_models.tensors import tensors, types

FAMILIES = {
    "truncated": truncated_copies,
    "flipped": damaged_copies,
    "no_models": other_files,
    "structures": structures,
    "versions": versions,
    "types": types,
    "tensors": tensors,
    "attributes": attributes,
    "sizes": sizes,
    "constants": constants,
    "recursions": recursions,
    "inputs": inputs,
    "names": names,
    "external": external_weights,
}


def corpus() -> Cases:
    """Yield the name and the content of every malformed model."""
    for family, cases in FAMILIES.items():
        for name, content in cases():
            yield f"{family}-{name}", content


def write(folder: Path, content: Content) -> Path:
    """Write a malformed model to a new folder; returns the path of `model.onnx` in it."""
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    if callable(content):
        content(folder)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path
