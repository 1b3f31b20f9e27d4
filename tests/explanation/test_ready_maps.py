"""Ready-made maps are scored like a method's own maps; damaged ones fail with a reason."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers.small_models import small

import adcc_onnx as adcc
from adcc_onnx.errors import OptionError, SourceError
from adcc_onnx.explanation.ready_maps import ReadyMaps
from adcc_onnx.graph.programs.tensor_names import IMAGE, LOGITS
from adcc_onnx.model import Model
from adcc_onnx.runtime.passes import Pass

IMAGES = np.random.default_rng(2).standard_normal((5, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    onnx.save(small(), tmp_path / "net.onnx")
    return adcc.load(tmp_path / "net.onnx", device="cpu", batch_size=2)


def kept(folder: Path, maps: np.ndarray) -> Path:
    folder.mkdir()
    for i, one in enumerate(maps):
        np.save(folder / f"{i}.npy", one)
    return folder


def test_a_methods_own_maps_score_as_the_method_does(model: Model, tmp_path: Path) -> None:
    first = adcc.explain(model, IMAGES).maps
    targets = [int(c) for c in _predicted(model)]
    second = adcc.explain(model, IMAGES * first[:, None], target=targets).maps
    folder, again = kept(tmp_path / "theirs", first), kept(tmp_path / "second", second)
    metrics = ["adcc", "average_increase", "deletion(steps=8)", "sparseness", "max_sensitivity"]
    found = adcc.evaluate(
        model, IMAGES, ["gradcam"], metrics, maps=[folder], second_maps=[again]
    ).methods
    ours, theirs = found["gradcam"].scores, found["theirs"].scores
    assert set(ours) - set(theirs) == {"max_sensitivity"}
    for name, value in theirs.items():
        assert value == pytest.approx(ours[name], abs=1e-6), name


def test_without_second_maps_there_is_no_coherency(model: Model, tmp_path: Path) -> None:
    folder = kept(tmp_path / "theirs", adcc.explain(model, IMAGES).maps)
    found = adcc.evaluate(model, IMAGES, maps=[folder], controls=False).methods
    assert list(found) == ["theirs"]
    assert set(found["theirs"].scores) == {"average_drop", "average_increase", "complexity"}


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (np.zeros((4, 4), np.float32), r"float32 \[4 x 4\]; it must be real numbers \[8 x 8\]"),
        (np.full((8, 8), np.nan, np.float32), "holds NaN"),
        (np.full((8, 8), 2.0, np.float32), "from 2 to 2: normalize it"),
        (np.full((8, 8), "x"), "must be real numbers"),
        (np.array([{}] * 64).reshape(8, 8), "cannot be read"),
    ],
)
def test_a_broken_map_fails_its_image_alone(
    model: Model, tmp_path: Path, spoilt: np.ndarray, said: str
) -> None:
    folder = kept(tmp_path / "theirs", adcc.explain(model, IMAGES).maps)
    np.save(folder / "3.npy", spoilt, allow_pickle=True)
    found = adcc.evaluate(model, IMAGES, maps=[folder])
    (failure,) = found.failures
    assert (failure.image, failure.method) == ("3", "theirs")
    assert re.search(said, failure.reason)
    assert found.methods["theirs"].failed == 1 and found.failed == 0


def header(text: str, version: int = 1) -> bytes:
    """A `.npy` file that holds a header and nothing else."""
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode()


HUGE = 10**15
HOSTILE = {
    "a huge shape": header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({HUGE}, 8)}}\n"),
    "many dimensions": header(
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'9, ' * 3000})}}\n", 2
    ),
    "a negative size": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-8, -8)}\n"),
    "only a header": header("{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8)}\n"),
    "huge elements": header(f"{{'descr': '|V{2**30}', 'fortran_order': False, 'shape': (8, 8)}}\n"),
    "a nested header": header("(" * 60_000),
    "a header that is code": header("__import__('os').abort()"),
    "a huge header": header("{" + " " * 10**6 + "}", 2),
    "an unknown version": header("{}", 9),
    "an archive": b"PK\x03\x04" + bytes(64),
    "a pickle": b"\x80\x04N.",
    "an empty file": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_map_fails_its_image_alone(model: Model, tmp_path: Path, kind: str) -> None:
    folder = kept(tmp_path / "theirs", adcc.explain(model, IMAGES).maps)
    (folder / "3.npy").write_bytes(HOSTILE[kind])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = adcc.evaluate(model, IMAGES, maps=[folder])
    (failure,) = found.failures
    assert (failure.image, failure.method) == ("3", "theirs")
    assert failure.reason.startswith("the map 3.npy") and "\n" not in failure.reason
    assert len(failure.reason) < 250
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_a_map_in_fortran_order_is_the_same_map(model: Model, tmp_path: Path) -> None:
    maps = adcc.explain(model, IMAGES).maps
    plain = kept(tmp_path / "plain", maps)
    ordered = kept(tmp_path / "ordered", np.stack(maps))
    for i, one in enumerate(maps):
        np.save(ordered / f"{i}.npy", np.asfortranarray(one))
    found = adcc.evaluate(model, IMAGES, maps=[plain, ordered]).methods
    assert found["plain"].scores == found["ordered"].scores


def test_too_few_maps_or_folders(model: Model, tmp_path: Path) -> None:
    folder = kept(tmp_path / "theirs", adcc.explain(model, IMAGES).maps[:4])
    with pytest.raises(SourceError, match=r"holds 4 maps \(.npy\), but there are 5 images"):
        adcc.evaluate(model, IMAGES, maps=[folder])
    with pytest.raises(SourceError, match="no such folder of maps"):
        adcc.evaluate(model, IMAGES, maps=[tmp_path / "none"])
    with pytest.raises(OptionError, match="1 folders of maps but 2 of second maps"):
        adcc.evaluate(model, IMAGES, maps=[folder], second_maps=[folder, folder])


def test_maps_are_found_by_the_images_name_and_never_outside(model: Model, tmp_path: Path) -> None:
    one = np.eye(8, dtype=np.float32)
    folder = tmp_path / "maps"
    (folder / "cat").mkdir(parents=True)
    np.save(folder / "cat" / "1.npy", one)
    np.save(folder / "dog.jpg.npy", one)
    np.save(tmp_path / "secret.npy", one)
    (folder / "link.npy").symlink_to(tmp_path / "secret.npy")
    names = ["cat/1.png", "dog.jpg", "/photos/dog.jpg", "../secret.png", "link.png"]
    found = ReadyMaps(folder).first(names, (8, 8))
    np.testing.assert_array_equal(found.failed, [False, False, False, True, True])
    assert "there is no map secret.npy" in found.reason(3)


def _predicted(model: Model) -> np.ndarray:
    return model.pool.session(Pass.FORWARD).run({IMAGE: IMAGES})[LOGITS].argmax(axis=1)
