"""Values that the shell completes: methods, metrics, presets, layers and file names.

docs/reference/command-line.md says how to switch completion on. Nothing here imports onnxruntime
or numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

# A larger model would keep the user waiting, and more names would not help.
_LARGEST_MODEL = 2**28  # bytes
_MOST_LAYERS = 200
_LAYER_OPERATORS = {
    "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "FusedConv", "Gelu",
    "HardSwish", "InstanceNormalization", "LayerNormalization", "MaxPool", "Mul", "PRelu",
    "QLinearConv", "Relu", "Sigmoid",
}  # fmt: skip


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leave the completion of file names to the shell."""
    return [CompletionItem(incomplete, type="file")]


def complete_words(*words: str, files: bool = False) -> _Complete:
    """Make a completion of fixed words.

    Args:
        *words: The words.
        files: Whether the value may also be a file.
    """

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = _starting(words, incomplete)
        return found or (complete_files(context, parameter, incomplete) if files else [])

    return complete


def complete_methods(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of methods, with their summaries where the shell shows them."""
    from adcc_onnx.cams.method_registry import list_methods

    return _described(list_methods(), incomplete)


def complete_metrics(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of metrics, with their summaries where the shell shows them."""
    from adcc_onnx.metrics.metric_registry import list_metrics

    return _described(list_metrics(), incomplete)


def complete_layers(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the layers of the model that stands on the command line."""
    given = context.params.get("models") or context.params.get("model") or ()
    # Click has not assigned the arguments yet if the option has no value so far.
    words = [given] if isinstance(given, str | Path) else [*given, *context.args]
    models = [path for path in map(Path, words) if path.suffix == ".onnx" and path.is_file()]
    return _starting(_layers(models[0]), incomplete)[:_MOST_LAYERS] if models else []


def _layers(model: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if model.stat().st_size > _LARGEST_MODEL:
            return []
        graph = onnx.load(model, load_external_data=False).graph
    except (OSError, DecodeError, ValueError):
        return []
    names = [n.output[0] for n in graph.node if n.op_type in _LAYER_OPERATORS and n.output]
    return ["input", *names]


def _described(classes: Sequence[Any], incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(one.name, help=one.summary)
        for one in classes
        if one.name.startswith(incomplete)
    ]


def _starting(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]
