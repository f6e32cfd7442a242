"""Type checkers see through the links: a wrong use of a suite function is found in the other folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.tree import copy_tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FUNCTION = '''"""A module that only this copy of the tree has."""


def spelled(count: int) -> str:
    """Return a number as text."""
    return str(count)
'''
MISTAKE = '''"""Uses it wrongly twice."""

from valuedrift.suite.spelling import spelled

SPELLED: int = spelled("two")
'''
LINE = 5
PLACES = ("runners", "leaderboard")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with a new suite function, and a wrong use of it in each of PLACES."""
    copy = copy_tree(tmp_path_factory.mktemp("types") / "tree")
    # The tests take the checkers half of their time.
    shutil.rmtree(copy / "tests")
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    (copy / "suite" / "spelling.py").write_text(FUNCTION, "utf-8")
    for place in PLACES:
        (copy / place / "mistake.py").write_text(MISTAKE, "utf-8")
    return copy


def check(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_mypy_finds_them(tree: Path) -> None:
    found = check(tree, "mypy", "--no-error-summary", "--cache-dir", str(tree.parent / "cache"))
    assert found.returncode == 1, found.stderr
    lines = [line for line in found.stdout.splitlines() if "mistake.py" in line]
    for place in PLACES:
        start = f"valuedrift/{place}/mistake.py:{LINE}: error: "
        mine = [line.rsplit("  ", 1)[1] for line in lines if line.startswith(start)]
        assert sorted(mine) == ["[arg-type]", "[assignment]"], found.stdout


def test_pyright_finds_each_once(tree: Path) -> None:
    # A Python without packages: reading torch and transformers takes a minute, and these lines need neither.
    found = check(
        tree, "pyright", "--pythonpath", str(Path(sys.base_prefix) / "bin" / "python3"), "--outputjson"
    )
    assert found.returncode == 1, found.stderr
    diagnostics = json.loads(found.stdout)["generalDiagnostics"]
    places = Counter(
        (each["file"], each["range"]["start"]["line"] + 1, each["rule"])
        for each in diagnostics
        if each["file"].endswith("mistake.py")
    )
    files = [str(tree / place / "mistake.py") for place in PLACES]
    rules = ("reportArgumentType", "reportAssignmentType")
    assert places == {(file, LINE, rule): 1 for file in files for rule in rules}
