"""Random seeds that depend on an image's name only, not on its position or its batch."""

from __future__ import annotations

import hashlib


def image_seed(seed: int, name: str) -> int:
    """Return the seed of all random numbers that are drawn for one image.

    Args:
        seed: The seed of the whole run.
        name: The name of the image, which is unique in its source.

    Returns:
        A 64-bit integer: the same in any order of the images and in any process.
    """
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
