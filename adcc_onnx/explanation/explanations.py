"""The maps of one method for some images, each with its name, class and probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adcc_onnx.errors import OptionError
from adcc_onnx.explanation.drawing_style import ALPHA, COLORMAP, DrawingStyle
from adcc_onnx.images.class_names import class_name
from adcc_onnx.kernels.arrays import Float32Array, Float64Array
from adcc_onnx.rich_display import rendered


@dataclass(frozen=True, eq=False)
class Explanation:
    """The map of one image.

    Attributes:
        name: The image's name.
        map: The map, float32 [H, W] in [0, 1]; zeros if `degenerate`.
        target: The index of the explained class.
        predicted: The index of the predicted class.
        probability: The probability of the explained class, in [0, 1].
        degenerate: Whether the method's map was constant.
        note: A remark of the method about this map; empty without one.
        thumbnail: The model's crop of the image as a small JPEG; None if it is not known.
        class_name: The name of the explained class, or "class 3" if the model has no names.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> (one,) = adcc.explain(classifier_path(), "drawings:1", "gradcam")
        >>> one.class_name, one.map.shape, one.degenerate
        ('crescent', (112, 112), False)
    """

    name: str
    map: Float32Array
    target: int
    predicted: int
    probability: float
    degenerate: bool
    note: str = ""
    thumbnail: bytes | None = field(default=None, repr=False)
    class_name: str = ""

    def _repr_html_(self) -> str | None:
        html: str | None = rendered(self, "html")
        return html


class ExplanationDrawer(Protocol):
    """Draws explanations with the pictures that they belong to."""

    def grid(
        self, explanations: Sequence[Explanations], index: int, style: DrawingStyle
    ) -> NDArray[np.uint8]:
        """Draw one image with the maps of several methods."""

    def save(
        self,
        explanations: Sequence[Explanations],
        folder: Path,
        style: DrawingStyle,
        force: bool,
    ) -> list[Path]:
        """Write the files of all images with the maps of several methods."""


@dataclass(frozen=True, eq=False)
class Explanations:
    """The maps of N images by one method; iterating gives an `Explanation` per image.

    Attributes:
        method: The method, with its options.
        maps: The maps, float32 [N, H, W] in [0, 1] at the model's input size.
        names: The names of the images.
        targets: The indices of the explained classes, int64 [N].
        predicted: The indices of the predicted classes, int64 [N].
        probabilities: The probabilities of the explained classes, float64 [N].
        degenerate: The images whose map is constant, bool [N].
        notes: Remarks of the method, by the image's name.
        failures: The reasons of images that could not be explained, by the image's name. These
            images have no row in the arrays.
        thumbnails: The model's crops of the images as small JPEGs, by the image's name.
        class_names: The names of the model's classes; None if they are not known.
        drawer: What `grid` and `save` draw with; set by `explain`, and not pickled.

    Example:
        >>> import adcc_onnx as adcc
        >>> from adcc_onnx.drawings import classifier_path
        >>> found = adcc.explain(classifier_path(), "drawings:2", "gradcam")
        >>> [(one.name, one.class_name) for one in found]
        [('2026-0', 'crescent'), ('2026-1', 'ring')]
    """

    method: str
    maps: Float32Array
    names: list[str]
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: Float64Array
    degenerate: NDArray[np.bool_]
    notes: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict, repr=False)
    class_names: Sequence[str] | None = field(default=None, repr=False)
    drawer: ExplanationDrawer | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Explanation:
        return Explanation(
            name=self.names[index],
            map=self.maps[index],
            target=int(self.targets[index]),
            predicted=int(self.predicted[index]),
            probability=float(self.probabilities[index]),
            degenerate=bool(self.degenerate[index]),
            note=self.notes.get(self.names[index], ""),
            thumbnail=self.thumbnails.get(self.names[index]),
            class_name=class_name(self.class_names, int(self.targets[index])),
        )

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def _repr_html_(self) -> str | None:
        html: str | None = rendered(self, "html")
        return html

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "drawer": None}

    def grid(
        self,
        index: int = 0,
        others: Sequence[Explanations] = (),
        *,
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
    ) -> NDArray[np.uint8]:
        """Draw an image and its overlays in a grid, as the command `explain` does.

        Args:
            index: The image's number among these explanations.
            others: Explanations of the same image and class by other methods.
            alpha: The opacity of the maps, from 0 to 1.
            colormap: "viridis", "cividis", "inferno", "magma" or "plasma".

        Returns:
            The grid with the class, its probability and a color bar, uint8 RGB.

        Raises:
            OptionError: An option is wrong, or these explanations are not from `explain`.
            ValueError: Other explanations lack the image, or explain another class of it.

        Example:
            >>> import adcc_onnx as adcc
            >>> from adcc_onnx.drawings import classifier_path
            >>> model = adcc.load(classifier_path(), device="cpu")
            >>> gradcam = adcc.explain(model, "drawings:1", "gradcam")
            >>> gradcam.grid(0, [adcc.explain(model, "drawings:1", "center")]).shape[2]
            3
        """
        style = DrawingStyle(alpha, colormap)
        return self._require_drawer().grid([self, *others], index, style)

    def save(
        self,
        folder: str | Path,
        others: Sequence[Explanations] = (),
        *,
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
        force: bool = False,
    ) -> list[Path]:
        """Write the overlays, grids and maps of all images, as the command `explain` does.

        Args:
            folder: The folder of the files; it is created if it does not exist.
            others: Explanations of the same images and classes by other methods.
            alpha: The opacity of the maps, from 0 to 1.
            colormap: The color map, as for `grid`.
            force: Whether existing files are replaced.

        Returns:
            The files.

        Raises:
            OptionError: An option is wrong, or these explanations are not from `explain`.
            StoreError: A file exists or cannot be written.
            ValueError: Other explanations lack an image, or explain another class of it.
        """
        style = DrawingStyle(alpha, colormap)
        return self._require_drawer().save([self, *others], Path(folder), style, force)

    def _require_drawer(self) -> ExplanationDrawer:
        if self.drawer is None:
            raise OptionError("only explanations from `explain` know their images to draw them")
        return self.drawer

    def __repr__(self) -> str:
        height, width = self.maps.shape[1:]
        counts = [f"{self.degenerate.sum()} degenerate", f"{len(self.failures)} failed"]
        return (
            f"<Explanations by {self.method}: {len(self)} maps of {height} x {width} pixels, "
            f"{', '.join(counts)}>"
        )
