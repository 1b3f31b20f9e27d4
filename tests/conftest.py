"""What tests share: the photos and models given by ADCC_TEST_DATA, and the oracles."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest


def shared_data() -> Path | None:
    """The folder of real photos and models, None where the environment names none."""
    given = os.environ.get("ADCC_TEST_DATA")
    return Path(given) if given and Path(given).is_dir() else None


@pytest.fixture(scope="session")
def data() -> Path:
    """Real photos and models; the test is skipped without them."""
    folder = shared_data()
    if folder is None:
        pytest.skip("ADCC_TEST_DATA names no folder of photos and models")
    return folder


@pytest.fixture(scope="session")
def torchvision() -> ModuleType:
    """torchvision, whose compiled operators a CPU build of torch may lack: declare them first."""
    pytest.importorskip("torch")
    from helpers.library_networks import declare_torchvision_operators

    declare_torchvision_operators()
    return pytest.importorskip("torchvision")
