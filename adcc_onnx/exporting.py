"""`adcc-onnx export FRAMEWORK:NAME`: runs a recipe of `models/` and writes the model's card.

The recipes need their framework; nothing else of the package does.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from adcc_onnx.errors import ModelError, OptionError, did_you_mean

FRAMEWORKS = ("torchvision", "keras")


def export(what: str, path: Path | None = None, weights: str = "default") -> Path:
    """Export a network of a framework's collection.

    Args:
        what: "torchvision:NAME" or "keras:NAME".
        path: the ONNX file to write, `NAME.onnx` if None; card and labels go beside it.
        weights: "default", "none" (random), a name of the framework's own, or a file.

    Returns:
        The file written.

    Raises:
        OptionError: no such framework, network or weights, or a file is in the way.
        ModelError: the framework is not installed, or fails to export.
    """
    framework, colon, name = what.partition(":")
    if not colon or framework not in FRAMEWORKS:
        known = " or ".join(f"{f}:NAME" for f in FRAMEWORKS)
        raise OptionError(f"'{what}' names no network: give {known}")
    recipe = load_recipe(framework)
    names = recipe.names()
    if name not in names:
        raise OptionError(f"{framework} has no network '{name}'{did_you_mean(name, names)}")
    target = path or Path(f"{name}.onnx")
    card, labels = target.with_suffix(".toml"), target.with_suffix(".labels.txt")
    for file in (target, card, labels):
        if file.exists():
            raise OptionError(f"{file} exists: remove it, or choose another name by -o")
    try:
        facts = recipe.export(name, weights, target)
    except ValueError as error:
        raise OptionError(str(error)) from error
    except Exception as error:  # frameworks raise whatever a download or an exporter leads them to
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"{what} could not be fetched or exported: {reason[0]}") from error
    _write_card(card, labels, facts)
    return target


def load_recipe(framework: str) -> ModuleType:
    """The module `models/from_FRAMEWORK.py`, wherever the package keeps it.

    Raises:
        ModelError: the framework is not installed.
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
    """In the installed package, or in a checkout beside it."""
    here = Path(__file__).parent
    return here / "recipes" if (here / "recipes").is_dir() else here.parent / "models"


def _write_card(card: Path, labels: Path, facts: Mapping[str, Any]) -> None:
    """TOML of what the recipe says; class names go to a file of their own."""
    lines = [
        f"# How images become the input of {card.with_suffix('.onnx').name}; see docs/cards.md."
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
    """Numbers, texts and lists of them are written in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)
