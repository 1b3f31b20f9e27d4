"""Loading of the recipes `models/from_FRAMEWORK.py`, which import their frameworks."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from adcc_onnx.errors import ModelError, OptionError, did_you_mean, first_line

# The packages of each framework, as pip installs them. jax2onnx is installed without its
# dependencies, because a second onnxruntime is among them, which overwrites files of the first.
PACKAGES = {
    "torchvision": "torch torchvision",
    "timm": "torch timm",
    "transformers": "torch torchvision transformers",
    "keras": "keras tensorflow tf2onnx",
    "flax": "flax jax dm-pix einops equinox && pip install --no-deps jax2onnx",
    # paddle2onnx asks for an onnx that is too old for adcc-onnx, but works with later ones.
    "paddle": "paddlepaddle && pip install --no-deps paddle2onnx onnxoptimizer polygraphy",
    "sklearn": "scikit-learn skl2onnx",
    "onnx": "onnx",
}
FRAMEWORKS = tuple(PACKAGES)


def load_recipe(framework: str) -> ModuleType:
    """Import the recipe of a framework.

    Args:
        framework: One of `FRAMEWORKS`.

    Returns:
        The recipe's module, with the functions `names` and `export`.

    Raises:
        OptionError: There is no recipe for the framework.
        ModelError: The framework is not installed, or does not work.
    """
    if framework not in PACKAGES:
        raise OptionError(
            f"there is no recipe for '{framework}'{did_you_mean(framework, FRAMEWORKS)}; choose "
            f"{', '.join(FRAMEWORKS)}"
        )
    path = recipes_folder() / f"from_{framework}.py"
    spec = importlib.util.spec_from_file_location(f"adcc_onnx_recipe_{framework}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"exporting from {framework} needs it installed and working ({first_line(error)}): "
            f"pip install {PACKAGES[framework]}"
        ) from error
    return module


def recipes_folder() -> Path:
    """Return the folder of the recipes: in the installed package, or in a checkout next to it."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "models"


def require_name(framework: str, name: str, names: Iterable[str]) -> None:
    """Check that a framework has a network.

    Args:
        framework: The framework.
        name: The name of the network.
        names: The names of all networks of the framework.

    Raises:
        OptionError: There is no such network; the message suggests similar names.
    """
    known = set(names)
    if name not in known:
        close = did_you_mean(name, sorted(known))
        raise OptionError(f"{framework} has no network '{name}'{close}")
