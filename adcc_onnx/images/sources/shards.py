"""Names of numbered files in short: `shard-{000000..000049}.tar`."""

from __future__ import annotations

import re
from pathlib import Path

from adcc_onnx.errors import SourceError

_RANGE = re.compile(r"\{(\d{1,12})\.\.(\d{1,12})\}")
_MOST = 100_000


def expand_shards(spec: str) -> list[Path] | None:
    """The files that a name with ranges stands for, in order; None where it has no range.

    Numbers are padded with zeros to the length of the first, as the shell does. Of several ranges
    the last counts fastest.

    Raises:
        SourceError: a range counts down, there are too many files, or one is missing.
    """
    names = _expanded(spec)
    if names == [spec]:
        return None
    paths = [Path(name) for name in names]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise SourceError(f"{len(missing)} of {len(paths)} files are missing, first {missing[0]}")
    return paths


def _expanded(spec: str) -> list[str]:
    match = _RANGE.search(spec)
    if match is None:
        return [spec]
    first, last = int(match[1]), int(match[2])
    tails = _expanded(spec[match.end() :])
    count = (last - first + 1) * len(tails)
    if not 0 < count <= _MOST:
        raise SourceError(f"{match[0]} stands for {max(count, 0):,} files; 1 to {_MOST:,} can be")
    head, width = spec[: match.start()], len(match[1])
    return [f"{head}{n:0{width}d}{tail}" for n in range(first, last + 1) for tail in tails]
