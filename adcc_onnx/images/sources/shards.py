"""Expansion of numbered file names: `shard-{000000..000049}.tar`."""

from __future__ import annotations

import re
from pathlib import Path

from adcc_onnx.errors import SourceError

_RANGE = re.compile(r"\{(\d{1,12})\.\.(\d{1,12})\}")
_MAX_FILES = 100_000


def expand_shards(spec: str) -> list[Path] | None:
    """Expand the ranges in a file name.

    As in the shell, numbers are zero-padded to the length of the first one, and of several ranges
    the last varies fastest.

    Args:
        spec: A path that may hold ranges `{FIRST..LAST}`.

    Returns:
        The files in order; None if the path holds no range.

    Raises:
        SourceError: A range is decreasing, there are too many files, or a file is missing.
    """
    names = _expand_names(spec)
    if names == [spec]:
        return None
    paths = [Path(name) for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SourceError(
            f"{len(missing)} of {len(paths)} files are missing; the first is {missing[0]}"
        )
    return paths


def _expand_names(spec: str) -> list[str]:
    match = _RANGE.search(spec)
    if match is None:
        return [spec]
    first, last = int(match[1]), int(match[2])
    suffixes = _expand_names(spec[match.end() :])
    count = (last - first + 1) * len(suffixes)
    if not 0 < count <= _MAX_FILES:
        raise SourceError(
            f"{match[0]} expands to {max(count, 0):,} files; 1 to {_MAX_FILES:,} are allowed"
        )
    head, width = spec[: match.start()], len(match[1])
    return [f"{head}{n:0{width}d}{suffix}" for n in range(first, last + 1) for suffix in suffixes]
