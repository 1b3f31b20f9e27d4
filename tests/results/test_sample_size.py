"""What a number of images does not allow to conclude."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from helpers.stored_runs import three_methods, write_run

from adcc_onnx.report.rendering import render, render_comparison
from adcc_onnx.results.evaluation_result import evaluation_result
from adcc_onnx.results.store import Store


@pytest.mark.parametrize("images", [2, 5, 8])
def test_the_smallest_p_value_is_that_of_all_swaps(images: int) -> None:
    """The largest difference that can be: all images agree; every swap is enumerated."""
    signs = np.array(list(product((1, -1), repeat=images)))
    extreme = np.mean(np.abs(signs.sum(axis=1)) >= images)
    with Store.create(None) as store:
        ranking = evaluation_result(
            store, store.run(write_run(store, three_methods(images)))
        ).ranking
    assert ranking is not None and ranking.pairs == 3
    assert ranking.smallest_p_value(images) == min(1.0, 3 * extreme)


@pytest.mark.parametrize(("images", "can"), [(6, False), (7, True), (12, True)])
def test_methods_are_marked_only_where_a_difference_could_be_significant(
    images: int, can: bool
) -> None:
    """Three pairs of six images: 3 * 2^-5 = 0.094; of seven: 0.047."""
    with Store.create(None) as store:
        write_run(store, three_methods(images))
        table, comparison = render([store], "table"), render_comparison([store], "table")
    note = f"With {images} images, no difference can be significant at 95 %"
    few = f"Only {images} images: intervals and tests are unreliable below 10 images."
    for text in (table, comparison):
        assert (note in text) is not can
        assert (few in text) is (images < 10)
    assert ("≈" in table) is can
