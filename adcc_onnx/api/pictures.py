"""Explanations in files: overlays (PNG) and raw maps (NPY)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import StoreError
from adcc_onnx.explanation.batch_explanations import BatchExplanations
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.explanation.samples import Sample
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.tensor_pictures import picture_of_tensor
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.report.overlay import sheet, write_png
from adcc_onnx.report.text_table import safe

_MOST_PROBABLE = 5


class PictureFolder:
    """A folder that receives the overlays and maps of batches.

    Args:
        folder: The folder, which is created if it does not exist.
        model: The model that is explained.
        source: The images.
        notify: Receives one line per image, file and failure.

    Raises:
        StoreError: The folder cannot be created.
    """

    def __init__(
        self, folder: Path, model: Model, source: Source, notify: Callable[[str], None]
    ) -> None:
        self._folder, self._model, self._source, self._notify = folder, model, source, notify
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create the folder {folder}: {error.strerror}") from error

    def write(self, batch: BatchExplanations) -> list[Path]:
        """Write the files of one batch.

        Args:
            batch: The maps of several methods.

        Returns:
            The paths of the files.

        Raises:
            StoreError: A file cannot be written.
        """
        for name, error in batch.errors.items():
            self._notify(safe(f"failed: {name}: {error}"))
        for name, reason in batch.failures.items():
            shown = reason if reason.startswith(f"{name}:") else f"{name}: {reason}"
            self._notify(safe(f"failed: {shown}"))
        if not batch.maps:
            reasons = "; ".join(str(error) for error in batch.errors.values())
            batch.failures.update({sample.name: reasons for sample in batch.samples})
        kept = [i for i, one in enumerate(batch.samples) if one.name not in batch.failures]
        return [path for i in kept for path in self._write_image(batch, i)]

    def _write_image(self, batch: BatchExplanations, image: int) -> Iterator[Path]:
        sample, logits = batch.samples[image], batch.logits[image]
        self._notify(safe(f"{sample.name}: {_most_probable(self._model, logits)}"))
        picture = self._picture_of(sample)
        for method, found in batch.maps.items():
            heatmap = found.maps[image]
            stem = f"{sample.position:04d}_{_file_name(Path(sample.name).stem)}"
            path = self._folder / f"{stem}.{_file_name(method)}.png"
            write_png(path, sheet(picture, {method: heatmap}))
            yield path
            yield _save_map(path.with_name(f"{path.stem}.npy"), heatmap)
            note = batch.notes[method].get(image)
            self._notify(f"  {path}{f' ({note})' if note else ''}")

    def _picture_of(self, sample: Sample) -> NDArray[np.uint8]:
        """Return the cropped picture that the model was given, uint8 [H, W, 3]."""
        steps = self._model.preprocessing
        if steps is not None and not self._source.preprocessed and steps.channels != "bands":
            return steps.load_cropped(next(self._source.at([sample.position])))
        assert sample.tensor is not None
        return picture_of_tensor(sample.tensor, steps)


def _save_map(path: Path, heatmap: Float32Array) -> Path:
    try:
        np.save(path, heatmap, allow_pickle=False)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    return path


def _most_probable(model: Model, logits: Float32Array) -> str:
    """Name the most probable classes with their probabilities."""
    best: NDArray[np.int64] = np.argsort(logits)[::-1][:_MOST_PROBABLE]
    rows = np.repeat(logits[None], len(best), axis=0)
    p = probabilities(rows, best, model.classifier.scores_kind)
    names = model.labels or ()
    titles = [names[c] if c < len(names) else f"class {c}" for c in best]
    return ", ".join(f"{t} {100 * value:.1f} %" for t, value in zip(titles, p, strict=True))


def _file_name(name: str) -> str:
    """Convert a name to a part of a file's name: no separators, brackets or leading dots."""
    return re.sub(r"[^\w.+-]+", "_", name).strip("._") or "image"
