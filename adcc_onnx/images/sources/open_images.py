"""Where images come from, by how the place is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from adcc_onnx.errors import SourceError
from adcc_onnx.images.decoding.decode import SUFFIXES
from adcc_onnx.images.sources.folders import file_source, folder_source, list_source
from adcc_onnx.images.sources.generated_images import drawings_source, is_drawings_spec
from adcc_onnx.images.sources.image_source import Record, Source, concatenate_sources
from adcc_onnx.images.sources.label_files import with_labels
from adcc_onnx.images.sources.parquet import parquet_source
from adcc_onnx.images.sources.shards import expand_shards
from adcc_onnx.images.sources.subsampling import subsample
from adcc_onnx.images.sources.tar_archives import tar_source
from adcc_onnx.images.sources.tensors import array_source, npz_source

__all__ = ["Record", "Source", "concatenate_sources", "open_arrays", "open_paths", "open_source"]

_LISTS = (".csv", ".txt", ".lst")
# What may come in numbered files, all together one source.
_SHARDS: dict[str, Callable[[Path, str], Source]] = {".tar": tar_source, ".parquet": parquet_source}


def open_source(
    spec: str | Path,
    limit: int | None = None,
    seed: int | None = None,
    stratified: bool = False,
    labels: Path | None = None,
) -> Source:
    """The images of a place: see docs/sources.md for every kind.

    Args:
        spec: a folder (flat or one folder a class), a picture, a list or CSV `path[,label]`, an
            `.npz` of ready tensors, a `.tar` or `.parquet`, or several numbered ones
            ("shard-{000000..000049}.tar"), or `drawings:COUNT@SEED`, which the package draws.
        limit: at most so many images.
        seed: take them at random; the first ones where None.
        stratified: take them in proportion from every label.
        labels: a file that gives the labels (see `with_labels`).

    Raises:
        SourceError: it is missing, empty or malformed.
        OptionError: the limit is not at least 1.
    """
    source = _open(spec)
    if labels is not None:
        source = with_labels(source, labels)
    return subsample(source, limit, seed, stratified)


def open_paths(paths: Sequence[Path], limit: int | None = None) -> Source:
    """Pictures by their paths.

    Raises:
        SourceError: there is none.
    """
    if not paths:
        raise SourceError("no image was given")
    return subsample(file_source(Path(), [str(path) for path in paths], [None] * len(paths)), limit)


def open_arrays(
    tensors: NDArray[Any],
    limit: int | None = None,
    labels: NDArray[Any] | None = None,
    masks: NDArray[Any] | None = None,
) -> Source:
    """Preprocessed tensors [N, C, H, W], with perhaps a label and a mask [N, H, W] each.

    Raises:
        SourceError: another rank or type, or another number of labels or size of masks.
    """
    return subsample(array_source(tensors, labels, masks), limit)


def _open(spec: str | Path) -> Source:
    if is_drawings_spec(str(spec)):
        return drawings_source(str(spec))
    path = Path(spec)
    if not path.exists():
        shards = expand_shards(str(spec))
        if shards is None:
            raise SourceError(f"no such file or folder: {path}")
        return concatenate_sources([_opener(shard)(shard, f"{shard.stem}/") for shard in shards])
    if path.is_dir():
        return folder_source(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return npz_source(path)
    if suffix in _LISTS:
        return list_source(path)
    if suffix in SUFFIXES:
        return file_source(path.parent, [path.name], [None])
    return _opener(path)(path, "")


def _opener(path: Path) -> Callable[[Path, str], Source]:
    try:
        return _SHARDS[path.suffix.lower()]
    except KeyError:
        kinds = ", ".join((*_LISTS, ".npz", *_SHARDS, *SUFFIXES))
        raise SourceError(f"{path} is neither a folder nor one of {kinds}") from None
