"""Export of torch modules to ONNX, shared by the recipes of torch's frameworks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.kernels.arrays import Float32Array

_OPSET = 18
# Whether batch normalization is folded into convolutions; a recipe only names the network.
_FOLDS = ContextVar("folds", default=True)
_SHOWN_KEYS = 3
_PARALLEL = "module."


@contextmanager
def folding(folds: bool) -> Iterator[None]:
    """Set whether `write_torch` folds batch normalization into convolutions.

    Args:
        folds: Whether it does. If not, the layer before the normalization stays in the file.
    """
    token = _FOLDS.set(folds)
    try:
        yield
    finally:
        _FOLDS.reset(token)


def write_torch(network: Any, size: tuple[int, int], path: Path) -> None:
    """Write a torch classifier as ONNX with a dynamic batch.

    The exporter of `torch.export` is tried first. It records module paths, but does not support
    every network; the older TorchScript exporter is used for the others.

    Args:
        network: A module in evaluation mode from images [N, 3, H, W] to scores.
        size: The height and width of the images in pixels.
        path: The ONNX file to write.
    """
    import torch

    image = torch.zeros(2, 3, *size)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            batch = torch.export.Dim("batch", min=1, max=65536)
            program = torch.onnx.export(
                network,
                (image,),
                dynamo=True,
                dynamic_shapes=({0: batch},),
                optimize=_FOLDS.get(),
                verbose=False,
                **names,
            )
        except Exception:  # it raises errors of many types
            axes = {name: {0: "batch"} for name in ("image", "logits")}
            modes = torch.onnx.TrainingMode
            torch.onnx.export(
                network,
                (image,),
                str(path),
                dynamo=False,
                dynamic_axes=axes,
                opset_version=_OPSET,
                training=modes.EVAL if _FOLDS.get() else modes.PRESERVE,
                **names,
            )
        else:
            program.save(path, external_data=False)


def torch_scores(network: Any) -> Callable[[Float32Array], NDArray[Any]]:
    """Return the function that computes a torch classifier's scores of a batch.

    Args:
        network: A module in evaluation mode, whose first output holds the scores.
    """
    import torch

    def scores(images: Float32Array) -> NDArray[Any]:
        with torch.no_grad():
            found = network(torch.from_numpy(images))
        first = found[0] if isinstance(found, tuple) else found
        values: NDArray[Any] = first.numpy()
        return values

    return scores


def load_state(network: Any, state: dict[str, Any], source: str, unused: tuple[str, ...]) -> None:
    """Load a state dict into a network.

    Args:
        network: The module.
        state: The state dict.
        source: The file or the name of the weights, for messages.
        unused: Prefixes of the keys of parts that the module lacks, such as auxiliary heads.

    Raises:
        OptionError: The state dict belongs to another network.
    """
    own = network.state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith(unused)}
    missing, unknown = sorted(own.keys() - kept.keys()), sorted(kept.keys() - own.keys())
    if missing or unknown:
        what, keys = ("lacks", missing) if missing else ("also holds", unknown)
        shown = ", ".join(f"'{key}'" for key in keys[:_SHOWN_KEYS])
        raise OptionError(f"{source} is not a state dict of this network: it {what} {shown}")
    try:
        network.load_state_dict(kept, strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise OptionError(f"{source} is not a state dict of this network: {first}") from error


def read_state(path: Path) -> dict[str, Any]:
    """Read a state dict without running code that the file may hold.

    Args:
        path: A file that `torch.save` wrote, or a safetensors file.

    Returns:
        The tensors by name, without the prefix `module.` of data-parallel training.

    Raises:
        OptionError: The file does not exist, or holds no state dict.
    """
    import torch

    if not path.is_file():
        raise OptionError(
            f"there is no file {path} with weights: give --weights default, none or a file"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises errors of many types
        raise OptionError(f"{path} holds no state dict that torch can read safely") from error
    for key in ("state_dict", "model"):  # training scripts store them so
        state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise OptionError(f"{path} holds no state dict, but {type(state).__name__}")
    parallel = all(key.startswith(_PARALLEL) for key in state)
    return {key.removeprefix(_PARALLEL) if parallel else key: v for key, v in state.items()}
