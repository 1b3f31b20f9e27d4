"""Tests of the conversion of pixels by tables, against NumPy's indexing."""

from __future__ import annotations

import numpy as np
import pytest

from adcc_onnx.kernels.tabulated import tabulated


@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 1, 1), (0, 5, 3), (6, 4, 8)])
def test_each_channel_has_its_own_table(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    tables = rng.standard_normal((shape[2], 256)).astype(np.float32)
    for pixels in (image, image[:, :, ::-1], image[::-1].transpose(1, 0, 2)):
        wanted = [tables[c][pixels[:, :, c]] for c in range(shape[2])]
        np.testing.assert_array_equal(tabulated(pixels, tables), np.stack(wanted))


def test_tables_that_do_not_fit_raise() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for shape in ((2, 256), (3, 255)):
        with pytest.raises(ValueError, match="do not fit 3 channels"):
            tabulated(image, np.zeros(shape, np.float32))
