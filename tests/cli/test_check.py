"""`adcc-onnx check`: the text, the JSON and the card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import adcc_onnx as adcc
from adcc_onnx.cli.command_group import main
from adcc_onnx.drawings import classifier_path
from adcc_onnx.errors import OptionError
from adcc_onnx.images.cards import card_beside


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The built-in classifier without its card."""
    return Path(shutil.copy(classifier_path(), tmp_path / "net.onnx"))


def check(model: Path, *words: str) -> Result:
    command = ["check", str(model), "--device", "cpu", "--images"]
    return CliRunner().invoke(main, [*command, *words])


def test_the_card_is_written_and_never_overwritten(model: Path) -> None:
    labels = classifier_path().with_name("labels.txt").read_text().splitlines()
    card = model.with_suffix(".toml")
    card.write_text(f'labels = {json.dumps(labels)}\nlayer = "3"\n')
    before = card.read_bytes()
    result = check(model, "drawings:24", "--write-card")
    assert result.exit_code == 1 and "exists: replace it with --force" in result.stderr
    assert card.read_bytes() == before
    result = check(model, "drawings:24", "--write-card", "--force")
    assert result.exit_code == 0 and f"Card: {card}" in result.stdout
    written, loaded = card_beside(model), adcc.load(model, device="cpu")
    assert written is not None and written.labels == labels and written.layer == "3"
    assert loaded.preprocessing is not None
    result = check(model, "drawings:24")
    assert "The preprocessing of the card is the best candidate." in result.stdout


def test_json(model: Path) -> None:
    result = check(model, "drawings:12", "--json")
    content = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (content["model"], content["images"], content["labeled"]) == ("net", 12, False)
    best = content["candidates"][0]
    assert best["fits"] and best["p_value"] is None and best["preprocessing"]["size"] == [112, 112]
    assert any("give --labels" in text for text in content["warnings"])
    assert not model.with_suffix(".toml").exists()


def test_a_card_that_does_not_fit_is_named(model: Path) -> None:
    labels = classifier_path().with_name("labels.txt").read_text().splitlines()
    card = model.with_suffix(".toml")
    card.write_text(f'preset = "raw"\nlabels = {json.dumps(labels)}\n')
    result = check(model, "drawings:40")
    assert "The preprocessing of the card does not fit" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("*  ")]
    assert row.split()[1] == "raw"


def test_a_model_in_memory_has_no_place_for_a_card() -> None:
    import onnx

    with pytest.raises(OptionError, match="give the model by its path"):
        adcc.check(onnx.load(classifier_path()), "drawings:4", write_card=True)
