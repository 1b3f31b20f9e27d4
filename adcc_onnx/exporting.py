"""Export of a training framework's network to ONNX, by the recipes in `models/`.

Only the recipes need the framework to be installed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from adcc_onnx.api.checked_arguments import checked_arguments
from adcc_onnx.errors import ModelError, OptionError, did_you_mean

FRAMEWORKS = ("torchvision", "keras")


@checked_arguments
def export(network: str, out: str | Path | None = None, weights: str = "default") -> Path:
    """Export a network of a framework's collection, with its card and class names.

    Args:
        network: "torchvision:NAME" or "keras:NAME".
        out: The ONNX file; `NAME.onnx` if None. The card and the class names are written beside it.
        weights: "default", "none" (random weights), a name that the framework defines, or a file.

    Returns:
        The ONNX file.

    Raises:
        TypeError: An argument has a wrong type.
        OptionError: The framework, network or weights do not exist, or a file exists already.
        ModelError: The framework is not installed, or fails to export.

    Example:
        >>> import adcc_onnx as adcc
        >>> adcc.export("torchvision:resnet18")  # doctest: +SKIP
        PosixPath('resnet18.onnx')
    """
    framework, colon, name = network.partition(":")
    if not colon or framework not in FRAMEWORKS:
        known = " or ".join(f"{f}:NAME" for f in FRAMEWORKS)
        raise OptionError(f"cannot parse the network '{network}': give {known}")
    recipe = load_recipe(framework)
    names = recipe.names()
    if name not in names:
        raise OptionError(f"{framework} has no network '{name}'{did_you_mean(name, names)}")
    target = Path(f"{name}.onnx") if out is None else Path(out)
    card, labels = target.with_suffix(".toml"), target.with_suffix(".labels.txt")
    for file in (target, card, labels):
        if file.exists():
            raise OptionError(f"{file} exists: remove it, or choose another name with -o")
    try:
        facts = recipe.export(name, weights, target)
    except ValueError as error:
        raise OptionError(str(error)) from error
    except Exception as error:  # downloads and exporters raise errors of any type
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{network} could not be downloaded or exported: {reason[0]}") from error
    _write_card(card, labels, facts)
    return target


def load_recipe(framework: str) -> ModuleType:
    """Import the recipe `models/from_FRAMEWORK.py`.

    Args:
        framework: "torchvision" or "keras".

    Returns:
        The recipe's module.

    Raises:
        ModelError: The framework is not installed.
    """
    path = _recipes() / f"from_{framework}.py"
    spec = importlib.util.spec_from_file_location(f"adcc_onnx_recipe_{framework}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, RuntimeError) as error:
        packages = {"torchvision": "torch torchvision", "keras": "keras tensorflow tf2onnx"}
        raise ModelError(
            f"exporting from {framework} needs it installed and working ({error}): "
            f"pip install {packages[framework]}"
        ) from error
    return module


def _recipes() -> Path:
    """Return the folder of the recipes: in the installed package, or in a checkout beside it."""
    here = Path(__file__).parent
    return here / "recipes" if (here / "recipes").is_dir() else here.parent / "models"


def _write_card(card: Path, labels: Path, facts: Mapping[str, Any]) -> None:
    """Write the recipe's facts as TOML, and the class names to a file of their own."""
    lines = [
        f"# The preprocessing of {card.with_suffix('.onnx').name}; see docs/reference/cards.md."
    ]
    for key, value in facts.items():
        if key == "labels" and value is not None:
            labels.write_text("".join(f"{name}\n" for name in value), "utf-8", newline="\n")
            lines.append(f"labels = {_toml(labels.name)}")
        elif value is not None and not isinstance(value, dict):
            lines.append(f"{key} = {_toml(value)}")
    lines.append("[about]")
    lines += [f"{key} = {_toml(value)}" for key, value in facts["about"].items()]
    card.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")


def _toml(value: Any) -> str:
    """Write a value as TOML, which equals JSON for numbers, texts and lists of them."""
    return json.dumps(value, ensure_ascii=False)
