"""Maps that another tool made, one `.npy` an image, scored as a method's are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from adcc_onnx.cams.method import Method, MethodContext
from adcc_onnx.errors import ImageError, OptionError, SourceError
from adcc_onnx.explanation.maps import Maps
from adcc_onnx.kernels.arrays import Float32Array


@dataclass(frozen=True)
class ReadyMaps(Method):
    """A folder of maps M, and perhaps one of the second maps CAM_c(x * M).

    The map of the image `dog.jpg` is `dog.npy` or `dog.jpg.npy`, that of `cat/1.png` in `cat/`; of
    the images of an `.npz`, `0.npy`, `1.npy`, ... Each is [H, W] at the model's input size, real
    numbers in [0, 1].

    Attributes:
        folder: of M.
        second_folder: of CAM_c(x * M), for coherency and ADCC; None if there is none.

    Raises:
        SourceError: a folder is missing or holds no map.
    """

    name = "maps"
    family = "ready"
    summary = "maps made by another tool"
    needs = frozenset()

    folder: Path
    second_folder: Path | None = None

    def __post_init__(self) -> None:
        for folder in (self.folder, self.second_folder):
            if folder is not None and not folder.is_dir():
                raise SourceError(f"no such folder of maps: {folder}")

    def require(self, images: int) -> None:
        """Whether there are maps for so many images.

        Raises:
            SourceError: there are fewer.
        """
        for folder in (self.folder, self.second_folder):
            found = 0 if folder is None else sum(1 for _ in folder.rglob("*.npy"))
            if folder is not None and found < images:
                raise SourceError(
                    f"{folder} holds {found} maps (.npy), but there are {images} images"
                )

    def raw_maps(self, context: MethodContext) -> Float32Array:
        raise OptionError("ready maps are of the images they were made of, and of no others")

    def read(self, names: Sequence[str], size: tuple[int, int], second: bool = False) -> Maps:
        """The maps of the images of these names, or their second maps."""
        folder = self.second_folder if second else self.folder
        assert folder is not None
        maps = np.zeros((len(names), *size), np.float32)
        reasons: dict[int, str] = {}
        for i, name in enumerate(names):
            try:
                maps[i] = _read(_path_of(folder, name), size)
            except ImageError as error:
                reasons[i] = str(error)
        flat = maps.reshape(len(maps), -1)
        failed = np.isin(np.arange(len(names)), list(reasons))
        return Maps(maps, size, (np.ptp(flat, axis=1) == 0) & ~failed, failed, reasons)


def pair(folders: Sequence[str | Path], second: Sequence[str | Path]) -> list[ReadyMaps]:
    """Folders of maps with their folders of second maps, if there are any.

    Raises:
        OptionError: there are second maps, but not one folder for each folder of maps.
    """
    if second and len(second) != len(folders):
        raise OptionError(
            f"{len(folders)} folders of maps but {len(second)} of second maps: give one for each"
        )
    if not second:
        return [ReadyMaps(Path(folder)) for folder in folders]
    return [ReadyMaps(Path(f), Path(s)) for f, s in zip(folders, second, strict=True)]


def _path_of(folder: Path, name: str) -> Path:
    """The file of an image's map, which never lies outside the folder."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "/"]
    root = folder.resolve()
    # An image given by its path has its map under its file's name alone.
    for whole in dict.fromkeys((folder.joinpath(*parts), folder / parts[-1])):
        for path in (whole.with_name(f"{whole.name}.npy"), whole.with_suffix(".npy")):
            if path.is_file() and path.resolve().is_relative_to(root):
                return path
    raise ImageError(f"there is no map {PurePosixPath(parts[-1]).with_suffix('.npy')} in {folder}")


def _read(path: Path, size: tuple[int, int]) -> Float32Array:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"the map {path.name} cannot be read: {error}") from error
    if found.shape != size or found.dtype.kind not in "fui":
        shape = " x ".join(map(str, found.shape))
        raise ImageError(
            f"the map {path.name} is {found.dtype} [{shape}]; it must be real numbers "
            f"[{size[0]} x {size[1]}], the model's input size"
        )
    values = np.asarray(found, np.float32)
    if not np.isfinite(values).all():
        raise ImageError(f"the map {path.name} holds NaN or infinite values")
    if values.min() < 0 or values.max() > 1:
        raise ImageError(
            f"the map {path.name} runs from {values.min():.3g} to {values.max():.3g}: normalize it "
            "to [0, 1]"
        )
    return values
