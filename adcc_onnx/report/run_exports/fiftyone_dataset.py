"""Runs as FiftyOne datasets on disk, without FiftyOne itself and its database.

The folder has the JSON layout that `fiftyone.Dataset.from_dir` reads for the type
`fiftyone.types.FiftyOneDataset`.
"""

from __future__ import annotations

import base64
import io
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import AdccWarning, OptionError
from adcc_onnx.images.class_names import class_name
from adcc_onnx.report.json_format import json_text
from adcc_onnx.report.run_exports.field_names import field_names
from adcc_onnx.results.evaluation_result import EvaluationResult
from adcc_onnx.results.ranking import method_values
from adcc_onnx.results.rows import ImageRow
from adcc_onnx.results.run_details import values_by_position

_RESERVED = (
    "id", "filepath", "tags", "metadata", "created_at", "last_modified_at", "media_type",
    "ground_truth", "prediction", "explained", "failure", "position",
)  # fmt: skip
_CONFIG = ("sha256", "protocol", "layer", "target", "seed", "images", "metrics")


def write_fiftyone(results: Sequence[EvaluationResult], out: Path, images: Path | None) -> None:
    """Write a dataset per run.

    Args:
        results: The results.
        out: The folder of the dataset; the datasets of several runs are its subfolders.
        images: Folder of the images by their names; None uses the thumbnails of the run.

    Raises:
        OptionError: The run keeps no thumbnails, and no folder is given.
    """
    folders = field_names([f"{i} {result.model}" for i, result in enumerate(results)])
    for folder, result in zip(folders.values(), results, strict=True):
        _write_dataset(result, out / folder if len(results) > 1 else out, images)


def _write_dataset(result: EvaluationResult, out: Path, images: Path | None) -> None:
    if images is None and not result.pictures.thumbnails:
        raise OptionError(
            f"the run of {result.model} keeps no thumbnails: give the folder of the images"
        )
    (out / "data").mkdir(parents=True, exist_ok=True)
    names = field_names([*result.methods, *_columns(result)], _RESERVED)
    positions = [row.position for row in result.image_rows]
    values = values_by_position(method_values(result.stored_run), positions)
    samples = []
    for row in result.image_rows:
        path = _media(result, row, out, images)
        if path is None:
            continue
        found = {name: of.get(row.position, {}) for name, of in values.items()}
        samples.append({"filepath": path, **_sample(result, row, found, names)})
    if len(samples) < len(result.image_rows):
        warnings.warn(
            f"{len(result.image_rows) - len(samples)} of {len(result.image_rows)} images are left "
            f"out of the dataset of {result.model}: there is no picture of them",
            AdccWarning,
            stacklevel=2,
        )
    config = result.stored_run.config
    info = {key: config[key] for key in _CONFIG if key in config}
    info |= {"model": result.model, "fields": names}
    (out / "metadata.json").write_text(json_text({"media_type": "image", "info": info}), "utf-8")
    (out / "samples.json").write_text(json_text({"samples": samples}), "utf-8")


def _columns(result: EvaluationResult) -> list[str]:
    return [
        f"{name}_{column}"
        for name, found in result.stored_run.methods.items()
        for column in found.values
    ]


def _media(result: EvaluationResult, row: ImageRow, out: Path, images: Path | None) -> str | None:
    """Return the path of an image's file; None if there is none."""
    if images is not None:
        # The name comes from the run's file: it must not lead out of the folder.
        path = (images / row.name).resolve()
        inside = path.is_relative_to(images.resolve()) and path.is_file()
        return str(path) if inside else None
    jpeg = result.pictures.thumbnails.get(row.position)
    if jpeg is None:
        return None
    name = f"data/{row.position:06d}.jpg"
    (out / name).write_bytes(jpeg)
    return name


def _sample(
    result: EvaluationResult,
    row: ImageRow,
    values: Mapping[str, Mapping[str, float]],
    names: Mapping[str, str],
) -> dict[str, Any]:
    labels = result.stored_run.labels
    sample: dict[str, Any] = {"position": row.position, "tags": [], "failure": row.failure}
    if row.label is not None:
        sample["ground_truth"] = _classification(class_name(labels, row.label))
    if row.predicted is not None:
        sure = row.probability if row.predicted == row.target else None
        sample["prediction"] = _classification(class_name(labels, row.predicted), sure)
    if row.target is not None:
        sample["explained"] = _classification(class_name(labels, row.target), row.probability)
    for method, found in values.items():
        for column, value in found.items():
            sample[names[f"{method}_{column}"]] = value
        heat = result.pictures.maps.get(method, {}).get(row.position)
        if heat is not None:
            sample[names[method]] = _heatmap(heat)
    failed = {f.method for f in result.failures if f.image == row.name}
    if row.failure is not None or failed:
        sample["tags"].append("failed")
    if row.label is not None and row.predicted is not None and row.label != row.predicted:
        sample["tags"].append("wrong prediction")
    return sample


def _classification(label: str, confidence: float | None = None) -> dict[str, Any]:
    return {"_cls": "Classification", "tags": [], "label": label, "confidence": confidence}


def _heatmap(heat: NDArray[np.float16]) -> dict[str, Any]:
    """Encode a map as FiftyOne does: an .npy file, compressed, in base64."""
    stream = io.BytesIO()
    np.save(stream, heat.astype(np.float32), allow_pickle=False)
    data = base64.b64encode(zlib.compress(stream.getvalue())).decode()
    return {
        "_cls": "Heatmap",
        "tags": [],
        "map": {"$binary": {"base64": data, "subType": "00"}},
        "range": [0.0, 1.0],
    }
