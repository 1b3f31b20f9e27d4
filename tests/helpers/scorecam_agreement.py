"""Few-pass Score-CAM against the exact one, photo by photo: docs/results/scorecam.md.

Run in `tests/` as
`python -m helpers.scorecam_agreement MODEL.onnx PRESET PHOTOS ROWS.jsonl [EVERY]`. Each
photo's figures are appended to ROWS.jsonl at once, and photos that are there already are left out:
the run can be stopped and continued.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import adcc_onnx as adcc
from adcc_onnx.cams.method import MethodContext
from adcc_onnx.cams.score_cams import ScoreCAM
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model

SHARE = 10  # of the live channels, one in so many is scored
_NOTE = re.compile(r"(\d+) of (\d+) passes, agreement above (\S+)")
Row = dict[str, Any]


class Overheard:
    """The evidence, its notes kept."""

    def __init__(self, context: MethodContext, notes: list[str]) -> None:
        self._evidence, self._notes = context, notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evidence, name)

    def note(self, image: int, text: str) -> None:
        self._notes.append(text)


@dataclass(frozen=True)
class Watched(ScoreCAM):
    """Score-CAM that notes what it runs.

    Attributes:
        runs: (masks, seconds) of each call of the model.
        whole: the seconds of the whole map.
        notes: what it told about the map.
    """

    runs: list[tuple[int, float]] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def raw_maps(self, context: MethodContext) -> Float32Array:
        start = time.perf_counter()
        maps = super().raw_maps(Overheard(context, self.notes))
        self.whole.append(time.perf_counter() - start)
        return maps

    def mask_scores(self, context: MethodContext, image: int, masks: Float32Array) -> np.ndarray:
        start = time.perf_counter()
        scores = super().mask_scores(context, image, masks)
        self.runs.append((len(masks), time.perf_counter() - start))
        return scores

    @property
    def passes_run(self) -> int:
        return sum(masks for masks, _ in self.runs)

    @property
    def seconds(self) -> float:
        """Of all passes."""
        return sum(seconds for _, seconds in self.runs)


def compare(model: Model, photo: Path) -> Row:
    """The figures of one photo."""
    exact = Watched()
    wanted = adcc.explain(model, [photo], exact).maps[0]
    live = exact.passes_run
    few = Watched(passes=live // SHARE)
    found = adcc.explain(model, [photo], few).maps[0]
    note = _NOTE.fullmatch(few.notes[0])
    assert note and int(note[1]) == few.passes_run and int(note[2]) == live
    return {
        "photo": photo.name,
        "pearson": float(np.corrcoef(found.ravel(), wanted.ravel())[0, 1]),
        "estimate": float(note[3]),
        "passes": few.passes_run,
        "live": live,
        "seconds": few.whole[0],
        "seconds_fitting": few.whole[0] - few.seconds,
        "seconds_exact": exact.whole[0],
    }


def collect(model: Model, photos: list[Path], rows: Path) -> list[Row]:
    """The figures of all photos: those in the file, and the others as they are added to it."""
    known = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    there = {row["photo"] for row in known}
    for photo in photos:
        if photo.name not in there:
            known.append(compare(model, photo))
            with rows.open("a") as file:
                file.write(json.dumps(known[-1]) + "\n")
    return known


def summary(rows: list[Row]) -> dict[str, float]:
    """What docs/results/scorecam.md shows of them."""
    agreements = np.array([row["pearson"] for row in rows])
    estimates = np.array([row["estimate"] for row in rows])
    over = estimates - agreements
    return {
        "photos": len(rows),
        "median": float(np.median(agreements)),
        "5th percentile": float(np.quantile(agreements, 0.05)),
        "least": float(agreements.min()),
        "passes": statistics.median(r["passes"] for r in rows),
        "live": statistics.median(r["live"] for r in rows),
        "time fitting": statistics.median(r["seconds_fitting"] / r["seconds"] for r in rows),
        "exact / few": statistics.median(r["seconds_exact"] / r["seconds"] for r in rows),
        "estimate, median": float(np.median(estimates)),
        "estimate too high": float((over > 0).mean()),
        "by at most": float(over.max()),
    }


def alternating(photos: list[Path]) -> list[Path]:
    """Every second photo, then the others: a run cut short has seen all kinds."""
    return photos[::2] + photos[1::2]


def main(model: str, preset: str, photos: str, rows: str, every: str = "1") -> None:
    chosen = sorted(Path(photos).iterdir())[:: int(every)]
    loaded = adcc.load(model, preprocessing=preset, device="cpu")
    for name, score in summary(collect(loaded, alternating(chosen), Path(rows))).items():
        print(f"{name}: {score:.4g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
