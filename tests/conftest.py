"""What tests share: the photos and models given by ADCC_TEST_DATA, and the oracles."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_KEPT: list[Any] = []


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
    torch = pytest.importorskip("torch")
    if not _KEPT:
        library = torch.library.Library("torchvision", "DEF")
        boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        for name in ("nms", "qnms"):
            library.define(name + boxes)
        _KEPT.append(library)
    return pytest.importorskip("torchvision")
