"""The documentation's commands run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from valuedrift.cli import parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text())


def run(script: str, folder: Path) -> None:
    # The commands are those of this environment, whatever else is installed.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_your_run_from_checkpoints_to_site(run_folder: Path) -> None:
    run(blocks("docs/your-run.md")[0], run_folder.parent)
    assert (run_folder.parent / "site" / "index.html").is_file()
    assert (run_folder.parent / "drift.csv").read_text().startswith("run,span,topic")


@pytest.mark.slow
def test_your_run_with_plain_lm_eval(run_folder: Path) -> None:
    scan, *_ = blocks("docs/your-run.md")[0].splitlines()
    run(scan.replace("--algorithm sft", "--algorithm sft --stage train"), run_folder.parent)
    run(blocks("docs/your-run.md")[1], run_folder.parent)
    assert (run_folder.parent / "plain" / "drift.json").is_file()


def test_the_sequence_written_by_hand_is_valid(tmp_path: Path) -> None:
    from valuedrift.suite.sequences import read_sequence

    (text,) = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs/your-run.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "sequence.yaml").write_text(text)
    found = read_sequence(tmp_path / "sequence.yaml")
    assert [stage.name for stage in found.stages] == ["sft", "dpo"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_valuedrift_command_in_the_text_is_one_that_there_is(page: Path) -> None:
    for block in BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["valuedrift"] and words[1:2] != ["lm-eval"]:
                # argparse exits with 2 on an unknown verb or option.
                parser().parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_to_a_file_that_is_not_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_in_the_text_is_one_that_there_is(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= targets


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
