"""Fixtures of several tests: the photos and models in ADCC_TEST_DATA, and torchvision."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# A shell ignores Ctrl-C in background jobs, and so would every command that a test starts there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def shared_data() -> Path | None:
    """The folder of real photos and models, or None if ADCC_TEST_DATA is not set."""
    given = os.environ.get("ADCC_TEST_DATA")
    return Path(given) if given and Path(given).is_dir() else None


@pytest.fixture(scope="session", autouse=True)
def _cache_in_an_own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache folder as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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
