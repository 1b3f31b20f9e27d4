"""The architecture as rules: who may import whom, and how long a function may be."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import adcc_onnx

PACKAGE = Path(adcc_onnx.__file__).parent
LONGEST_FUNCTION = 55  # lines without the docstring

# From the lowest layer to the highest; a module imports from its own layer and from lower ones.
LAYERS = (
    (
        "atomic_files",
        "errors",
        "options",
        "plugin_registry",
        "rich_display",
        "kernels",
        "statistics",
        "drawings",
        "published",
    ),
    ("graph",),
    ("runtime",),
    ("images",),
    ("cams",),
    ("metrics",),
    ("model",),
    ("explanation", "results"),
    ("evaluation",),
    ("cluster", "studies"),
    ("report",),
    ("api", "exporting"),
    ("cli",),
)
GRAPH_LAYERS = (("autodiff",), ("loading",), ("passes",), ("classifier",), ("programs",))
# What the lowest layer may import of itself.
INDEPENDENT = {
    "atomic_files": set(),
    "errors": set(),
    "options": {"errors"},
    "plugin_registry": {"errors", "options"},
    "rich_display": set(),
    "kernels": {"errors"},
    "statistics": {"errors", "kernels"},
    "drawings": {"errors"},
    "published": {"errors"},
}
# The only folder that imports a library.
HOME_OF_LIBRARY = {"sqlite3": "results", "ray": "cluster", "click": "cli"}


def name_of(path: Path) -> str:
    """The module's name below `adcc_onnx`, such as "graph.autodiff.builder"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    name_of(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if "recipes" not in path.parts
}
MODULES = {name for name in TREES if name and name not in ("__main__",)}


def imports_of(name: str) -> Iterator[tuple[str, str | None, str | None]]:
    """(module, imported name, alias) of every import of a module, also inside functions."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, alias.asname
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                yield node.module, alias.name, alias.asname


def own_imports(name: str) -> set[str]:
    """The modules of the package that a module imports; the root is not one of them."""
    found = set()
    for module, imported, _ in imports_of(name):
        inner = module.removeprefix("adcc_onnx").removeprefix(".")
        if not module.startswith("adcc_onnx"):
            continue
        submodule = f"{inner}.{imported}".removeprefix(".")
        target = submodule if submodule in MODULES else inner
        if target:
            found.add(target)
    return found


GRAPH = {name: own_imports(name) for name in sorted(MODULES)}


def layer_of(name: str) -> tuple[int, int]:
    """The number of a module's layer, and of its layer within `graph`."""
    first, *rest = name.split(".")
    layer = next(i for i, layer in enumerate(LAYERS) if first in layer)
    inside = [i for i, layer in enumerate(GRAPH_LAYERS) if rest and rest[0] in layer]
    return layer, inside[0] if first == "graph" and inside else 0


def printed_graph() -> str:
    """The import graph as text, one module per line."""
    return "\n".join(f"{name} -> {', '.join(sorted(GRAPH[name])) or '-'}" for name in GRAPH)


def packages() -> dict[str, set[str]]:
    """The import graph of the top-level packages and modules."""
    found: dict[str, set[str]] = {}
    for name, targets in GRAPH.items():
        first = name.partition(".")[0]
        found.setdefault(first, set()).update(t.partition(".")[0] for t in targets)
    return {name: targets - {name} for name, targets in found.items()}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The nodes that lie on cycles, or only behind or between them: those no order exists for."""
    left = {name: set(targets) & graph.keys() for name, targets in graph.items()}
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    return sorted(left)


def test_every_module_has_a_layer() -> None:
    known = {name for layer in LAYERS for name in layer}
    assert {name.partition(".")[0] for name in MODULES} <= known


def test_no_import_points_upwards() -> None:
    upwards = [
        f"{name} imports {target}"
        for name, targets in GRAPH.items()
        for target in sorted(targets)
        if layer_of(target) > layer_of(name)
    ]
    assert not upwards, "\n".join([*upwards, "", printed_graph()])


@pytest.mark.parametrize("name", INDEPENDENT)
def test_the_lowest_layer_knows_nobody(name: str) -> None:
    assert packages().get(name, set()) <= INDEPENDENT[name], printed_graph()


def test_there_is_no_import_cycle() -> None:
    assert not cycle(GRAPH), printed_graph()
    assert not cycle(packages()), packages()


@pytest.mark.parametrize("library", HOME_OF_LIBRARY)
def test_a_library_is_imported_in_one_folder(library: str) -> None:
    home = HOME_OF_LIBRARY[library]
    elsewhere = [
        name
        for name in MODULES
        if name.partition(".")[0] != home
        and any(module.partition(".")[0] == library for module, _, _ in imports_of(name))
    ]
    assert not elsewhere


def test_one_module_imports_onnxruntime_for_all() -> None:
    """It explains an installation that lacks it; functions may import parts of it later."""
    importers = {
        name
        for name, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "onnxruntime" in {getattr(node, "module", None), *(a.name for a in node.names)}
        and not str(getattr(node, "module", "")).startswith("adcc_onnx")
    }
    assert not importers


def test_no_two_modules_have_one_name() -> None:
    paths = [path for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    repeated = {stem for stem, count in Counter(path.stem for path in paths).items() if count > 1}
    assert not repeated
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not folders & set(adcc_onnx.__all__), "a subpackage has the name of a public function"


def test_no_import_of_ours_needs_an_alias() -> None:
    aliases = [
        f"{name}: {module} {imported} as {alias}"
        for name in TREES
        for module, imported, alias in imports_of(name)
        if alias is not None and module.startswith("adcc_onnx")
    ]
    assert not aliases, "\n".join(aliases)


def test_functions_are_short() -> None:
    long = []
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    docstring = node.body[0]
                    lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{name}.{node.name}: {lines} lines")
    assert not long, "\n".join(long)
