"""The named sets of definitions under which scores have been published."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from adcc_onnx.errors import OptionError, did_you_mean

# The values of fully masked pixels: zeros of the normalized tensor, or black of the raw image.
Fill = Literal["zero", "black"]
FILLS: tuple[Fill, ...] = get_args(Fill)

# Both compute ADCC from the three means; they differ in where the mask is applied.
PROTOCOLS: Mapping[str, Fill] = MappingProxyType({"poppi2021": "zero", "openvino": "black"})


def fill_of(protocol: str, fill: str | None = None) -> Fill:
    """Return how masked pixels are filled.

    Args:
        protocol: "poppi2021" or "openvino".
        fill: "zero" or "black"; the protocol's own fill if None.

    Returns:
        "zero" (zeros of the normalized tensor) or "black" (black pixels of the raw image).

    Raises:
        OptionError: The protocol or the fill does not exist.

    Example:
        >>> fill_of("poppi2021"), fill_of("openvino")
        ('zero', 'black')
    """
    if protocol not in PROTOCOLS:
        raise OptionError(
            f"no protocol '{protocol}'{did_you_mean(protocol, PROTOCOLS)} "
            f"(protocols: {', '.join(PROTOCOLS)})"
        )
    if fill is None:
        return PROTOCOLS[protocol]
    for known in FILLS:
        if fill == known:
            return known
    raise OptionError(f"fill must be {' or '.join(FILLS)}, not '{fill}'")
