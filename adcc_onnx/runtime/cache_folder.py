"""The cache folder, and the kept runs in it that the user did not name a file for."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

# The newest runs stay; one that was written to within the last hour may still be running.
KEPT_RUNS = 10
_KEPT_BYTES = 2**30
_RUNNING_SECONDS = 3600.0


def cache_folder() -> Path:
    """Return the folder of cached files, `adcc-onnx` in `$XDG_CACHE_HOME` or `~/.cache`.

    The folder may not exist.
    """
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "adcc-onnx"


def new_cached_run() -> Path | None:
    """Choose the file of a new run in the cache folder, and delete the oldest runs there.

    The 10 newest runs stay, as far as they take no more than 1 GiB together; the new one makes
    eleven while it is computed. A run that was written to within the last hour always stays.

    Returns:
        A file that does not exist yet; None if the cache folder cannot be written,
        or has less than 1 GiB of free space.
    """
    folder = cache_folder() / "runs"
    moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = folder / f"{moment}-{os.getpid()}.sqlite"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _prune(folder)
        if shutil.disk_usage(folder).free < _KEPT_BYTES:
            return None
        # SQLite accepts an empty file as a new database; creating it shows that it can be written.
        path.touch(mode=0o600, exist_ok=False)
        path.unlink()
    except (OSError, RuntimeError):
        return None
    return path


def _prune(folder: Path) -> None:
    """Delete the oldest runs beyond the limits, with SQLite's files beside them."""
    now, total = time.time(), 0
    found = sorted(
        ((path.stat(), path) for path in folder.glob("*.sqlite")),
        key=lambda one: one[0].st_mtime,
        reverse=True,
    )
    for number, (status, path) in enumerate(found):
        total += status.st_size
        is_old = now - status.st_mtime > _RUNNING_SECONDS
        if is_old and (number >= KEPT_RUNS or (number and total > _KEPT_BYTES)):
            for file in folder.glob(f"{path.name}*"):
                with suppress(OSError):
                    file.unlink()
