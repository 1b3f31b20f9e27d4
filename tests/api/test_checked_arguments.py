"""Types of arguments that other versions of Python and numpy write in another way."""

from __future__ import annotations

import typing
from typing import Any

import numpy as np
import pytest

from adcc_onnx.api.checked_arguments import checked_arguments


@pytest.fixture
def array_alias() -> Any:
    """What numpy.typing.NDArray is since numpy 2.5, which needs Python 3.12."""
    known = hasattr(typing, "TypeAliasType")
    module: Any = typing if known else pytest.importorskip("typing_extensions")
    scalar = typing.TypeVar("scalar", bound=np.generic)
    array = np.ndarray[Any, np.dtype[scalar]]  # type: ignore[valid-type]
    return module.TypeAliasType("NDArray", array, type_params=(scalar,))


def test_arrays_whose_type_is_an_alias(array_alias: Any) -> None:
    def first(values: Any) -> Any:
        return values[0]

    first.__annotations__["values"] = array_alias[np.float32] | str
    checked = checked_arguments(first)
    assert checked(np.ones(2, np.float32)) == 1
    assert checked("ab") == "a"
    with pytest.raises(TypeError, match="first: values must be an array or text, not 3"):
        checked(3)
