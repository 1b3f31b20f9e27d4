"""The training of the built-in classifiers gives the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adcc_onnx.drawings import CLASSIFIERS, classifier_path

MODELS = Path(__file__).parents[2] / "models"

SHORT_RUN = """
import sys
from pathlib import Path
import train_drawings as t
name, out, seed = sys.argv[1:]
model = t.train(t.RECIPES[name], *t.draw_labeled(3, 192), epochs=2, seed=int(seed))
t.write(t.onnx_bytes(model), Path(out))
"""


def trained(name: str, out: Path, seed: int) -> bytes:
    out.parent.mkdir()
    command = [sys.executable, "-c", SHORT_RUN, name, str(out), str(seed)]
    subprocess.run(command, cwd=MODELS, check=True)
    return out.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_training_is_deterministic_from_its_seed(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first = trained(name, tmp_path / "first" / "net.onnx", seed=0)
    assert trained(name, tmp_path / "second" / "net.onnx", seed=0) == first
    assert trained(name, tmp_path / "third" / "net.onnx", seed=1) != first


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_shipped_card_and_labels_are_the_script_s(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    shipped = classifier_path(name)
    trained(name, tmp_path / "run" / shipped.name, seed=0)
    for file in (shipped.with_suffix(".toml").name, "labels.txt"):
        assert (tmp_path / "run" / file).read_bytes() == shipped.with_name(file).read_bytes()
