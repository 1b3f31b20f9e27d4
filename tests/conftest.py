"""Fixtures of several tests: the photos and models in ADCC_TEST_DATA, and torchvision."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest


def shared_data() -> Path | None:
    """The folder of real photos and models, or None if ADCC_TEST_DATA is not set."""
    given = os.environ.get("ADCC_TEST_DATA")
    return Path(given) if given and Path(given).is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photos and models; the test is skipped without it."""
    folder = shared_data()
    if folder is None:
        pytest.skip("ADCC_TEST_DATA is not the path of a folder")
    return folder


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision; declares its compiled operators, which may be missing in a CPU build."""
    pytest.importorskip("torch")
    from helpers.library_networks import declare_torchvision_operators

    declare_torchvision_operators()
    return pytest.importorskip("torchvision")
