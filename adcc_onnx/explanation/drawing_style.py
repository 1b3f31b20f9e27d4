"""How maps are drawn over their images: the color maps and the opacity."""

from __future__ import annotations

from dataclasses import dataclass

from adcc_onnx.errors import OptionError, did_you_mean

# All of them are perceptually uniform: equal steps of the map look equal, whereas a rainbow shows
# edges that do not exist.
COLORMAPS = ("viridis", "cividis", "inferno", "magma", "plasma")
# Compared by eye on the built-in drawings and on photos: a red clock on black, brown shoes, an
# orange quilt, oranges, a parrot and a squash on white. Inferno and magma are black at 0, which
# looks like a dark picture. Viridis is violet at 0 and yellow at 1, and stays visible on all.
COLORMAP = "viridis"
ALPHA = 0.55


@dataclass(frozen=True)
class DrawingStyle:
    """How maps are drawn.

    Attributes:
        alpha: The opacity of the maps, from 0 to 1.
        colormap: One of `COLORMAPS`.

    Raises:
        OptionError: The opacity is out of range, or there is no such color map.

    Example:
        >>> DrawingStyle(alpha=0.4)
        DrawingStyle(alpha=0.4, colormap='viridis')
    """

    alpha: float = ALPHA
    colormap: str = COLORMAP

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise OptionError(f"alpha must be from 0 to 1, not {self.alpha}")
        if self.colormap not in COLORMAPS:
            close = did_you_mean(self.colormap, COLORMAPS)
            raise OptionError(f"colormap must be one of {', '.join(COLORMAPS)}{close}")
