"""Names of nodes and values that attack parsers, paths or terminals."""

from __future__ import annotations

from helpers.malformed_models.base import Cases
from helpers.small_models import small

_SCOPES = {
    "scopes_number": "5",
    "scopes_mapping": "{1: 2}",
    "scopes_nested": "[" * 100_000,
    "scopes_deep": "[" * 80 + "]" * 80,
    "scopes_code": "__import__('os').system('true')",
    "scopes_types": "[1, None, 'a', ['b']]",
    "scopes_sum": "-" * 50_000 + "1",
}
_NAMES = {
    "long": "x" * 10**6,
    "escape": "\x1b]0;owned\x07\x1b[2J\n",
    "path": "../../../../etc/passwd",
    "slashes": "/" * 100_000,
    "nul": "a\0b",
    "target": "target",
    "prefix": "adcc/Where",
    "logits": "logits",
}


def names() -> Cases:
    """Yield models with hostile module paths, names of values, and bytes that are not UTF-8."""
    for name, scopes in _SCOPES.items():
        model = small("softmax")
        model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
        yield name, model
    for name, hostile in _NAMES.items():
        model = small("softmax")
        for node in model.graph.node[:2]:
            for values in (node.input, node.output):
                for i, value in enumerate(values):
                    values[i] = hostile if value == "features" else value
        model.graph.node[0].name = hostile
        yield name, model
    raw = small("softmax").SerializeToString()
    yield "not_utf8", raw.replace(b"features", b"feat\xff\xfe\xfds")
