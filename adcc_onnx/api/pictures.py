"""Explanations in files: overlays and grids (PNG), and maps (NPY)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.api.picture_names import FileNames, class_title
from adcc_onnx.errors import StoreError
from adcc_onnx.explanation.batch_explanations import BatchExplanations
from adcc_onnx.explanation.drawing_style import DrawingStyle
from adcc_onnx.explanation.explanations import Explanations
from adcc_onnx.explanation.probability import probabilities
from adcc_onnx.images.class_names import class_name
from adcc_onnx.images.sources.image_source import Source
from adcc_onnx.images.tensor_pictures import picture_of_tensor
from adcc_onnx.kernels.arrays import Float32Array
from adcc_onnx.model import Model
from adcc_onnx.report.overlay import Box, exists_error, overlay, write_png
from adcc_onnx.report.overlay_grid import draw_grid
from adcc_onnx.report.result_rows import named_reason
from adcc_onnx.report.text_table import safe

_MOST_PROBABLE = 5


@dataclass(frozen=True)
class ExplainedImage:
    """One image with its maps by several methods.

    Attributes:
        position: The image's position in the source.
        name: The image's name.
        target: The explained class.
        predicted: The predicted class.
        probability: The probability of the explained class.
        maps: The maps, float32 [H, W], by the method's name.
        notes: The methods' remarks, by the method's name.
    """

    position: int
    name: str
    target: int
    predicted: int
    probability: float
    maps: Mapping[str, Float32Array]
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pictures:
    """The pictures of a source, as they are and as a model sees them.

    Attributes:
        model: The model.
        source: The images.
    """

    model: Model
    source: Source

    @property
    def whole(self) -> bool:
        """Whether there are pictures beyond the model's crop of them."""
        steps = self.model.preprocessing
        return steps is not None and not self.source.preprocessed and steps.channels != "bands"

    def load(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Box | None]:
        """Load a picture again.

        Args:
            position: The image's position in the source.

        Returns:
            The whole picture, the model's crop of it, and the region of the crop in the picture;
            no region if the crop is all that there is, as for preprocessed tensors.
        """
        steps, record = self.model.preprocessing, next(self.source.at([position]))
        if steps is not None and self.whole:
            picture = record.load()
            return picture, steps.crop_image(picture), steps.crop_box(picture.shape[:2])
        if self.source.preprocessed or steps is None:
            tensor = record.load()
        else:
            tensor = steps.normalize(steps.load_cropped(record))
        crop = picture_of_tensor(tensor, steps)
        return crop, crop, None

    def title(self, index: int) -> str:
        """Return the index of a class and its name, if the name is known."""
        return class_title(index, self.model.labels)

    def grid(self, image: ExplainedImage, style: DrawingStyle) -> NDArray[np.uint8]:
        """Draw an image and its overlays in a grid.

        Args:
            image: The image with its maps.
            style: How the maps are drawn.

        Returns:
            The grid, uint8 RGB.
        """
        picture, _, box = self.load(image.position)
        return self._grid(image, picture, box, style)

    def draw(
        self, image: ExplainedImage, names: FileNames, style: DrawingStyle
    ) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
        """Draw all pictures of an image, one after the other.

        Args:
            image: The image with its maps.
            names: The names of the files.
            style: How the maps are drawn.

        Yields:
            The file and the picture of every overlay and of the grid.
        """
        picture, crop, box = self.load(image.position)
        title = self.title(image.target)
        for method, heat in image.maps.items():
            if box is not None:
                drawn = overlay(picture, heat, style, box)
                yield names.overlay(image.position, title, method), drawn
            drawn = overlay(crop, heat, style)
            yield names.overlay(image.position, title, method, crop=True), drawn
        grid = self._grid(image, picture, box, style)
        yield names.grid(image.position, title, image.maps), grid

    def _grid(
        self,
        image: ExplainedImage,
        picture: NDArray[np.uint8],
        box: Box | None,
        style: DrawingStyle,
    ) -> NDArray[np.uint8]:
        about = f"class {self.title(image.target)}: {100 * image.probability:.1f} %"
        if image.predicted != image.target:
            about += f" (predicted: {self.title(image.predicted)})"
        captions = {
            name if np.ptp(heat) > 0 else f"{name} (constant)": heat
            for name, heat in image.maps.items()
        }
        return draw_grid(
            picture, captions, (about, image.name),
            style, box
        )  # fmt: skip


class PictureFolder:
    """A folder that receives the overlays, grids and maps of explained images.

    Args:
        folder: The folder, which is created if it does not exist.
        pictures: The pictures.
        methods: The names of the methods.
        target: What is explained: "predicted", "label" or a class.
        style: How the maps are drawn.
        force: Whether existing files are replaced.
        notify: Receives one line per image, file and failure.

    Raises:
        StoreError: The folder cannot be created, or holds maps of these images already.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Pictures,
        methods: Iterable[str],
        target: str,
        style: DrawingStyle,
        *,
        force: bool,
        notify: Callable[[str], None],
    ) -> None:
        self._pictures, self._style = pictures, style
        self._force, self._notify = force, notify
        images, methods = pictures.source.names, list(methods)
        self._names = FileNames(folder, images, methods, target)
        # Before the model runs; the names of the pictures depend on its predictions.
        self._check_new(self._names.map(name, method) for method in methods for name in images)
        _make_folder(folder)

    def write_batch(self, batch: BatchExplanations) -> list[Path]:
        """Write the files of one batch.

        Args:
            batch: The maps of several methods.

        Returns:
            The paths of the files.

        Raises:
            StoreError: A file exists or cannot be written.
        """
        for name, error in batch.errors.items():
            self._notify(safe(f"failed: {name}: {error}"))
        for name, reason in batch.failures.items():
            self._notify(safe(f"failed: {named_reason(name, reason)}"))
        if not batch.maps:
            reasons = "; ".join(str(error) for error in batch.errors.values())
            batch.failures.update({sample.name: reasons for sample in batch.samples})
        written: list[Path] = []
        for i, sample in enumerate(batch.samples):
            if sample.name not in batch.failures:
                best = most_probable(self._pictures, batch.logits[i])
                self._notify(safe(f"{sample.name}: {best}"))
                written += self.write(_image_of(batch, i, self._pictures.model))
                for method, found in batch.maps.items():
                    if found.failed[i]:
                        reason = f"{method}: {found.reason(i)}"
                        batch.failures.setdefault(sample.name, reason)
                        self._notify(safe(f"failed: {sample.name}: {reason}"))
        return written

    def write(self, image: ExplainedImage) -> list[Path]:
        """Write the files of one image.

        Args:
            image: The image with its maps.

        Returns:
            The paths of the files.

        Raises:
            StoreError: A file exists or cannot be written.
        """
        if not image.maps:
            return []
        written = []
        for path, picture in self._pictures.draw(image, self._names, self._style):
            # The explained class may have been drawn before, as the predicted one or by its name.
            write_png(path, picture, replace=self._force)
            written.append(path)
        for method, heat in image.maps.items():
            path = _save_map(self._names.map(image.name, method), heat)
            written.append(path)
        grid = self._names.grid(image.position, self._pictures.title(image.target), image.maps)
        overlays, maps = len(written) - len(image.maps) - 1, len(image.maps)
        self._notify(safe(f"  {grid}, {counted(overlays, 'overlay')}, {counted(maps, 'map')}"))
        for method, note in image.notes.items():
            self._notify(safe(f"  {method}: {note}"))
        return written

    def _check_new(self, files: Iterable[Path]) -> None:
        """Check that no file exists.

        Raises:
            StoreError: A file exists and may not be replaced.
        """
        found = None if self._force else next(filter(os.path.lexists, files), None)
        if found is not None:
            raise exists_error(found)


@dataclass(frozen=True)
class Drawer:
    """Draws the explanations of one call of `explain`; see `Explanations.grid` and `save`.

    Attributes:
        pictures: The pictures.
        target: What was explained: "predicted", "label" or a class.
    """

    pictures: Pictures
    target: str

    def grid(
        self, explanations: Sequence[Explanations], index: int, style: DrawingStyle
    ) -> NDArray[np.uint8]:
        """Draw one image with the maps of several methods."""
        return self.pictures.grid(self._image(explanations, index), style)

    def save(
        self,
        explanations: Sequence[Explanations],
        folder: Path,
        style: DrawingStyle,
        force: bool,
    ) -> list[Path]:
        """Write the files of all images with the maps of several methods."""
        methods = [one.method for one in explanations]
        files = PictureFolder(
            folder, self.pictures, methods, self.target, style,
            force=force, notify=lambda line: None,
        )  # fmt: skip
        images = (self._image(explanations, i) for i in range(len(explanations[0])))
        return [path for image in images for path in files.write(image)]

    def _image(self, explanations: Sequence[Explanations], index: int) -> ExplainedImage:
        first = explanations[0][index]
        maps: dict[str, Float32Array] = {}
        notes: dict[str, str] = {}
        for one in explanations:
            if first.name not in one.names:
                raise ValueError(f"{one.method} has no map of the image {first.name}")
            other = one[one.names.index(first.name)]
            if other.target != first.target:
                raise ValueError(
                    f"{one.method} explains the class {other.target} of {first.name}, but "
                    f"{explanations[0].method} the class {first.target}"
                )
            maps[one.method] = other.map
            notes |= {one.method: other.note} if other.note else {}
        position = list(self.pictures.source.names).index(first.name)
        return ExplainedImage(
            position, first.name, first.target, first.predicted, first.probability, maps, notes
        )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where needed.

    Example:
        >>> counted(1, "map"), counted(3, "map")
        ('1 map', '3 maps')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def most_probable(pictures: Pictures, logits: Float32Array) -> str:
    """Name the most probable classes with their probabilities.

    Args:
        pictures: The pictures, with their model.
        logits: The class scores of one image, [classes].
    """
    best: NDArray[np.int64] = np.argsort(logits)[::-1][:_MOST_PROBABLE]
    rows = np.repeat(logits[None], len(best), axis=0)
    model = pictures.model
    p = probabilities(rows, best, model.classifier.scores_kind)
    titles = [class_name(model.labels, int(c)) for c in best]
    return ", ".join(f"{t} {100 * value:.1f} %" for t, value in zip(titles, p, strict=True))


def _image_of(batch: BatchExplanations, i: int, model: Model) -> ExplainedImage:
    """Return one image of a batch with the maps that did not fail."""
    sample, target = batch.samples[i], int(batch.targets[i])
    kind = model.classifier.scores_kind
    p = probabilities(batch.logits[i][None], batch.targets[i : i + 1], kind)
    return ExplainedImage(
        sample.position,
        sample.name,
        target,
        int(batch.predicted[i]),
        float(p[0]),
        {name: found.maps[i] for name, found in batch.maps.items() if not found.failed[i]},
        {name: notes[i] for name, notes in batch.notes.items() if i in notes},
    )


def _save_map(path: Path, heatmap: Float32Array) -> Path:
    _make_folder(path.parent)
    try:
        np.save(path, heatmap, allow_pickle=False)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the folder {folder}: {error.strerror}") from error
