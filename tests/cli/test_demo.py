"""The demo: offline, the ranked table, the pictures, and what the table says."""

from __future__ import annotations

from pathlib import Path

import cv2
from click.testing import CliRunner

from adcc_onnx.cli.command_group import main


def test_the_demo(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo", "-o", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.strip().splitlines()
    # Fake-CAM is a control, and stands below a line of its own.
    rows = [line.split() for line in [*lines[3:8], lines[9]]]
    assert {row[0] for row in rows} == {
        "fakecam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "scorecam",
    }  # fmt: skip
    scores = [float(row[5]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert rows[-1][0] == "fakecam" and scores[-1] < 0.1
    assert str(tmp_path / "pictures") in result.stdout
    assert "Fake-CAM" in lines[-1] and "first of 6 by average drop but last by ADCC" in lines[-1]
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == 6
    for path in pictures:
        rows, columns = (cv2.imread(str(path)).shape[axis] // 320 for axis in (0, 1))
        assert rows * columns >= 7  # the image and six methods, enlarged to about 320 pixels
