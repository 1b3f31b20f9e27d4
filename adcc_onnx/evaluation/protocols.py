"""The named sets of definitions under which published figures were made."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from adcc_onnx.errors import OptionError, did_you_mean

# What shows where the map is 0: zeros of the normalized tensor, or black pixels of the raw image.
Fill = Literal["zero", "black"]
FILLS: tuple[Fill, ...] = get_args(Fill)

# Both take ADCC of the three means; they differ in where the mask is applied.
PROTOCOLS: Mapping[str, Fill] = MappingProxyType({"poppi2021": "zero", "openvino": "black"})


def fill_of(protocol: str, fill: str | None = None) -> Fill:
    """What a protocol fills masked pixels with, unless the user says otherwise.

    Raises:
        OptionError: no such protocol or fill.
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
    raise OptionError(f"masked pixels are filled with {' or '.join(FILLS)}, not '{fill}'")
