"""The training of the built-in classifier gives the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"

SHORT_RUN = """
import sys
from pathlib import Path
import train_drawings as t
model = t.onnx_bytes(t.train(*t.draw_labeled(3, 192), epochs=2, seed=int(sys.argv[2])))
t.write(model, Path(sys.argv[1]))
"""


def trained(folder: Path, seed: int) -> bytes:
    folder.mkdir()
    command = [sys.executable, "-c", SHORT_RUN, str(folder), str(seed)]
    subprocess.run(command, cwd=MODELS, check=True)
    return (folder / "classifier.onnx").read_bytes()


@pytest.mark.slow
def test_training_is_deterministic_from_its_seed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first = trained(tmp_path / "first", seed=0)
    assert trained(tmp_path / "second", seed=0) == first
    assert trained(tmp_path / "third", seed=1) != first


@pytest.mark.slow
def test_the_shipped_card_and_labels_are_the_script_s(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from adcc_onnx.drawings import classifier_path

    trained(tmp_path / "run", seed=0)
    for name in ("classifier.toml", "labels.txt"):
        assert (tmp_path / "run" / name).read_bytes() == classifier_path().with_name(
            name
        ).read_bytes()
