"""Replace inputs of a model by constants, such as a table or a flag, next to the image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from adcc_onnx.errors import OptionError, did_you_mean
from adcc_onnx.graph.autodiff.builder import Dim, dims_of
from adcc_onnx.graph.classifier.image_input import describe_values, image_candidates, own_inputs

# The value of each fixed input by its name.
InputValues = Mapping[str, ArrayLike]
_MOST_LISTED = 8
_MAX_ELEMENTS = 2**28


def fix_inputs(model: ir.Model, values: InputValues) -> dict[str, str]:
    """Replace inputs by constants, in place.

    A constant whose input has the batch as its first axis is repeated for every image.

    Args:
        model: The model as it was read.
        values: Number or array of each input by the input's name. An array has the shape of the
            input, without the batch axis or with a batch of one.

    Returns:
        A description of each value for the record of a run. Short values are written out; long
        ones have their type, shape and SHA-256.

    Raises:
        OptionError: The model has no such input, or the value has another shape or type.
    """
    described = {}
    for name, value in values.items():
        inputs = {own.name: own for own in own_inputs(model)}
        if name not in inputs:
            close = did_you_mean(name, [key for key in inputs if key is not None])
            known = describe_values(inputs.values())
            raise OptionError(f"the model has no input '{name}'{close}; its inputs are {known}")
        own = inputs.pop(name)
        images = image_candidates(list(inputs.values()))
        if not images:
            raise OptionError(f"the input '{name}' takes the images: it cannot be set")
        array = _as_input(value, own)
        image = images[0]
        if _has_batch_axis(own, image):
            constant, shape = _one_row(array, own)
            _replace(model, own, _repeated(model, name, constant, image), shape)
        else:
            constant = _broadcast(array, own, dims_of(own))
            _replace(model, own, _initializer(model, name, constant), constant.shape)
        described[name] = _described(constant)
    return described


def parse_input(text: str) -> tuple[str, ArrayLike]:
    """Parse `NAME=VALUE` or `NAME=FILE.npy`.

    Args:
        text: The name of an input, and a number, `true`, `false`, several of these separated by
            commas, or the path of a `.npy` file.

    Returns:
        The name and the value.

    Raises:
        OptionError: The text is malformed, or the file cannot be read.

    Example:
        >>> parse_input("age=42"), parse_input("flag=true"), parse_input("table=1,2.5")
        (('age', 42), ('flag', True), ('table', [1, 2.5]))
    """
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise OptionError(f"an input is set by NAME=VALUE or NAME=FILE.npy, not by '{text}'")
    if value.lower().endswith(".npy"):
        return name, _load(Path(value))
    numbers = [_number(part.strip(), text) for part in value.split(",")]
    return name, numbers if len(numbers) > 1 else numbers[0]


def _number(part: str, text: str) -> float | int | bool:
    if part.lower() in ("true", "false"):
        return part.lower() == "true"
    try:
        return int(part) if re.fullmatch(r"[+-]?\d+", part) else float(part)
    except ValueError:
        raise OptionError(
            f"'{part}' in '{text}' is neither a number, nor true or false, nor a .npy file"
        ) from None


def _load(path: Path) -> NDArray[np.generic]:
    try:
        # Memory-mapped: the header is checked before anything is allocated.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.size > _MAX_ELEMENTS:
            raise OptionError(f"{path} has more than {_MAX_ELEMENTS:,} numbers")
        return np.array(array)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise OptionError(f"{path} cannot be read as .npy: {error}") from error


def _as_input(value: ArrayLike, own: ir.Value) -> NDArray[np.generic]:
    """Convert a value to the type of its input."""
    array = np.asarray(value)
    wanted = np.dtype(np.float32) if own.dtype is None else own.dtype.numpy()
    if array.dtype.kind not in "biuf" or wanted.kind not in "biufV":
        raise OptionError(f"the input {describe_values([own])} cannot be set to {value!r}")
    converted = array.astype(wanted)
    if wanted.kind in "biu" and not (converted == array).all():
        raise OptionError(
            f"the input {describe_values([own])} takes {own.dtype}, not {_described(array)}"
        )
    return converted


def _has_batch_axis(own: ir.Value, image: ir.Value) -> bool:
    """Whether the first axis of an input is the batch of the images."""
    own_dims, image_dims = dims_of(own), dims_of(image)
    if not own_dims or not image_dims:
        return False
    return own_dims[0] == image_dims[0] or own_dims[0] is None or image_dims[0] is None


def _one_row(
    array: NDArray[np.generic], own: ir.Value
) -> tuple[NDArray[np.generic], tuple[Dim, ...]]:
    """Return an array with a batch of one, and the shape of the input."""
    dims = dims_of(own) or ()
    row = _broadcast(array, own, (1, *dims[1:]))
    return row, (dims[0], *row.shape[1:])


def _broadcast(
    array: NDArray[np.generic], own: ir.Value, dims: tuple[Dim, ...] | None
) -> NDArray[np.generic]:
    """Broadcast an array to the shape of its input, whose open axes take the array's size."""
    if dims is None:
        return array
    given = (1,) * (len(dims) - array.ndim) + array.shape
    wanted = [g if not isinstance(d, int) else d for g, d in zip(given, dims, strict=False)]
    try:
        if len(given) != len(dims):
            raise ValueError
        return np.ascontiguousarray(np.broadcast_to(array.reshape(given), wanted))
    except ValueError:
        raise OptionError(
            f"the input {describe_values([own])} cannot be set to an array of shape "
            f"{list(array.shape)}; give one value for all images"
        ) from None


def _initializer(model: ir.Model, name: str, array: NDArray[np.generic]) -> ir.Value:
    value = ir.val(f"{name}/set", const_value=ir.tensor(array))
    model.graph.register_initializer(value)
    return value


def _repeated(model: ir.Model, name: str, row: NDArray[np.generic], image: ir.Value) -> ir.Value:
    """Repeat a row for every image; these operators are the same in all opsets from 6 on."""
    zero = _initializer(model, f"{name}/0", np.array([0], np.int64))
    ones = _initializer(model, f"{name}/1", np.ones(row.ndim - 1, np.int64))
    constant = _initializer(model, name, row)
    shape = ir.node("Shape", [image])
    batch = ir.node("Gather", [shape.outputs[0], zero], {"axis": 0})
    repeats = ir.node("Concat", [batch.outputs[0], ones], {"axis": 0})
    tile = ir.node("Tile", [constant, repeats.outputs[0]])
    for part, node in zip(
        ("shape", "batch", "repeats", "tiled"), (shape, batch, repeats, tile), strict=True
    ):
        node.outputs[0].name = f"{name}/{part}"
        model.graph.append(node)
    return tile.outputs[0]


def _replace(model: ir.Model, own: ir.Value, value: ir.Value, shape: tuple[Dim, ...]) -> None:
    value.type, value.shape = own.type, ir.Shape(shape)
    own.replace_all_uses_with(value, replace_graph_outputs=True)
    model.graph.inputs.remove(own)
    model.graph.sort()


def _described(array: NDArray[np.generic]) -> str:
    if array.size <= _MOST_LISTED:
        return str(array.tolist())
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype} {list(array.shape)} sha256 {digest[:16]}"
