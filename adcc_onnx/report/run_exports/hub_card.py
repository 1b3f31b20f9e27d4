"""Runs as a model card of the Hugging Face Hub: `model-index` metadata and a Markdown text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adcc_onnx.cams.method_registry import method_title
from adcc_onnx.report.markdown_format import escape_markdown, results_to_markdown
from adcc_onnx.report.rounding import rounded
from adcc_onnx.report.score_text import score_title
from adcc_onnx.report.text_table import safe
from adcc_onnx.report.verdict import verdict_sentences
from adcc_onnx.results.evaluation_result import EvaluationResult

_SETTINGS = ("protocol", "layer", "target")


def write_model_card(results: Sequence[EvaluationResult], out: Path) -> None:
    """Write a card.

    Args:
        results: The results; runs of one model become results of one entry.
        out: The Markdown file.
    """
    out.write_text(model_card(results), encoding="utf-8", newline="")


def model_card(results: Sequence[EvaluationResult]) -> str:
    """Return the text of a card.

    Args:
        results: The results.

    Returns:
        Metadata in YAML between lines of `---`, and Markdown. Scores are fractions in the metadata
        and percent in the tables.
    """
    by_model: dict[str, list[EvaluationResult]] = {}
    for result in results:
        by_model.setdefault(result.model, []).append(result)
    index = [
        {"name": safe(name), "results": [_entry(result) for result in found]}
        for name, found in by_model.items()
    ]
    verdicts = [escape_markdown(" ".join(verdict_sentences(result))) for result in results]
    lines = [
        "---",
        *_yaml({"model-index": index}),
        "---",
        "",
        "# Faithfulness of class activation maps",
        "",
        *(f"{verdict}\n" for verdict in verdicts),
        results_to_markdown(results),
        "Evaluated with adcc-onnx; ADCC is defined by Poppi, Cornia, Baraldi and Cucchiara (CVPR "
        "Workshops 2021).",
    ]
    return "\n".join(lines) + "\n"


def _entry(result: EvaluationResult) -> dict[str, Any]:
    config = result.stored_run.config
    # The Hub requires a name and a type of the dataset; only the name of the folder is known.
    images = safe(str(config.get("images", "images")))
    accuracy = (
        []
        if result.top1 is None
        else [{"type": "accuracy", "value": rounded(result.top1), "name": "Top-1 accuracy"}]
    )
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": images, "name": images},
        "metrics": [*accuracy, *_metrics(result, {k: config[k] for k in _SETTINGS})],
    }


def _metrics(result: EvaluationResult, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in result.rows:
        for score, value in result.methods[name].scores.items():
            title = score_title(result.score_definitions[score])
            arguments: dict[str, Any] = {"method": name, "images": result.scored, **settings}
            if result.anchors is not None:
                arguments["precision"] = result.anchors.precision
                arguments["float32_anchors"] = result.anchors.images
            if result.sequential is not None:
                arguments["dataset_images"] = result.sequential.population
            interval = result.methods[name].intervals.get(score)
            if interval is not None:
                arguments["confidence"] = result.resampling.confidence
                arguments["interval"] = [rounded(end) for end in interval]
            yield {
                "type": safe(score),
                "value": rounded(value),
                "name": safe(f"{title} of {method_title(name)}"),
                "args": {key: _plain(argument) for key, argument in arguments.items()},
            }


def _plain(value: Any) -> Any:
    return safe(value) if isinstance(value, str) else value


def _yaml(value: Any, indent: str = "") -> Iterator[str]:
    """Write nested dictionaries and lists as YAML; texts and numbers are written as in JSON."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if _is_nested(inner):
                yield f"{indent}{key}:"
                yield from _yaml(inner, f"{indent}  " if isinstance(inner, dict) else indent)
            else:
                yield f"{indent}{key}: {json.dumps(inner, ensure_ascii=False)}"
    else:
        for item in value:
            first, *others = _yaml(item, f"{indent}  ")
            yield f"{indent}- {first.lstrip()}"
            yield from others


def _is_nested(value: Any) -> bool:
    """Return whether a value takes lines of its own; short lists of numbers do not."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)
