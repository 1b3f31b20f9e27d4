"""Export of a network of a training framework to ONNX, with its card and class names."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from adcc_onnx.api.checked_arguments import checked_arguments
from adcc_onnx.errors import AdccError, ModelError, OptionError, first_line
from adcc_onnx.exporting.exported_network import ExportedNetwork
from adcc_onnx.exporting.recipe_loading import FRAMEWORKS, load_recipe
from adcc_onnx.exporting.torch_export import folding
from adcc_onnx.images.card_writing import labels_file, write_card

# The frameworks whose recipes use the exporter of torch.
_FOLDING = ("torchvision", "timm", "transformers")


@checked_arguments
def export(
    network: str,
    out: str | Path | None = None,
    weights: str | Path = "default",
    *,
    fold: bool = True,
) -> Path:
    """Export a network to ONNX, with its card and class names, and compare it with the framework.

    One batch of random images is evaluated in the framework and in onnxruntime. If the scores
    differ by more than 1e-4 of the largest score, nothing is written.

    Args:
        network: "FRAMEWORK:NAME", such as "torchvision:resnet50"; docs/reference/recipes.md lists
            the frameworks and what a name is.
        out: The ONNX file; `NAME.onnx` if None. The card and the class names are written next to
            it.
        weights: "default" (the framework's download), "none" (random weights), a name that the
            framework defines, or a file.
        fold: Whether the exporter of torch may fold batch normalization into convolutions. If not,
            the file also holds the layers before the normalization.

    Returns:
        The ONNX file.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The framework, network or weights do not exist, or a file exists already.
        ModelError: The framework is not installed or fails to export, the weights cannot be
            downloaded, or the exported model gives other scores than the framework.

    Example:
        >>> import adcc_onnx as adcc
        >>> adcc.export("torchvision:resnet18")  # doctest: +SKIP
        PosixPath('resnet18.onnx')
    """
    framework, colon, name = network.partition(":")
    if not colon or not name:
        known = ", ".join(FRAMEWORKS)
        raise OptionError(
            f"cannot parse the network '{network}': give FRAMEWORK:NAME, where FRAMEWORK is one of "
            f"{known}"
        )
    if not fold and framework not in _FOLDING:
        raise OptionError(
            f"batch normalization is kept by the exporter of {', '.join(_FOLDING)}, not {framework}"
        )
    recipe = load_recipe(framework)
    target = Path(f"{_file_name(name)}.onnx") if out is None else Path(out)
    card = target.with_suffix(".toml")
    for file in (target, card, labels_file(card)):
        if file.exists():
            raise OptionError(f"{file} exists: remove it, or choose another name with -o")
    chosen = str(weights)
    chosen = chosen.lower() if chosen.lower() in ("default", "none") else chosen
    try:
        # The files get their names only after all checks.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            written = Path(folder) / target.name
            try:
                with folding(fold):
                    exported = recipe.export(name, chosen, written)
                _write(exported, written)
            except AdccError:
                raise
            except Exception as error:  # exporters raise errors of any type
                raise ModelError(f"{network} cannot be exported: {first_line(error)}") from error
            _move_into_place(written, target)
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror or first_line(error)}") from error
    return target


def _file_name(name: str) -> str:
    """Return the last part of a network's name, which may be a path or a Python function."""
    return re.split(r"[\\/:]", name.rstrip("\\/:"))[-1] or "network"


def _write(exported: ExportedNetwork, written: Path) -> None:
    """Write the card of an exported network, and check both."""
    from adcc_onnx.exporting.export_check import check_export

    keys = dict(exported.card)
    write_card(written.with_suffix(".toml"), keys, keys.pop("labels", None))
    check_export(written, exported)


def _move_into_place(written: Path, target: Path) -> None:
    """Give the files their names: the model last, so that it never lacks its card."""
    others = [file for file in written.parent.iterdir() if file != written]
    for file in [*sorted(others), written]:
        file.replace(target.parent / file.name)
