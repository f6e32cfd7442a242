"""Links into lm-eval's task folder: a stand-in for lm-eval takes them, and nothing foreign is lost."""

from __future__ import annotations

import errno
import importlib
import importlib.machinery
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from valuedrift.runners.link import is_linked, link, status, unlink
from valuedrift.suite.errors import UserError
from valuedrift.tasks import folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the task folder of an empty package that is found as `lm_eval`."""
    tasks = tmp_path / "site" / "lm_eval" / "tasks"
    tasks.mkdir(parents=True)
    for place in (tasks.parent, tasks):
        # Importing it would fail: finding the folder must not import lm-eval.
        (place / "__init__.py").write_text("raise RuntimeError", "utf-8")
    hide_lm_eval(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    importlib.invalidate_caches()
    return tasks


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    copy = tmp_path / "tasks"
    shutil.copytree(folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def hide_lm_eval(monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of this process may have imported the real one.
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


def test_one_link_for_each_task_yaml(package: Path, tasks: Path) -> None:
    report = link(tasks)
    assert report.folder == package / "valuedrift"
    assert not report.folder.is_symlink()
    assert names(report.folder) == set(report.added) == set(report.links)
    assert len(report.links) == 3 + 2 * 11
    for entry in report.folder.iterdir():
        assert entry.is_symlink()
        assert entry.resolve().is_relative_to(tasks)
        assert not entry.name.startswith("_")
    assert "valuedrift.yaml" in report.links
    assert str(report) == f"{report.folder}: 25 task links (25 added)"
    assert "lm_eval.tasks" not in sys.modules or sys.modules["lm_eval.tasks"].__file__ != str(package)


def test_linking_twice_changes_nothing(package: Path, tasks: Path) -> None:
    first = link(tasks)
    inodes = {path: path.lstat().st_ino for path in first.folder.iterdir()}
    second = link(tasks)
    assert (second.added, second.removed, second.links) == ((), (), first.links)
    assert inodes == {path: path.lstat().st_ino for path in first.folder.iterdir()}


def test_status_and_is_linked_follow(package: Path, tasks: Path) -> None:
    assert (status().links, is_linked(tasks)) == ({}, False)
    report = link(tasks)
    assert (status().links, is_linked(tasks)) == (report.links, True)
    (tasks / "stance" / "valuedrift_stance_new.yaml").write_text("task: new\n", "utf-8")
    assert not is_linked(tasks)
    assert link(tasks).added == ("valuedrift_stance_new.yaml",)
    unlink()
    assert (status().links, is_linked(tasks)) == ({}, False)


def test_a_relative_folder_is_linked_absolutely(
    package: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tasks.parent)
    assert all(target.is_absolute() for target in link(Path("tasks")).links.values())


def test_links_of_another_checkout_are_replaced(package: Path, tasks: Path) -> None:
    link(folder())
    assert not is_linked(tasks)
    report = link(tasks)
    assert set(report.removed) == set(report.added) == set(report.links)
    assert is_linked(tasks)


def test_dangling_and_stale_links_are_replaced(package: Path, tasks: Path) -> None:
    link(tasks)
    gone = tasks / "stance" / "valuedrift_stance_climate.yaml"
    gone.unlink()
    assert status().dangling == (gone.name,)
    report = link(tasks)
    assert (report.removed, report.added) == ((gone.name,), ())
    assert gone.name not in names(report.folder)
    assert status().dangling == ()


def test_unlink_removes_links_and_folder(package: Path, tasks: Path) -> None:
    report = link(tasks)
    shutil.rmtree(tasks)
    assert set(unlink().removed) == set(report.links)
    assert names(package) == {"__init__.py"}
    assert unlink().removed == ()


@pytest.mark.parametrize("kind", ["file", "folder", "link", "renamed link"])
def test_what_is_foreign_is_named_and_kept(package: Path, tasks: Path, kind: str) -> None:
    place = package / "valuedrift"
    place.mkdir()
    mine = place / "valuedrift_mine.yaml"
    if kind == "file":
        mine.write_text("task: mine\n", "utf-8")
    elif kind == "folder":
        mine.mkdir()
    elif kind == "link":
        mine = place / "mine.yaml"
        mine.symlink_to(tasks / "mine.yaml")
    else:
        mine.symlink_to(tasks / "other.yaml")
    with pytest.raises(UserError) as caught:
        link(tasks)
    assert str(mine) in str(caught.value)
    assert names(place) == {mine.name}
    assert status().foreign == (mine,)
    assert unlink().foreign == (mine,)
    assert names(place) == {mine.name}


def test_unlink_leaves_foreign_files_beside_links(package: Path, tasks: Path) -> None:
    place = link(tasks).folder
    notes = place / "notes.txt"
    notes.write_text("mine", "utf-8")
    assert str(unlink()) == f"{place}: 0 task links (25 removed); not ours and left alone: {notes}"
    assert notes.read_text("utf-8") == "mine"


@pytest.mark.parametrize("linked", [True, False])
def test_something_else_in_the_place_of_the_folder_is_kept(package: Path, tasks: Path, linked: bool) -> None:
    place = package / "valuedrift"
    if linked:
        place.symlink_to(tasks)
    else:
        place.write_text("mine", "utf-8")
    with pytest.raises(UserError, match="which valuedrift did not make"):
        link(tasks)
    unlink()
    assert place.is_symlink() == linked
    assert place.exists()
    assert (tasks / "valuedrift.yaml").is_file()


def test_no_lm_eval_is_one_fault(tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_lm_eval(monkeypatch)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(
        sys, "meta_path", [finder for finder in sys.meta_path if finder is importlib.machinery.PathFinder]
    )
    commands: tuple[Callable[[], object], ...] = (lambda: link(tasks), unlink, status)
    for command in commands:
        with pytest.raises(UserError, match="lm_eval: found not installed"):
            command()


def test_a_stray_folder_called_lm_eval_is_not_lm_eval(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd" / "lm_eval").mkdir(parents=True)
    hide_lm_eval(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "cwd")])
    importlib.invalidate_caches()
    with pytest.raises(UserError, match="lm_eval: found not installed"):
        link(tasks)


@pytest.mark.parametrize("call", ["mkdir", "symlink_to", "unlink"])
def test_an_unwritable_installation_is_one_fault(
    package: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    if call == "unlink":
        link(tasks)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(UserError) as caught:
        unlink() if call == "unlink" else link(tasks)
    (fault,) = caught.value.faults
    assert fault.where == str(package / "valuedrift")
    assert "Permission denied" in fault.found


def test_task_files_that_cannot_be_linked_are_all_named(package: Path, tasks: Path) -> None:
    (tasks / "valuedrift_control.yaml").write_text("group: x\n", "utf-8")
    (tasks / "stance" / "mine.yaml").write_text("task: mine\n", "utf-8")
    with pytest.raises(UserError) as caught:
        link(tasks)
    assert len(caught.value.faults) == 2
    assert not (package / "valuedrift").exists()


def test_a_folder_without_tasks_is_a_fault(package: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task YAML"):
        link(tmp_path / "nothing")
