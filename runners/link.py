"""lm-eval without `--include_path`: links to our task YAMLs in lm-eval's own task folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from valuedrift.suite.errors import Fault, UserError

NAME = "valuedrift"
"""Folder of the links in `lm_eval/tasks/`, and the start of every link's name."""

_WITHOUT_LINKS = 'use `valuedrift lm-eval`, or `lm_eval --include_path "$(valuedrift tasks-path)"`'
_SKIPPED = {"__pycache__", ".ipynb_checkpoints"}


@dataclass(frozen=True, slots=True)
class LinkReport:
    """What stands in `lm_eval/tasks/valuedrift/`, and what a command changed there."""

    folder: Path
    """That folder; it need not exist."""
    links: dict[str, Path]
    """Our links by name, each with the YAML that it names."""
    foreign: tuple[Path, ...] = ()
    """What stands there and is not ours."""
    added: tuple[str, ...] = ()
    """Links that the command made."""
    removed: tuple[str, ...] = ()
    """Links that the command took away."""

    @property
    def dangling(self) -> tuple[str, ...]:
        """Return the links whose YAML is gone; lm-eval passes over them."""
        return tuple(name for name, target in self.links.items() if not target.is_file())

    def __str__(self) -> str:
        """Return the folder, its links and what changed, in one line."""
        changes = {"added": self.added, "removed": self.removed}
        changed = ", ".join(f"{len(names)} {what}" for what, names in changes.items() if names) or "no change"
        left = f"; not ours and left alone: {', '.join(map(str, self.foreign))}" if self.foreign else ""
        return f"{self.folder}: {len(self.links)} task links ({changed}){left}"


def link(tasks: Path) -> LinkReport:
    """Make lm-eval find the tasks of a folder by name: one link for each of its YAMLs; what it changed.

    The folder in `lm_eval/tasks/` is a real one, because lm-eval's search does not enter linked folders.
    Links of other folders and of earlier versions are replaced.
    Raises UserError when lm-eval is not installed, when its folder cannot be written, and when something
    that is not ours stands there, which then stays as it is.
    """
    wanted = _task_files(tasks)
    before = status()
    if before.foreign:
        names = ", ".join(str(path) for path in before.foreign)
        fix = f"move it away, or {_WITHOUT_LINKS}"
        raise UserError(
            Fault(str(before.folder), f"{names}, which valuedrift did not make", "only links", fix)
        )
    removed = tuple(name for name, target in before.links.items() if wanted.get(name) != target)
    added = tuple(name for name, target in wanted.items() if before.links.get(name) != target)
    with _writing(before.folder, _WITHOUT_LINKS):
        before.folder.mkdir(exist_ok=True)
        for name in removed:
            (before.folder / name).unlink(missing_ok=True)
        for name in added:
            (before.folder / name).symlink_to(wanted[name])
    return replace(before, links=wanted, added=added, removed=removed)


def unlink() -> LinkReport:
    """Remove our links and, when nothing else stands there, their folder; what it changed.

    Raises UserError when lm-eval is not installed or its folder cannot be written.
    """
    before = status()
    with _writing(before.folder, "remove the folder as the user who installed lm-eval"):
        for name in before.links:
            (before.folder / name).unlink(missing_ok=True)
        if before.folder.is_dir() and not before.foreign:
            before.folder.rmdir()
    return replace(before, links={}, removed=tuple(before.links))


def status() -> LinkReport:
    """Return what stands in lm-eval's folder now; raises UserError when lm-eval is not installed."""
    folder = _lm_eval_tasks() / NAME
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return LinkReport(folder, {}, (folder,))
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    links = {entry.name: entry.readlink() for entry in entries if _is_ours(entry)}
    return LinkReport(folder, links, tuple(entry for entry in entries if entry.name not in links))


def is_linked(tasks: Path) -> bool:
    """Tell whether lm-eval finds every task of a folder by name; raises UserError as `link` does."""
    return _task_files(tasks).items() <= status().links.items()


def _task_files(tasks: Path) -> dict[str, Path]:
    """Return the YAMLs that name a task or a group, by link name, at any depth; `_*.yaml` are settings."""
    found = sorted(path for path in tasks.resolve().rglob("*.yaml") if not _SKIPPED.intersection(path.parts))
    files = [path for path in found if not path.name.startswith("_")]
    names = {path.name: path for path in files}
    faults = [
        Fault(str(path), f"a second {path.name}", "one YAML of a name", f"rename it or {names[path.name]}")
        for path in files
        if names[path.name] != path
    ]
    faults += [
        Fault(str(path), f"'{path.name}'", f"a task YAML whose name starts with {NAME}")
        for path in files
        if not path.name.startswith(NAME)
    ]
    if not files:
        faults.append(Fault(str(tasks), "no task YAML", "a folder of lm-eval tasks"))
    if faults:
        raise UserError(faults)
    return names


def _is_ours(entry: Path) -> bool:
    # A link of ours keeps the name of its YAML, from whatever checkout or version it was made.
    named = entry.name.startswith(NAME) and entry.suffix == ".yaml"
    return named and entry.is_symlink() and entry.readlink().name == entry.name


def _lm_eval_tasks() -> Path:
    spec = importlib.util.find_spec("lm_eval")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place) / "tasks"
        if (folder / "__init__.py").is_file():
            return folder
    raise UserError(Fault("lm_eval", "not installed", "lm-eval 0.4.13 or newer", "pip install lm-eval"))


@contextmanager
def _writing(folder: Path, fix: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        found = f"cannot be changed ({reason})"
        raise UserError(Fault(str(folder), found, "a writable lm-eval installation", fix)) from error
