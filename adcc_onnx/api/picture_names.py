"""Names of the files of explanations: safe, of bounded length, with class and method."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from adcc_onnx.errors import file_system_name
from adcc_onnx.explanation.ready_maps import map_path, safe_file_name

# Bytes of each part of a name; all parts together stay below the 255 that file systems allow.
_IMAGE, _CLASS, _METHOD = 90, 60, 60
_SYNSET = re.compile(r"n\d{8}[ ,:]+(?=\S)")


class FileNames:
    """The names of the files of explained images.

    Overlays are `IMAGE.CLASS.METHOD.png` and `IMAGE.CLASS.METHOD.crop.png`, grids
    `IMAGE.CLASS.METHODS.grid.png`, and maps `METHOD.TARGET/IMAGE.npy`, so that other classes and
    methods get other names.

    Args:
        folder: The folder of all files.
        images: The names of all images of the source.
        methods: The names of the methods with their options.
        target: What was explained: "predicted", "label" or a class.

    Example:
        >>> names = FileNames(Path("maps"), ["cat/1.png", "cat/1.jpg"], ["rise(n=8)"], "predicted")
        >>> names.overlay(0, "281 tabby", "rise(n=8)").as_posix()
        'maps/cat_1.png.281_tabby.rise_n_8.png'
        >>> names.map("cat/1.jpg", "rise(n=8)").as_posix()
        'maps/rise_n_8.predicted/cat/1.jpg.npy'
    """

    def __init__(
        self, folder: Path, images: Sequence[str], methods: Iterable[str], target: str
    ) -> None:
        self._folder, self._target = folder, _part(target, _CLASS)
        # Images given by their whole paths are named by the file alone if that is unique.
        files = [_file_of(name) for name in images]
        counts = Counter(file.casefold() for file in files)
        self._shown = {
            name: file if counts[file.casefold()] == 1 and name.startswith("/") else name
            for name, file in zip(images, files, strict=True)
        }
        shown = [self._shown[name] for name in images]
        self._images = _unique([(_stem(name), _part(name, _IMAGE)) for name in shown])
        listed = list(methods)
        parts = [_part(method, _METHOD) for method in listed]
        self._methods = dict(zip(listed, _unique([(p, p) for p in parts]), strict=True))

    def overlay(self, position: int, title: str, method: str, crop: bool = False) -> Path:
        """Return the file of an overlay.

        Args:
            position: The image's position in the source.
            title: The index and the name of the class.
            method: The method.
            crop: Whether it shows only the model's crop.
        """
        return self._picture(position, title, f"{self._methods[method]}{'.crop' * crop}")

    def grid(self, position: int, title: str, methods: Iterable[str]) -> Path:
        """Return the file of a grid.

        Args:
            position: The image's position in the source.
            title: The index and the name of the class.
            methods: The methods that it shows.
        """
        parts = [self._methods[method] for method in methods]
        joined = "+".join(parts)
        if len(joined.encode()) > _METHOD:
            digest = hashlib.sha256(joined.encode()).hexdigest()[:8]
            joined = f"{len(parts)}_methods~{digest}"
        return self._picture(position, title, f"{joined}.grid")

    def map(self, image: str, method: str) -> Path:
        """Return the file of a map, where `ReadyMaps` finds it.

        Args:
            image: The image's name.
            method: The method.
        """
        return map_path(
            self._folder / file_system_name(f"{self._methods[method]}.{self._target}"),
            self._shown[image],
        )

    def _picture(self, position: int, title: str, end: str) -> Path:
        name = f"{self._images[position]}.{_part(title, _CLASS)}.{end}.png"
        return self._folder / file_system_name(name)


def class_title(index: int, names: Sequence[str] | None) -> str:
    """Return the index of a class and the first of its names.

    Args:
        index: The class.
        names: The names of the classes, if they are known.

    Example:
        >>> class_title(0, ["n02123045 tabby, tabby cat"]), class_title(3, None)
        ('0 tabby', '3')
    """
    if names is None or index >= len(names):
        return str(index)
    name = _SYNSET.sub("", names[index].strip(), count=1).partition(",")[0].strip()
    return f"{index} {name}".strip()


def _unique(candidates: Sequence[tuple[str, str]]) -> list[str]:
    """Choose the short form of each name if it is unique, or the long one, or a numbered one.

    Letters of different case count as equal, as some file systems see them.
    """
    counts = Counter(short.casefold() for short, _ in candidates)
    chosen = [pair[counts[pair[0].casefold()] > 1] for pair in candidates]
    taken: set[str] = set()
    for i, name in enumerate(chosen):
        number = 1
        while chosen[i].casefold() in taken:
            number += 1
            chosen[i] = f"{name}~{number}"
        taken.add(chosen[i].casefold())
    return chosen


def _file_of(name: str) -> str:
    """Return the last part of an image's name."""
    return PurePosixPath(name.replace("\\", "/")).name or name


def _stem(name: str) -> str:
    """Return an image's name without its suffix, as a part of a file's name."""
    return _part(name.removesuffix(PurePosixPath(_file_of(name)).suffix), _IMAGE)


def _part(name: str, limit: int) -> str:
    """Convert a name to a part of a file's name: without separators, brackets and spaces."""
    plain = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "_"
    return safe_file_name(plain, limit)
