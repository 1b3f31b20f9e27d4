"""Ready-made maps: made by another tool, one `.npy` file per image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import ClassVar

import numpy as np

from adcc_onnx.cams.method import Need
from adcc_onnx.errors import (
    ImageError,
    OptionError,
    SourceError,
    file_system_name,
    first_line,
)
from adcc_onnx.explanation.maps import Maps
from adcc_onnx.images.decoding.npy_header import NpyHeader, read_npy_header
from adcc_onnx.kernels.arrays import Float32Array

# Separators and characters that Windows reserves.
_RESERVED = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class ReadyMaps:
    """A folder of maps M, and optionally one of the second maps CAM_c(x * M).

    The map of the image `dog.jpg` is `dog.npy` or `dog.jpg.npy`, the map of `cat/1.png` is in
    `cat/`, and the maps of the images of an `.npz` are `0.npy`, `1.npy`, ... Each map is [H, W] at
    the model's input size, with real numbers in [0, 1].

    Attributes:
        folder: The folder of the maps M.
        second_folder: The folder of the maps CAM_c(x * M), which coherency and ADCC need; None if
            there is none.
        needs: What the maps need from the model: nothing.

    Raises:
        SourceError: A folder does not exist.
    """

    folder: Path
    second_folder: Path | None = None
    needs: ClassVar[frozenset[Need]] = frozenset()

    def __post_init__(self) -> None:
        for folder in (self.folder, self.second_folder):
            if folder is not None and not folder.is_dir():
                raise SourceError(f"no such folder of maps: {folder}")

    def require(self, images: int) -> None:
        """Check that there are enough maps.

        Args:
            images: The number of images.

        Raises:
            SourceError: A folder holds fewer maps than there are images.
        """
        for folder in (self.folder, self.second_folder):
            found = 0 if folder is None else sum(1 for _ in folder.rglob("*.npy"))
            if folder is not None and found < images:
                raise SourceError(
                    f"{folder} holds {found} maps (.npy), but there are {images} images"
                )

    def first(self, names: Sequence[str], size: tuple[int, int]) -> Maps:
        """Read the maps M of images.

        Args:
            names: The names of the images.
            size: The size (H, W) of the images.
        """
        return _read_maps(self.folder, names, size)

    def second(self, names: Sequence[str], size: tuple[int, int]) -> Maps:
        """Read the second maps CAM_c(x * M) of images.

        Args:
            names: The names of the images.
            size: The size (H, W) of the images.

        Raises:
            OptionError: There is no folder of second maps.
        """
        if self.second_folder is None:
            raise OptionError(f"{self.folder} has no second maps: give their folder, too")
        return _read_maps(self.second_folder, names, size)


def pair(folders: Sequence[str | Path], second: Sequence[str | Path]) -> list[ReadyMaps]:
    """Pair folders of maps with their folders of second maps, if there are any.

    Args:
        folders: The folders of maps.
        second: The folders of second maps: none, or one for each folder of maps.

    Raises:
        OptionError: The numbers of folders differ.
        SourceError: A folder does not exist.
    """
    if second and len(second) != len(folders):
        raise OptionError(
            f"{len(folders)} folders of maps but {len(second)} of second maps: give one for each"
        )
    if not second:
        return [ReadyMaps(Path(folder)) for folder in folders]
    return [ReadyMaps(Path(f), Path(s)) for f, s in zip(folders, second, strict=True)]


def _read_maps(folder: Path, names: Sequence[str], size: tuple[int, int]) -> Maps:
    maps = np.zeros((len(names), *size), np.float32)
    reasons: dict[int, str] = {}
    for i, name in enumerate(names):
        try:
            maps[i] = _read(_path_of(folder, name), size)
        except ImageError as error:
            reasons[i] = str(error)
    flat = maps.reshape(len(maps), -1)
    failed = np.isin(np.arange(len(names)), list(reasons))
    degenerate = (np.ptp(flat, axis=1) == 0) & ~failed
    return Maps(maps, size, degenerate, failed, np.ones(len(names), np.int64), reasons)


def map_path(folder: Path, name: str) -> Path:
    """Return the file in which a new map of an image belongs; `ReadyMaps` finds it there.

    Args:
        folder: The folder of the maps.
        name: The image's name, which may come from an untrusted file.

    Returns:
        A path in the folder. It consists of the image's folders and its name with the suffix,
        because `a.jpg` and `a.png` are two images. Characters that a file system may refuse are
        replaced.

    Example:
        >>> map_path(Path("maps"), "/photos/../cat/1.png").as_posix()
        'maps/photos/cat/1.png.npy'
    """
    *folders, last = [file_system_name(safe_file_name(part)) for part in _parts(name)]
    return folder.joinpath(*folders, f"{last}.npy")


def safe_file_name(name: str, limit: int = 120) -> str:
    """Return a name that every file system accepts, without control characters and separators.

    Args:
        name: Any text.
        limit: Largest number of bytes.

    Returns:
        The name itself if possible. Otherwise, it ends with a part of the SHA-256 of the original
        name, so that two different names stay different.

    Example:
        >>> safe_file_name("dog (1).jpg"), safe_file_name("a/b?.jpg")
        ('dog (1).jpg', 'a_b_.jpg~f904eb95')
        >>> len(safe_file_name(300 * "x", 40))
        40
    """
    kept = "".join(c if c.isprintable() and c not in _RESERVED else "_" for c in name).strip(" .")
    if kept == name != "" and len(name.encode()) <= limit:
        return name
    end = "~" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return kept.encode()[: limit - len(end)].decode("utf-8", "ignore") + end


def _parts(name: str) -> list[str]:
    """Split an image's name at its folders; those that lead upwards are dropped."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return [part for part in parts if part not in ("/", "..")] or [safe_file_name(name)]


def _path_of(folder: Path, name: str) -> Path:
    """Return the file of an image's map, which is never outside the folder."""
    parts = [file_system_name(part) for part in _parts(name)]
    root = folder.resolve()
    # For an image given by its whole path, the map may have the name of the file alone.
    wholes = dict.fromkeys((folder.joinpath(*parts), folder / parts[-1]))
    named = [whole.with_name(f"{whole.name}.npy") for whole in wholes]
    stems = [whole.with_suffix(".npy") for whole in wholes]
    for path in (map_path(folder, name), named[0], stems[0], *named[1:], *stems[1:]):
        if _is_file(path) and path.resolve().is_relative_to(root):
            return path
    raise ImageError(f"there is no map {PurePosixPath(parts[-1]).with_suffix('.npy')} in {folder}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null byte
        return False


def _read(path: Path, size: tuple[int, int]) -> Float32Array:
    try:
        with path.open("rb") as stream:
            header = read_npy_header(stream)
            _check_header(path, header, size, path.stat().st_size - stream.tell())
            data = stream.read()
        found = np.frombuffer(data, header.dtype).reshape(
            size, order="F" if header.fortran else "C"
        )
    except (OSError, ValueError) as error:
        raise ImageError(f"the map {path.name} cannot be read: {first_line(error)}") from error
    with np.errstate(over="ignore"):  # large float64 values become infinite
        values = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(values).all():
        raise ImageError(f"the map {path.name} holds NaN or infinite values")
    if values.min() < 0 or values.max() > 1:
        raise ImageError(
            f"the map {path.name} has values from {values.min():.3g} to {values.max():.3g}: "
            "normalize it to [0, 1]"
        )
    return values


def _check_header(path: Path, header: NpyHeader, size: tuple[int, int], data_bytes: int) -> None:
    """Check a map's header before anything is allocated.

    Raises:
        ImageError: The map has another size or type.
        ValueError: The size of the file does not fit its header.
    """
    if header.shape != size or header.dtype.kind not in "fui":
        shape = " x ".join(map(str, header.shape))
        raise ImageError(
            f"the map {path.name} is {short(str(header.dtype))[1:-1]} [{shape[:60]}]; it must be "
            f"real numbers [{size[0]} x {size[1]}], the model's input size"
        )
    expected = size[0] * size[1] * header.dtype.itemsize
    if data_bytes != expected:
        raise ValueError(f"it has {data_bytes:,} bytes of values instead of {expected:,}")
