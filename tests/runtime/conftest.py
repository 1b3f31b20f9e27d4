"""The fake card for tests of the CUDA path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.fake_card import build


@pytest.fixture(scope="session")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fake card's libraries; the test is skipped if they cannot be built."""
    if build.provider() is None:
        pytest.skip("this onnxruntime has no CUDA provider")
    for tool in ("gcc", "readelf"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("card")
    build.build(folder)
    return folder
