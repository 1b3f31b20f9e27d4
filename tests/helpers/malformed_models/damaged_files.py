"""Truncated and damaged files, and files that never held a model."""

from __future__ import annotations

import numpy as np

from helpers.malformed_models.base import SEED, VALID, Cases


def truncated_copies() -> Cases:
    """Yield the valid model, cut off at different offsets."""
    whole = VALID.SerializeToString()
    for offset in np.linspace(1, len(whole) - 1, 16, dtype=int):
        yield str(offset), whole[:offset]


def damaged_copies() -> Cases:
    """Yield the valid model with some bits flipped, outside the weights: those may be anything."""
    rng = np.random.default_rng(SEED)
    whole = np.frombuffer(VALID.SerializeToString(), np.uint8)
    weights = whole.tobytes().find(VALID.graph.initializer[0].raw_data[:16])
    for number in range(40):
        damaged = whole.copy()
        places = rng.integers(0, weights, 1 + number % 4)
        damaged[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        yield str(number), damaged.tobytes()


def other_files() -> Cases:
    """Yield files of other kinds, and protobuf messages that are no models."""
    rng = np.random.default_rng(SEED)
    yield "empty", b""
    yield "text", b"<html>404 not found</html>\n" * 100
    yield "zip", b"PK\x03\x04" + rng.bytes(2000)
    yield "noise", rng.bytes(5000)
    yield "lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    # Field 7 (graph) of 2^62 bytes.
    yield "endless_field", b"\x08\x08\x3a" + b"\xff" * 8 + b"\x3f"
    yield "nested_groups", b"\x3b" * 100_000
    # A graph in an attribute of a node in a graph, and so on, 300 levels deep.
    inner = b""
    for _ in range(300):
        inner = _field(1, _field(5, _field(6, inner)))
    yield "nested_messages", _field(7, inner)


def _field(number: int, content: bytes) -> bytes:
    """Encode a protobuf field of bytes."""
    size, rest = b"", len(content)
    while rest >= 128:
        size, rest = size + bytes([rest % 128 + 128]), rest // 128
    return bytes([number * 8 + 2]) + size + bytes([rest]) + content
