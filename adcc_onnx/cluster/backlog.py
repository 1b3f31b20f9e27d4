"""The queue of images that still need work, in chunks that may come back unfinished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# After this number of lost workers, an image counts as failed.
MAX_LOSSES = 3


@dataclass(frozen=True)
class Chunk:
    """Images that are assigned to a worker together.

    Attributes:
        positions: Indices of the images in the source, ascending.
        losses: Number of workers that were lost while they evaluated these images.
    """

    positions: tuple[int, ...]
    losses: int = 0

    def after_loss(self) -> list[Chunk]:
        """Return what to try next after another worker was lost.

        Before the last attempt the images are separated, so that only the image at fault fails.

        Returns:
            The chunks to retry; none after the last attempt.
        """
        losses = self.losses + 1
        if losses == MAX_LOSSES:
            return []
        if losses == MAX_LOSSES - 1:
            return [Chunk((position,), losses) for position in self.positions]
        return [replace(self, losses=losses)]


class Backlog:
    """A queue of chunks, in which returned chunks come first.

    Args:
        positions: Indices of the images that need work, ascending.
        size: Maximum number of images per chunk.

    Example:
        >>> backlog = Backlog([0, 1, 2], size=2)
        >>> backlog.take()
        Chunk(positions=(0, 1), losses=0)
    """

    def __init__(self, positions: Iterable[int], size: int) -> None:
        self._fresh = _chunks(positions, size)
        self._returned: list[Chunk] = []

    def take(self) -> Chunk | None:
        """Return the next chunk; None if nothing is left."""
        return self._returned.pop() if self._returned else next(self._fresh, None)

    def put_back(self, chunks: Iterable[Chunk]) -> None:
        """Return chunks that were taken and not finished."""
        self._returned += reversed(list(chunks))


def _chunks(positions: Iterable[int], size: int) -> Iterator[Chunk]:
    part: list[int] = []
    for position in positions:
        part.append(position)
        if len(part) == size:
            yield Chunk(tuple(part))
            part = []
    if part:
        yield Chunk(tuple(part))
