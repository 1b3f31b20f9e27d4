"""`check` finds the preprocessing of ten trained classifiers by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from helpers.preprocessing_table import TRAINED_WITH, checked, model_file


@pytest.mark.slow
@pytest.mark.parametrize("labeled", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("name", TRAINED_WITH)
def test_the_right_pixel_values_are_found(
    name: str, labeled: bool, data: Path, tmp_path: Path
) -> None:
    found = checked(model_file(name, data, tmp_path), data, labeled)
    fitting = {one.values for one in found.candidates if one.fits}
    assert TRAINED_WITH[name] in fitting
    assert found.best.values == TRAINED_WITH[name]
    assert found.label_offset == 0
