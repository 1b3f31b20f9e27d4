"""The header of `.npy` files, which is checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from adcc_onnx.errors import first_line


@dataclass(frozen=True)
class NpyHeader:
    """What a `.npy` file says of its array.

    Attributes:
        shape: Shape of the array.
        fortran: Whether the elements are in Fortran order.
        dtype: Type of the elements; never of Python objects.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_npy_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header of a `.npy` file; the stream then stands at the first element.

    Args:
        stream: The file, at its beginning.

    Returns:
        The header.

    Raises:
        ValueError: The header is damaged, of an unknown version, or holds Python objects.
    """
    try:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"unsupported .npy format version {version[0]}.{version[1]}")
        header = NpyHeader(*readers[version](stream))
    except Exception as error:  # numpy raises all kinds of errors on damaged headers
        raise ValueError(first_line(error)) from error
    if header.dtype.hasobject:
        raise ValueError("arrays of Python objects are not read (allow_pickle=False)")
    return header
