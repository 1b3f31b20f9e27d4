"""The images that are left to do, cut into pieces of work that may come back undone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# So many workers may be lost over one image before it counts as failed.
MOST_LOSSES = 3


@dataclass(frozen=True)
class Chunk:
    """Images that are handed out together.

    Attributes:
        positions: in the source, rising.
        losses: how many workers were lost while they evaluated these images.
    """

    positions: tuple[int, ...]
    losses: int = 0

    def after_loss(self) -> list[Chunk]:
        """What to try next; nothing where it was tried enough.

        Before the last try the images part, so that only the one that is to blame fails.
        """
        losses = self.losses + 1
        if losses == MOST_LOSSES:
            return []
        if losses == MOST_LOSSES - 1:
            return [Chunk((position,), losses) for position in self.positions]
        return [replace(self, losses=losses)]


class Backlog:
    """Chunks of at most `size` images; what was put back is taken first.

    Args:
        left: positions, rising.
        size: of a chunk.
    """

    def __init__(self, left: Iterable[int], size: int) -> None:
        self._fresh = _cut(left, size)
        self._back: list[Chunk] = []

    def take(self) -> Chunk | None:
        """The next chunk; None where nothing is left."""
        return self._back.pop() if self._back else next(self._fresh, None)

    def put_back(self, chunks: Iterable[Chunk]) -> None:
        """Chunks that were taken and not finished."""
        self._back += reversed(list(chunks))


def _cut(left: Iterable[int], size: int) -> Iterator[Chunk]:
    part: list[int] = []
    for position in left:
        part.append(position)
        if len(part) == size:
            yield Chunk(tuple(part))
            part = []
    if part:
        yield Chunk(tuple(part))
