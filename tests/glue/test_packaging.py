"""Wheel and sdist: the same files from every source, only `valuedrift` at the top, nothing left out."""

from __future__ import annotations

import email
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest
import yaml

from tests.support.tree import FOLDERS, ROOT, TOP_LEVEL, Archives, build
from valuedrift import __version__

INFO = f"valuedrift-{__version__}.dist-info"
TOP = f"valuedrift-{__version__}"


@pytest.fixture(scope="module")
def unpacked(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the sdist unpacks to."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archives.sdist) as archive:
        archive.extractall(place, filter="data")
    return place / TOP


@pytest.fixture(scope="module")
def installed(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with nothing but the wheel."""
    target = tmp_path_factory.mktemp("target")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(archives.wheel)], check=True)
    return target


def files(folder: Path) -> set[str]:
    """Return the relative names of a folder's files, links not followed."""
    found = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix() for path in found}


def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def rebuilt(tree: Path, output: Path) -> list[str]:
    """Return the names in a wheel built from another tree."""
    build(tree, output, "wheel")
    (wheel,) = output.glob("*.whl")
    return names(wheel)


def metadata(archives: Archives) -> tuple[Message, Message]:
    """Return the metadata of the wheel and of the sdist."""
    with tarfile.open(archives.sdist) as archive:
        member = archive.extractfile(f"{TOP}/PKG-INFO")
        assert member is not None
        sdist = email.message_from_bytes(member.read())
    return email.message_from_bytes(zipfile.ZipFile(archives.wheel).read(f"{INFO}/METADATA")), sdist


def valuedrift(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "valuedrift", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("tasks", "**/*.yaml"),
        ("tasks", "**/*.jsonl"),
        ("tasks", "*/templates.json"),
        ("tasks", "**/README.md"),
        ("tasks", "*/utils.py"),
        ("suite", "schemas/*.schema.json"),
        ("runners", "demo/*.py"),
        ("runners", "demo/*.yaml"),
        ("leaderboard", "templates/*.j2"),
        ("leaderboard", "static/*"),
    ],
)
def test_the_wheel_holds_every_file_of_a_kind(archives: Archives, folder: str, pattern: str) -> None:
    wanted = {path.relative_to(archives.tree).as_posix() for path in (archives.tree / folder).glob(pattern)}
    assert wanted
    assert {f"valuedrift/{name}" for name in wanted} <= set(names(archives.wheel))


def test_the_wheel_is_the_package_with_its_four_folders_and_nothing_else(archives: Archives) -> None:
    glue = {path.name for path in (archives.tree / "valuedrift").iterdir() if path.is_file()}
    wanted = {f"valuedrift/{name}" for name in glue}
    for folder in FOLDERS:
        wanted |= {f"valuedrift/{folder}/{name}" for name in files(archives.tree / folder)}
    found = names(archives.wheel)
    assert {name for name in found if not name.startswith(f"{INFO}/")} == wanted
    assert len(found) == len(set(found))
    assert {name.split("/")[0] for name in found} == {"valuedrift", INFO}
    assert {"valuedrift/py.typed", "valuedrift/suite/errors.py", f"{INFO}/licenses/LICENSE"} <= set(found)


def test_the_sdist_holds_the_whole_tree_once(archives: Archives, unpacked: Path) -> None:
    found = files(unpacked)
    assert found - {"PKG-INFO"} == files(archives.tree)
    assert {"tests/glue/test_packaging.py", "docs/statistics.md", "LICENSE", "Makefile"} <= found


def test_the_sdist_gives_the_same_wheel(archives: Archives, unpacked: Path, tmp_path: Path) -> None:
    assert rebuilt(unpacked, tmp_path) == names(archives.wheel)


def test_a_tree_whose_links_became_text_files_gives_the_same_wheel(
    archives: Archives, tmp_path: Path
) -> None:
    # What Python's zipfile, and so pip, makes of the archive that GitHub offers.
    tree = tmp_path / "zip"
    shutil.copytree(archives.tree, tree, symlinks=True)
    for folder in FOLDERS:
        link = tree / "valuedrift" / folder
        target = os.fspath(link.readlink())
        link.unlink()
        link.write_text(target, "utf-8")
    assert rebuilt(tree, tmp_path / "dist") == names(archives.wheel)


def test_no_archive_holds_a_link(archives: Archives) -> None:
    with tarfile.open(archives.sdist) as archive:
        assert [member.name for member in archive if not (member.isfile() or member.isdir())] == []
    entries = zipfile.ZipFile(archives.wheel).infolist()
    assert [entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)] == []


def test_the_metadata_is_that_of_the_package(archives: Archives) -> None:
    for found in metadata(archives):
        assert found["Version"] == __version__
        assert found["License-Expression"] == "Apache-2.0"
        assert found["Requires-Python"] == ">=3.11"
    entries = zipfile.ZipFile(archives.wheel).read(f"{INFO}/entry_points.txt").decode()
    assert entries.split() == ["[console_scripts]", "valuedrift", "=", "valuedrift.cli:main"]


def test_no_required_package_is_one_of_an_extra(archives: Archives) -> None:
    required = metadata(archives)[0].get_all("Requires-Dist", [])
    base = {re.split(r"[^\w-]", line)[0] for line in required if "extra ==" not in line}
    assert "lm-eval" in base
    assert base.isdisjoint({"torch", "transformers", "trl", "peft", "jinja2", "altair", "pytest"})


@pytest.fixture(params=["an empty folder", "the root folder", "a folder with folders of our names"])
def cwd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "the root folder":
        return Path("/")
    for name in ("valuedrift", *FOLDERS) if "names" in request.param else ():
        (tmp_path / name).mkdir()
    return tmp_path


def test_the_installed_wheel_works_in_any_folder(installed: Path, cwd: Path) -> None:
    shown = valuedrift(installed, cwd, "--help")
    assert (shown.returncode, "usage: valuedrift" in shown.stdout) == (0, True), shown.stderr
    place = valuedrift(installed, cwd, "tasks-path")
    assert place.stdout == f"{installed / 'valuedrift' / 'tasks'}\n", place.stderr
    checked = valuedrift(installed, cwd, "items", "check")
    assert checked.stdout == f"{installed / 'valuedrift' / 'tasks'}: no faults\n", checked.stderr


def test_every_module_of_the_wheel_can_be_imported(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, pkgutil, valuedrift\n"
        "found = [m.name for m in pkgutil.walk_packages(valuedrift.__path__, 'valuedrift.')]\n"
        "print(len([importlib.import_module(n) for n in found if not n.endswith('__main__')]))\n"
        "import valuedrift.runners.demo.model as model; print(model.__file__)"
    )
    environment = os.environ | {"PYTHONPATH": str(installed)}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    count, place = ran.stdout.split()
    assert int(count) > 30
    assert Path(place).is_relative_to(installed)


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no git checkout, so nothing says which files are tracked")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [name for name in listed.split("\0") if name]


def test_the_top_level_is_exactly_what_was_agreed() -> None:
    assert {name.split("/")[0] for name in tracked()} == TOP_LEVEL


def test_the_four_folders_are_linked_into_the_package() -> None:
    links = {path.name: path.readlink() for path in (ROOT / "valuedrift").iterdir() if path.is_symlink()}
    assert links == {folder: Path("..", folder) for folder in FOLDERS}


def test_continuous_integration_runs_the_same_commands_everywhere_and_can_write_nothing() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    ours = re.findall(r"^make \S+", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert {step["run"] for step in steps if "run" in step} == set(ours)
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in actions)
