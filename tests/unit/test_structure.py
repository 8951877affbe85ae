"""The structure that ARCHITECTURE.md describes: no import cycles, nothing but doors at the top, small folders."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.unit.test_architecture import ROOT, hand_written

PRODUCT = ("console", "engine")
MOST_MODULES = 20
"""In one folder; more is two ideas."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Every module of the product that the file imports, also in functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                target = submodule if submodule in modules else node.module
                if target in modules:
                    yield target


def import_graph() -> dict[str, set[str]]:
    modules = {module_name(path): path for path in hand_written() if path.relative_to(ROOT).parts[0] in PRODUCT}
    return {name: set(imports_of(path, modules)) - {name} for name, path in modules.items()}


def cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def test_a_cycle_is_found_where_there_is_one() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert cycles(import_graph()) == []


def test_only_the_entry_points_stand_at_the_top_of_a_package() -> None:
    top = {name: {path.name for path in (ROOT / name).glob("*.py")} for name in PRODUCT}
    assert top["engine"] == {"__init__.py", "cli.py", "errors.py", "exit_codes.py"}
    assert top["console"] == {"__init__.py"}


def test_no_folder_holds_more_modules_than_a_reader_can_hold() -> None:
    counts: dict[str, int] = {}
    for path in hand_written():
        folder = str(path.relative_to(ROOT).parent)
        counts[folder] = counts.get(folder, 0) + (path.name != "__init__.py")
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}
