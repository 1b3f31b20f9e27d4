"""Per-image values as CSV and JSON."""

from __future__ import annotations

import json

import pytest
from helpers.stored_runs import per_image_run

from adcc_onnx.errors import OptionError
from adcc_onnx.report.per_image import per_image_to_csv, per_image_to_json
from adcc_onnx.report.rendering import render_per_image
from adcc_onnx.results.evaluation_result import evaluation_results


def test_csv_has_literal_rows() -> None:
    with per_image_run() as store:
        assert per_image_to_csv(evaluation_results(store)) == (
            "model,image,label,target,predicted,probability,method,average_drop,coherency,"
            "degenerate,failure\n"
            "net,'=a.png,1,1,2,0.75,gradcam,0.25,0.5,True,\n"
            "net,'=a.png,1,1,2,0.75,fakecam,,,,the map holds NaN\n"
            "net,b.png,,3,3,0.5,gradcam,0.125,,False,\n"
            "net,c.png,4,,,,gradcam,,,,cut short\n"
            "net,c.png,4,,,,fakecam,,,,cut short\n"
        )
    assert per_image_to_csv([]) == "model\n"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_text_that_looks_like_a_formula_is_defused(sign: str) -> None:
    with per_image_run(image=f"{sign}1+2\x1b", model=f"{sign}net") as store:
        lines = per_image_to_csv(evaluation_results(store)).splitlines()
        (run,) = json.loads(per_image_to_json(evaluation_results(store)))["runs"]
    assert lines[1].startswith(f"'{sign}net,'{sign}1+2\\x1b,1,1,2,")
    assert run["model"] == f"{sign}net" and run["per_image"][0]["image"] == f"{sign}1+2\x1b"


def test_json_has_literal_records() -> None:
    with per_image_run() as store:
        text = per_image_to_json(evaluation_results(store))
    (run,) = json.loads(text)["runs"]
    assert run["model"] == "net" and len(run["per_image"]) == 5
    assert run["per_image"][2] == {
        "image": "b.png",
        "label": None,
        "target": 3,
        "predicted": 3,
        "probability": 0.5,
        "method": "gradcam",
        "average_drop": 0.125,
        "coherency": None,
        "degenerate": False,
        "failure": None,
    }
    assert "seconds" not in text and 'NaN"' not in text.replace("holds NaN", "")


@pytest.mark.parametrize("style", ["csv", "json"])
def test_equal_runs_give_equal_bytes(style: str) -> None:
    texts = []
    for seconds in (0.5, 0.75):
        with per_image_run(seconds=seconds) as store:
            texts.append(render_per_image([store], style))
    assert texts[0] == texts[1]


def test_several_runs_share_a_table() -> None:
    with per_image_run() as one, per_image_run(model="other", metrics=["average_drop"]) as two:
        lines = render_per_image([one, two], "csv").splitlines()
        assert len(lines) == 1 + 5 + 5
        assert lines[0].endswith(",average_drop,coherency,degenerate,failure")
        assert lines[6] == "other,'=a.png,1,1,2,0.75,gradcam,0.25,,True,"
        with pytest.raises(OptionError, match="per-image values have no format 'table'"):
            render_per_image([one], "table")
