"""The source tree as tests take it: what belongs to it, a copy to work on, archives built from that copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("suite", "tasks", "runners", "leaderboard")
"""Folders that become `valuedrift.<name>`; `valuedrift/<name>` is a link to each."""
TOP_LEVEL = {
    *FOLDERS,
    *("valuedrift", "tests", "docs", ".ci", ".github", ".gitignore"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"),
    *("pyproject.toml", "constraints.txt", "Makefile"),
}


@dataclass(frozen=True, slots=True)
class Archives:
    """What a release uploads."""

    tree: Path
    """Copy of the source tree that both were built from."""
    wheel: Path
    """Built from the tree, not from the sdist."""
    sdist: Path
    """Source distribution."""


def copy_tree(destination: Path) -> Path:
    """Return `destination`, filled with the source tree as it is now: links kept, nothing that was made."""
    destination.mkdir(parents=True)
    for path in sorted(path for path in ROOT.iterdir() if path.name in TOP_LEVEL):
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache")
            shutil.copytree(path, destination / path.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(path, destination / path.name)
    return destination


def build(tree: Path, output: Path, *kinds: str) -> None:
    """Build `wheel`, `sdist` or both, each from the tree itself, without asking an index for hatchling."""
    command = [sys.executable, "-m", "build", "--no-isolation", *(f"--{kind}" for kind in kinds)]
    made = subprocess.run(
        [*command, "--outdir", str(output), str(tree)],
        cwd=tree.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(made.stdout + made.stderr)


def build_archives(folder: Path) -> Archives:
    """Return the archives of the tree as it is now; `folder` must not exist."""
    tree = copy_tree(folder / "tree")
    build(tree, folder / "dist", "wheel", "sdist")
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return Archives(tree, wheel, sdist)
