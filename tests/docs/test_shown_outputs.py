"""Outputs that the pages show are those of the commands, where these take no time."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from helpers.documented_code import lines_after

from adcc_onnx.cli import main
from adcc_onnx.drawings import classifier_path


@pytest.mark.parametrize("page", ["getting-started.md", "guides/layers.md"])
def test_what_inspect_shows_of_the_built_in_classifier(page: str) -> None:
    shown = lines_after(page, "adcc-onnx inspect classifier.onnx")
    printed = CliRunner().invoke(main, ["inspect", str(classifier_path())]).stdout.splitlines()
    assert [line for line in shown if line not in printed] == []
