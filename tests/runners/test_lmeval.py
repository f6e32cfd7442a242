"""lm-eval's own command line finds the tasks: in a stand-in of its package, and once in the installed one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from valuedrift.runners import lmeval
from valuedrift.runners.link import link, status, unlink
from valuedrift.suite.errors import UserError
from valuedrift.tasks import folder

REPOSITORY = folder().parent
TASK = "valuedrift_stance_abortion"
RUN = ["run", "--model", "dummy", "--tasks", TASK, "--output_path", "out", "--log_samples"]
CALL = "import sys; from valuedrift.runners.lmeval import run; from valuedrift.tasks import folder; "
LINK = "from valuedrift.runners.link import link; from valuedrift.tasks import folder; link(folder())"
UNLINK = "from valuedrift.runners.link import unlink; unlink()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for PYTHONPATH with the real lm_eval, whose task folder has no tasks of its own.

    Links made there disturb nobody, and looking through no foreign tasks takes no time.
    """
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations
    real = Path(spec.submodule_search_locations[0])
    made = tmp_path_factory.mktemp("site")
    (made / "lm_eval" / "tasks").mkdir(parents=True)
    for path in (*real.iterdir(), *(real / "tasks").glob("*.py")):
        if path.name not in ("tasks", "__pycache__"):
            (made / "lm_eval" / path.relative_to(real)).symlink_to(path)
    return made


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return an empty working folder but for folders called like the tasks and the package."""
    for name in ("valuedrift", TASK):
        (tmp_path / name).mkdir()
    return tmp_path


def python(cwd: Path, site: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = [str(site)] if site else []
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*places, str(REPOSITORY)]),
        # The dummy model asks the hub for a tokenizer, five times, with pauses.
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def samples(cwd: Path) -> list[dict[str, object]]:
    (file,) = (cwd / "out").rglob("samples_*.jsonl")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_after_link_lm_eval_runs_lists_and_validates_and_after_unlink_no_more(site: Path, cwd: Path) -> None:
    assert python(cwd, site, "-c", LINK).returncode == 0
    ran = python(cwd, site, "-m", "lm_eval", *RUN)
    assert ran.returncode == 0, ran.stderr
    assert len(samples(cwd)) == 48
    listed = python(cwd, site, "-m", "lm_eval", "ls", "tasks")
    assert {"valuedrift", "valuedrift_stance", TASK} <= set(listed.stdout.replace("|", " ").split())
    valid = python(cwd, site, "-m", "lm_eval", "validate", "--tasks", f"valuedrift,{TASK}")
    assert (valid.returncode, "All tasks found" in valid.stdout) == (0, True), valid.stderr
    ours = python(cwd, site, "-c", CALL + "sys.exit(run(['validate', '--tasks', 'valuedrift'], folder()))")
    assert (ours.returncode, "overrides" in ours.stderr) == (0, False), ours.stderr
    assert python(cwd, site, "-c", UNLINK).returncode == 0
    gone = python(cwd, site, "-m", "lm_eval", "validate", "--tasks", TASK)
    assert (gone.returncode, "not found" in gone.stdout) == (1, True)


def test_include_path_works_without_links(site: Path, cwd: Path) -> None:
    ran = python(cwd, site, "-m", "lm_eval", *RUN, "--include_path", str(folder()))
    assert ran.returncode == 0, ran.stderr
    assert len(samples(cwd)) == 48


def test_our_command_runs_without_links(site: Path, cwd: Path) -> None:
    ran = python(cwd, site, "-c", CALL + f"sys.exit(run({RUN[1:]!r}, folder()))")
    assert ran.returncode == 0, ran.stderr
    assert len(samples(cwd)) == 48
    missing = python(cwd, site, "-c", CALL + "sys.exit(run(['validate', '--tasks', 'valuedrfit'], folder()))")
    assert missing.returncode == 1


@pytest.fixture
def restored() -> Iterator[None]:
    """Put the links of the installed lm-eval back as they were."""
    before = status()
    if before.foreign or not os.access(before.folder.parent, os.W_OK):
        pytest.skip(f"{before.folder} holds other things or cannot be written")
    yield
    unlink()
    if before.links:
        before.folder.mkdir()
        for name, target in before.links.items():
            (before.folder / name).symlink_to(target)


def test_the_installed_lm_eval_finds_linked_tasks_among_its_own(restored: None, cwd: Path) -> None:
    link(folder())
    valid = python(cwd, None, "-m", "lm_eval", "validate", "--tasks", f"valuedrift,{TASK},hellaswag")
    assert (valid.returncode, "All tasks found" in valid.stdout) == (0, True), valid.stderr
    ran = python(cwd, None, "-m", "lm_eval", *RUN)
    assert ran.returncode == 0, ran.stderr
    assert len(samples(cwd)) == 48


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the command lines that lm-eval is called with."""
    calls: list[list[str]] = []
    main = types.ModuleType("lm_eval.__main__")
    main.__dict__["cli_evaluate"] = lambda: calls.append(sys.argv)
    monkeypatch.setitem(sys.modules, "lm_eval.__main__", main)
    monkeypatch.setattr(lmeval, "is_linked", lambda _: False)
    return calls


@pytest.mark.parametrize(
    "arguments",
    [["run", "--tasks", "a"], ["--model", "hf", "--tasks", "a"], ["ls", "tasks"], ["validate", "-t", "a"]],
)
def test_the_folder_is_added(seen: list[list[str]], arguments: list[str]) -> None:
    assert lmeval.run(arguments, folder()) == 0
    assert seen == [["lm_eval", *arguments, "--include_path", str(folder())]]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["run"],
        ["ls"],
        ["run", "--include_path", "x"],
        ["ls", "tasks", "--include_path=x"],
        ["run", "--incl", "x"],
        ["unknown", "x"],
    ],
)
def test_the_folder_is_not_added(seen: list[list[str]], arguments: list[str]) -> None:
    assert lmeval.run(arguments, folder()) == 0
    assert seen == [["lm_eval", *arguments]]


def test_the_folder_is_not_added_when_linked(seen: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmeval, "is_linked", lambda tasks: tasks == folder())
    lmeval.run(["run", "--tasks", "a"], folder())
    assert seen == [["lm_eval", "run", "--tasks", "a"]]


def test_an_include_path_of_the_configuration_stays(seen: list[list[str]], tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("include_path: mine\n", "utf-8")
    lmeval.run(["run", "--config", str(config)], folder())
    config.write_text("tasks: a\n", "utf-8")
    lmeval.run(["run", "-C", str(config)], folder())
    lmeval.run(["run", "-C", str(tmp_path / "gone.yaml")], folder())
    assert ["--include_path" in call for call in seen] == [False, True, True]


@pytest.mark.parametrize(
    "option",
    [
        ["--use_cache", "x"],
        ["--use_cache=x"],
        ["-c", "x"],
        ["-cx"],
        ["-sc", "x"],
        ["--use", "x"],
        ["--config", "cache.yaml"],
    ],
)
def test_the_response_cache_is_refused(
    seen: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cache.yaml").write_text("use_cache: x\n", "utf-8")
    with pytest.raises(UserError, match="not keyed by the model"):
        lmeval.run(["run", "--model", "hf", *option, "--tasks", "a"], folder())
    assert seen == []


def test_other_caches_pass(seen: list[list[str]]) -> None:
    assert lmeval.run(["run", "--cache_requests", "true", "--tasks", "a"], folder()) == 0
    assert lmeval.run(["run", "--tasks", "a", "--use_cache"], folder()) == 0
    assert len(seen) == 2


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("no such task", 1)])
def test_the_exit_code_is_returned(
    seen: list[list[str]], monkeypatch: pytest.MonkeyPatch, code: object, expected: int
) -> None:
    def leave() -> None:
        raise SystemExit(code)

    monkeypatch.setitem(sys.modules["lm_eval.__main__"].__dict__, "cli_evaluate", leave)
    before = list(sys.argv)
    assert lmeval.run(["run", "--tasks", "a"], folder()) == expected
    assert sys.argv == before


def test_lm_eval_s_own_exceptions_pass(seen: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("tasks")

    monkeypatch.setitem(sys.modules["lm_eval.__main__"].__dict__, "cli_evaluate", fail)
    before = list(sys.argv)
    with pytest.raises(ValueError, match="tasks"):
        lmeval.run(["run", "--tasks", "a"], folder())
    assert sys.argv == before


def test_without_lm_eval_there_is_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="not installed"):
        lmeval.run(["run", "--tasks", "a"], folder())
