"""Who may import whom, what loads late, and the limits of the house, read from the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = {
    "suite": {"suite"},
    "tasks": set(),
    "runners": {"suite", "tasks", "runners"},
    "leaderboard": {"suite", "leaderboard"},
    "valuedrift": {"suite", "tasks", "runners", "leaderboard", ""},
}
"""Folder, and the parts of valuedrift that it may import; the empty name is valuedrift itself."""
LATE = {"torch", "transformers", "trl", "lm_eval", "peft", "datasets", "jinja2", "altair", "vl_convert"}
"""Packages that are imported inside what needs them."""
SOURCES = [
    file
    for folder in ALLOWED
    for file in sorted((ROOT / folder).rglob("*.py"))
    # valuedrift/ holds links to the four others.
    if not (folder == "valuedrift" and file.parent != ROOT / "valuedrift")
]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"), filename=str(file))


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """Return the full names that import statements bring in, relative ones with their dots."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            found |= {f"{start}.{alias.name}" for alias in node.names}
    return found


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: not the inside of functions, not TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and type_checking(child):
            for other in child.orelse:
                yield other
                yield from at_import_time(other)
            continue
        yield child
        yield from at_import_time(child)


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def our_parts(found: set[str]) -> set[str]:
    """Return the parts of valuedrift among imported names: `suite` for `valuedrift.suite.files`."""
    parts = {full.split(".")[1] for full in found if full.startswith("valuedrift.")}
    known = {part if part in ALLOWED else "" for part in parts}
    return known | ({""} if "valuedrift" in found else set())


def late(found: set[str]) -> set[str]:
    return {full.split(".")[0] for full in found} & LATE


def test_all_source_is_looked_at() -> None:
    names = {name(file) for file in SOURCES}
    assert {"suite/files.py", "tasks/stance/utils.py", "runners/tracing.py", "valuedrift/cli.py"} <= names
    assert "leaderboard/ranking.py" in names
    assert not any(file.startswith("valuedrift/suite") for file in names)


@pytest.mark.parametrize(
    ("source", "everything", "at_import"),
    [
        ("import torch", {"torch"}, {"torch"}),
        ("def f():\n    import torch.nn", {"torch"}, set()),
        ("class A:\n    from torch import nn", {"torch"}, {"torch"}),
        ("try:\n    import torch\nexcept ImportError:\n    pass", {"torch"}, {"torch"}),
        ("if TYPE_CHECKING:\n    import torch", {"torch"}, set()),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import torch", {"torch"}, {"torch"}),
        ("import json", set(), set()),
    ],
)
def test_imports_are_found_where_they_stand(source: str, everything: set[str], at_import: set[str]) -> None:
    parsed = ast.parse(source)
    assert late(imports(ast.walk(parsed))) == everything
    assert late(imports(at_import_time(parsed))) == at_import


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("from valuedrift.suite import files", {"suite"}),
        ("import valuedrift.runners.tracing", {"runners"}),
        ("from valuedrift import leaderboard", {"leaderboard"}),
        ("from valuedrift import __version__", {""}),
        ("import valuedrift", {""}),
        ("import valuable", set()),
    ],
)
def test_our_parts_are_found_in_every_form_of_import(source: str, parts: set[str]) -> None:
    assert our_parts(imports(ast.walk(ast.parse(source)))) == parts


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_a_folder_imports_only_the_parts_that_it_may(file: Path) -> None:
    found = imports(ast.walk(tree(file)))
    assert our_parts(found) <= ALLOWED[file.relative_to(ROOT).parts[0]]
    # `import suite` would collide in site-packages, `from . import` hides who imports whom.
    assert not {full.split(".")[0] for full in found} & {"", *ALLOWED} - {"valuedrift"}


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_heavy_packages_are_not_imported_at_import_time(file: Path) -> None:
    # lm-eval loads a task's utils.py itself, when it has `datasets` loaded already.
    allowed = {"datasets"} if re.fullmatch(r"tasks/[a-z]+/utils\.py", name(file)) else set()
    assert late(imports(at_import_time(tree(file)))) <= allowed


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_files_functions_and_parameters_keep_the_limits_of_the_house(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) < 350
    for function in functions(file):
        given = function.args
        parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        named = [p for p in parameters if p is not None and p.arg not in ("self", "cls")]
        assert len(named) <= 6, function.name
        assert (function.end_lineno or 0) - function.lineno + 1 < 50, function.name


def calls(file: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree(file)) if isinstance(node, ast.Call))


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_no_assert_eval_pickle_or_foreign_code_stands_in_the_source(file: Path) -> None:
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree(file)))
    called = {node.func.id for node in calls(file) if isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec"}
    loaded = {full.split(".")[0] for full in imports(ast.walk(tree(file)))}
    assert not loaded & {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
    for call in calls(file):
        for keyword in call.keywords:
            trusting = keyword.arg == "trust_remote_code" and ast.unparse(keyword.value) != "False"
            assert not trusting, f"{name(file)}:{call.lineno}"


def test_no_file_switches_remote_code_on_by_text() -> None:
    pattern = re.compile(r"""trust_remote_code["']?\s*[=:]\s*["']?true""", re.IGNORECASE)
    files = [*SOURCES, *(file for folder in ALLOWED for file in (ROOT / folder).rglob("*.yaml"))]
    assert [name(file) for file in files if pattern.search(file.read_text("utf-8"))] == []


def test_the_command_line_is_imported_without_the_heavy_packages() -> None:
    code = "import sys, valuedrift.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    loaded = set(done.stdout.split())
    assert "valuedrift" in loaded
    assert not loaded & (LATE | {"jsonschema", "scipy", "numpy", "yaml"})
