"""Export of networks from training frameworks to ONNX, by the recipes in `models/`.

Only the recipes need the frameworks, which they import when they are loaded.
"""

from __future__ import annotations

from adcc_onnx.exporting.network_export import export
from adcc_onnx.exporting.recipe_loading import load_recipe

__all__ = ["export", "load_recipe"]
