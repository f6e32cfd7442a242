"""Commands that must fail, and what they are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.planted import Planted, plant
from tests.support.tree import Archives, build_archives
from valuedrift.cli import main

Fails: TypeAlias = Callable[..., list[str]]


def names(folder: Path) -> set[str]:
    """Return the names of what a folder holds."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Wheel and sdist of the tree as it is now."""
    return build_archives(tmp_path_factory.mktemp("release") / "it")


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """A function that runs a command which must fail, and returns its lines on standard error."""

    def run(*arguments: object, code: int = 2, word: str = "error: ") -> list[str]:
        assert main([str(argument) for argument in arguments]) == code
        lines = capsys.readouterr().err.splitlines()
        assert lines
        assert all(line.startswith(word) for line in lines), lines
        return lines

    return run


@pytest.fixture
def sequence(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The sequence.yaml of `run_folder`, its checkpoints called sft-000000 to sft-000004."""
    assert main(["sequence", "scan", str(run_folder), "--stage", "sft"]) == 0
    capsys.readouterr()
    return run_folder / "sequence.yaml"


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the output of plain lm-eval for each checkpoint, and a sequence.yaml."""
    stages = [Planted("sft", "sft", 100, "support", 0.15), Planted("dpo", "dpo", 100, "oppose", 0.1)]
    return plant(tmp_path_factory.mktemp("planted") / "trace", stages, checkpoints=4)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    """A place that nobody can write, root included: below a regular file."""
    (tmp_path / "file").write_text("mine", "utf-8")
    return tmp_path / "file" / "output"
