"""How a store keeps the anchors of a run: the same methods in float32, as a run of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEY = "anchors_of"


def anchor_name(model: str) -> str:
    """Return the name under which a store keeps the anchors of a model's run.

    Args:
        model: Name of the model.
    """
    return f"{model} (float32 anchors)"


def anchor_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the anchors of a run.

    Args:
        config: The config of the run, with the properties of the model in float32.
    """
    return {**config, "model": anchor_name(config["model"]), _KEY: config["model"]}


def is_anchor_run(config: Mapping[str, Any]) -> bool:
    """Return whether a run holds the anchors of another run."""
    return _KEY in config
