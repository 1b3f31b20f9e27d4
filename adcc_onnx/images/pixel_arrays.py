"""Names of the array types that hold pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# An image as decoded, [H, W, 3] in 0..255.
RGBImage = NDArray[np.uint8]
# An image with any bands of any type, [H, W, C].
BandImage = NDArray[Any]
# A truth value per pixel, [H, W].
Mask = NDArray[np.bool_]
