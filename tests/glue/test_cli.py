"""The command line's whole way from checkpoints to a site: what is printed, what is written, and where."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.glue.conftest import names
from tests.support.planted import SEQUENCE
from valuedrift import __version__
from valuedrift.cli import main
from valuedrift.suite.files import read_json
from valuedrift.suite.sequences import read_sequence

BOTH = "valuedrift_stance_climate,valuedrift_control_climate"
HEAVY = ("torch", "transformers", "lm_eval", "scipy", "jinja2", "numpy", "datasets", "trl", "altair")
VERBS = [
    "demo",
    "train",
    "trace",
    "drift",
    "rank",
    "site",
    "sequence",
    "link",
    "tasks-path",
    "lm-eval",
    "items",
]


def test_checkpoints_become_a_site(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(*arguments: object) -> str:
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert (code, said.err) == (0, "")
        return said.out

    sequence = run_folder / "sequence.yaml"
    text = say("sequence", "scan", run_folder, "--run", "little", "--stage", "sft", "--algorithm", "sft")
    assert text == f"{sequence}: 3 checkpoints, steps 0, 2, 4\n"
    assert say("trace", sequence, "--tasks", BOTH) == f"{run_folder / 'trace'}: 3 asked\n"
    assert say("trace", sequence, "--tasks", BOTH) == f"{run_folder / 'trace'}: 3 kept\n"
    table = say("drift", run_folder / "trace", "--draws", 100, "--csv", tmp_path / "drift.csv", "--topics")
    lines = table.splitlines()
    assert lines[0] == "little: 3 checkpoints, 4 items"
    assert [line.removeprefix("- ").split()[0] for line in lines[3:-1]] == [
        "sft",
        "climate",
        "total",
        "climate",
    ]
    assert lines[-1] == f"written: {run_folder / 'drift.json'}, {tmp_path / 'drift.csv'}"
    report = read_json(run_folder / "drift.json")
    moved = report["spans"][0]["values"]["D"]
    assert f"{moved['value']:.3f} [{moved['low']:.3f}, {moved['high']:.3f}]" in lines[3]
    rows = list(csv.DictReader((tmp_path / "drift.csv").read_text("utf-8").splitlines()))
    (row,) = (row for row in rows if (row["span"], row["topic"], row["measure"]) == ("sft", "all", "D"))
    assert (float(row["value"]), int(row["n"])) == (moved["value"], 4)
    ranked = say("rank", run_folder / "drift.json", "--draws", 100, "-o", tmp_path / "ranking.json")
    assert "not ranked: 0 of 3 seeds  sft" in ranked
    assert ranked.endswith(f"written: {tmp_path / 'ranking.json'}\n")
    page = tmp_path / "site" / "index.html"
    assert say("site", tmp_path / "ranking.json", "-o", tmp_path / "site") == f"open {page}\n"
    assert "little" in page.read_text("utf-8")
    assert (tmp_path / "site" / "runs" / "little.html").is_file()


def test_topics_are_printed_only_when_asked_for(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["drift", str(planted), "--sequence", str(planted / SEQUENCE), "--draws", "50"]
    rows = {}
    for options in ((), ("--topics",)):
        assert main([*command, "-o", str(tmp_path / "drift.json"), *options]) == 0
        rows[options] = capsys.readouterr().out.splitlines()[3:-1]
    assert [line.split()[0] for line in rows[()]] == ["sft", "dpo", "total"]
    assert len(rows["--topics",]) == 3 * (1 + 11)
    assert names(tmp_path) == {"drift.json"}


def test_an_option_that_says_where_nothing_writes_elsewhere(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = names(planted), names(planted.parent)
    command = ["drift", str(planted), "--sequence", str(planted / SEQUENCE), "--draws", "50"]
    assert main([*command, "-o", "new/drift.json", "--csv", "new/drift.csv"]) == 0
    assert main(["rank", "new/drift.json", "--draws", "50"]) == 0
    assert (names(planted), names(planted.parent)) == before
    assert names(tmp_path) == {"new", "ranking.json"}
    assert names(tmp_path / "new") == {"drift.json", "drift.csv"}


def test_the_command_line_loads_no_heavy_package() -> None:
    code = f"import sys, valuedrift.cli; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
    heavier = subprocess.run(
        [sys.executable, "-c", f"import numpy; {code}"], capture_output=True, text=True, check=True
    )
    assert heavier.stdout == "['numpy']\n"


def test_a_sequence_can_be_written_to_a_folder_that_is_not_there_yet(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = run_folder.parent / "some" / "where" / "sequence.yaml"
    assert main(["sequence", "scan", str(run_folder), "-o", str(output)]) == 0
    assert all(point.path and point.path.is_dir() for point in read_sequence(output).checkpoints)


def test_help_lists_every_verb_and_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as stop:
            main([option])
        assert stop.value.code == 0
        said = capsys.readouterr().out
        if option == "--help":
            listed = [
                line.split()[0] for line in said.splitlines() if line.startswith("    ") and line[4] != " "
            ]
            assert listed == VERBS
        else:
            assert said == f"{__version__}\n"


def test_the_package_s_own_items_have_no_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks-path"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "valuedrift.yaml").is_file()
    assert main(["items", "check"]) == 0
    assert capsys.readouterr().out == f"{folder}: no faults\n"
