"""The maps of one method for some images, each with its name, class and probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
            class_name=self._class_name(int(self.targets[index])),
        )

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def _class_name(self, target: int) -> str:
        names = self.class_names or ()
        return names[target] if target < len(names) else f"class {target}"

    def _repr_html_(self) -> str | None:
        html: str | None = rendered(self, "html")
        return html

    def __repr__(self) -> str:
        height, width = self.maps.shape[1:]
        counts = [f"{self.degenerate.sum()} degenerate", f"{len(self.failures)} failed"]
        return (
            f"<Explanations by {self.method}: {len(self)} maps of {height} x {width} pixels, "
            f"{', '.join(counts)}>"
        )
