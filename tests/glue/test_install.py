"""Fresh environments with the base dependencies only: wheel, sdist and editable, on every supported Python.

For each Python one environment is made and its dependencies are installed with the wheel; sdist and editable
install take the wheel's place in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.planted import SEQUENCE, Planted, plant
from tests.support.tree import FOLDERS, Archives, copy_tree
from valuedrift import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PYTHONS = ("3.11", "3.12")
FORMS = ("wheel", "sdist", "editable")
TASK = "valuedrift_stance_climate"


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment."""

    folder: Path
    """Its folder."""
    packages: Path
    """Its site-packages."""

    def run(self, cwd: Path, command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one of its commands: no network hub, nothing of the test's own environment."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))
        }
        # The dummy model asks the hub for a tokenizer, five times, with pauses.
        kept |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        words = [str(self.folder / "bin" / command), *map(str, arguments)]
        return subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, check=False)

    def say(self, cwd: Path, command: str, *arguments: object) -> str:
        """Return what a command that must succeed prints."""
        ran = self.run(cwd, command, *arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


@dataclass(frozen=True, slots=True)
class Installed:
    """valuedrift in one of its forms."""

    environment: Environment
    """Where it is installed."""
    form: str
    """One of FORMS."""
    place: Path
    """Folder that must hold the tasks."""
    tree: Path
    """Copy of the source tree that the editable install points at."""


def interpreter(version: str) -> str:
    """Return the path of a Python, also of one that pyenv has and its shim refuses."""
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False)
    candidates = [
        name.strip() for name in listed.stdout.splitlines() if name.strip().startswith(f"{version}.")
    ]
    for chosen in (None, *reversed(candidates)):
        environment = os.environ | ({"PYENV_VERSION": chosen} if chosen else {})
        command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
        try:
            found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return found.stdout.strip()
    pytest.fail(f"python{version} is not on the PATH, and pyenv has none: valuedrift promises to run on it")


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Environment]]:
    """A function that returns the environment of a Python version, made once."""
    made: dict[str, Environment] = {}

    def make(version: str) -> Environment:
        if version not in made:
            folder = tmp_path_factory.mktemp(f"python{version}") / "venv"
            subprocess.run([interpreter(version), "-m", "venv", str(folder)], check=True)
            made[version] = Environment(folder, folder / "lib" / f"python{version}" / "site-packages")
        return made[version]

    yield make
    for environment in made.values():
        # Each holds 700 MB, and pytest keeps the folders of three sessions.
        shutil.rmtree(environment.folder)


@pytest.fixture(scope="module", params=[f"{version} {form}" for version in PYTHONS for form in FORMS])
def installed(
    request: pytest.FixtureRequest,
    environments: Callable[[str], Environment],
    archives: Archives,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installed]:
    version, form = request.param.split()
    environment = environments(version)
    tree = copy_tree(tmp_path_factory.mktemp(form) / "tree")
    sources: dict[str, tuple[object, ...]] = {
        "wheel": (archives.wheel,),
        "sdist": (archives.sdist,),
        "editable": ("--editable", tree),
    }
    options = ["install", "--quiet", "--disable-pip-version-check", "--constraint", tree / "constraints.txt"]
    environment.say(tree.parent, "pip", *options, *sources[form])
    place = tree / "tasks" if form == "editable" else environment.packages / "valuedrift" / "tasks"
    yield Installed(environment, form, place, tree)
    environment.run(tree.parent, "valuedrift", "link", "--remove")
    environment.say(tree.parent, "pip", "uninstall", "--quiet", "--yes", "valuedrift")
    assert not (environment.packages / "valuedrift").exists()


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_the_command_answers_in_an_empty_folder(installed: Installed, cwd: Path) -> None:
    environment = installed.environment
    assert "usage: valuedrift" in environment.say(cwd, "valuedrift", "--help")
    assert environment.say(cwd, "valuedrift", "--version") == f"{__version__}\n"
    assert environment.say(cwd, "valuedrift", "tasks-path") == f"{installed.place}\n"
    assert environment.say(cwd, "valuedrift", "items", "check") == f"{installed.place}: no faults\n"
    assert list(cwd.iterdir()) == []


def test_the_base_install_brings_no_torch_and_no_other_top_level_package(installed: Installed) -> None:
    packages = installed.environment.packages
    assert not {"torch", "transformers", "trl", "altair"} & {path.name for path in packages.iterdir()}
    assert not {*FOLDERS, "tests", "docs"} & {path.name for path in packages.iterdir()}
    assert (packages / "valuedrift").is_dir() == (installed.form != "editable")


def test_plain_lm_eval_finds_the_tasks_once_they_are_linked(installed: Installed, cwd: Path) -> None:
    environment = installed.environment
    assert "25 task links (25 added)" in environment.say(cwd, "valuedrift", "link")
    ran = environment.say(cwd, "lm_eval", "run", "--model", "dummy", "--tasks", "valuedrift", "--limit", 2)
    rows = [line.split("|")[1].strip() for line in ran.splitlines() if line.count("|") > 2]
    assert {"- stance", "- climate", "- control"} <= set(rows)
    words = environment.say(cwd, "lm_eval", "ls", "groups").replace("|", " ").split()
    assert {"valuedrift", "valuedrift_stance", "valuedrift_control"} <= set(words)
    assert "All tasks found" in environment.say(cwd, "lm_eval", "validate", "--tasks", "valuedrift")
    links = environment.packages / "lm_eval" / "tasks" / "valuedrift"
    assert (links / f"{TASK}.yaml").resolve() == installed.place / "stance" / f"{TASK}.yaml"
    assert "25 removed" in environment.say(cwd, "valuedrift", "link", "--remove")
    assert not links.exists()


def test_our_own_lm_eval_needs_no_link(installed: Installed, cwd: Path) -> None:
    ran = installed.environment.say(cwd, "valuedrift", "lm-eval", "run", "--model", "dummy", "--tasks", TASK)
    assert "|support" in ran.replace(" ", "")


def test_plain_lm_eval_output_is_measured_and_ranked(installed: Installed, cwd: Path, tmp_path: Path) -> None:
    environment = installed.environment
    trace = plant(tmp_path / "trace", [Planted("sft", "sft", 100, "support", 0.15)], checkpoints=3)
    drift = ["drift", trace, "--sequence", trace / SEQUENCE, "--draws", 200, "-o", "drift.json"]
    assert "written: drift.json" in environment.say(cwd, "valuedrift", *drift)
    assert "written: ranking.json" in environment.say(cwd, "valuedrift", "rank", "drift.json", "--draws", 200)
    assert {path.name for path in cwd.iterdir()} == {"drift.json", "ranking.json"}
    site = environment.run(cwd, "valuedrift", "site", "ranking.json")
    assert (site.returncode, site.stderr.count("\n")) == (2, 1)
    assert "pip install 'valuedrift[site]'" in site.stderr


def test_without_torch_checkpoints_are_listed_and_tracing_says_what_to_install(
    installed: Installed, cwd: Path, run_folder: Path
) -> None:
    environment = installed.environment
    assert "3 checkpoints" in environment.say(cwd, "valuedrift", "sequence", "scan", run_folder)
    trace = environment.run(cwd, "valuedrift", "trace", run_folder / "sequence.yaml", "--tasks", TASK)
    assert (trace.returncode, trace.stderr.count("\n")) == (2, 1)
    assert "pip install 'valuedrift[trace]'" in trace.stderr


def test_an_edit_of_the_tree_is_seen_by_an_editable_install_alone(installed: Installed, cwd: Path) -> None:
    for folder in FOLDERS:
        (installed.tree / folder / "added.py").write_text(f"NAME = {folder!r}\n", "utf-8")
        code = f"from valuedrift.{folder}.added import NAME; print(NAME)"
        ran = installed.environment.run(cwd, "python", "-c", code)
        assert (ran.returncode == 0, ran.stdout.strip()) == (
            (True, folder) if installed.form == "editable" else (False, "")
        )
    errors = installed.tree / "suite" / "errors.py"
    errors.write_text(errors.read_text("utf-8") + "\nEDITED = 1\n", "utf-8")
    code = "from valuedrift.suite import errors; print(hasattr(errors, 'EDITED'))"
    assert installed.environment.say(cwd, "python", "-c", code) == f"{installed.form == 'editable'}\n"
