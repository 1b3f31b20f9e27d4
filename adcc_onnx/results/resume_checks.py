"""Whether a stored run may be continued or merged, judged by its config."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from adcc_onnx.errors import StoreError

# These say where numbers were computed, why, or how plausible they are, not which: they may differ
# when a run is continued.
# Of the ranges of a calibration, `calibration` holds a digest.
MAY_CHANGE = (
    "batch_size",
    "budget",
    "calibration_ranges",
    "device",
    "labels",
    "scores_reason",
    "tf32",
    "versions",
    "warnings",
)


def require_same_config(
    place: str,
    stored: Mapping[str, Any],
    requested: Mapping[str, Any],
    may_change: Collection[str] = MAY_CHANGE,
) -> None:
    """Check that two runs were made with the same settings.

    Args:
        place: Name of the file with the stored run, for the message.
        stored: Config of the stored run.
        requested: Config of the other run.
        may_change: Keys that may differ.

    Raises:
        StoreError: The configs differ; the message names the first three differences.
    """
    keys = sorted((stored.keys() | requested.keys()) - set(may_change))
    different = [key for key in keys if stored.get(key) != requested.get(key)]
    if different:
        listed = "; ".join(f"{k}: {stored.get(k)!r} -> {requested.get(k)!r}" for k in different[:3])
        raise StoreError(f"{place} holds a run made differently ({listed})")
