"""Bad input of every kind: exit code 2, or 1 with the rest kept; one clear line; nothing half-written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.glue.conftest import Fails, names
from tests.support.planted import SEQUENCE, drift_file
from valuedrift.cli import main
from valuedrift.suite.files import read_json

TASK = "valuedrift_stance_climate"
YAML = """schema: valuedrift/sequence/1
run: little
base: tiny
stages:
  - name: sft
    algorithm: sft
    checkpoints:
      - {step: 0, path: checkpoint-0}
      - {step: 2, path: checkpoint-2}
"""

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def drift_json(planted: Path, tmp_path: Path) -> Path:
    return drift_file(planted, tmp_path / "drift.json", draws=50).path


@pytest.fixture
def ranking(drift_json: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    output = drift_json.parent / "ranking.json"
    assert main(["rank", str(drift_json), "--draws", "50", "-o", str(output)]) == 0
    capsys.readouterr()
    return output


def test_a_missing_sequence_is_named(fails: Fails, tmp_path: Path) -> None:
    file = tmp_path / "sequence.yaml"
    assert fails("trace", file) == [
        f"error: {file}: found no such file, expected a file that is there; check the path"
    ]
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("stages:", "stagse:", ":4 stagse", "did you mean 'stages'?"),
        ("    algorithm: sft", "    algoritm: sft", ":6 stages[0].algoritm", "did you mean 'algorithm'?"),
        ("step: 2", "step: 0", ":9 stages[0].checkpoints[1].step", "step 0 after step 0"),
        ("step: 0", "step: 7", ":9 stages[0].checkpoints[1].step", "step 2 after step 7"),
        ("step: 2", "step: two", ":9 stages[0].checkpoints[1].step", 'found "two", expected type integer'),
        ("base: tiny", "base: [", ":5", "no valid YAML"),
        ("base: tiny", "base: tiny\nbase: tiny", ":4", "key 'base' twice"),
    ],
)
def test_a_wrong_sequence_is_told_by_line_and_key(
    fails: Fails, tmp_path: Path, old: str, new: str, place: str, hint: str
) -> None:
    file = tmp_path / "sequence.yaml"
    assert YAML.count(old) == 1
    file.write_text(YAML.replace(old, new), "utf-8")
    lines = fails("trace", file)
    assert [line for line in lines if line.startswith(f"error: {file}{place}: ") and hint in line]
    assert names(tmp_path) == {"sequence.yaml"}


def test_an_unknown_task_is_named_with_the_nearest(fails: Fails, sequence: Path) -> None:
    (line,) = fails("trace", sequence, "--tasks", f"{TASK}x,{TASK}")
    assert line.startswith(f"error: --tasks: found unknown task '{TASK}x'")
    assert f"did you mean '{TASK}'?" in line
    assert not (sequence.parent / "trace").exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "file"])
def test_scanning_what_is_no_run_writes_nothing(fails: Fails, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"
    if kind == "empty":
        folder.mkdir()
    elif kind == "file":
        folder.write_text("mine", "utf-8")
    (line,) = fails("sequence", "scan", folder)
    assert line.startswith(f"error: {folder}: found no ")
    assert (folder.is_dir(), folder.is_file()) == (kind == "empty", kind == "file")
    assert kind != "empty" or names(folder) == set()


def test_an_unwritable_place_for_a_trace_is_named(fails: Fails, sequence: Path, blocked: Path) -> None:
    (line,) = fails("trace", sequence, "--tasks", TASK, "-o", blocked)
    assert line.startswith(f"error: {blocked}")
    assert "cannot be written" in line
    assert blocked.parent.read_text("utf-8") == "mine"


@pytest.mark.parametrize("options", [["-o"], ["-o", "drift.json", "--csv"]])
def test_an_unwritable_place_for_drift_is_named(
    fails: Fails, planted: Path, blocked: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(blocked.parent.parent)
    (line,) = fails("drift", planted, "--sequence", planted / SEQUENCE, "--draws", 50, *options, blocked)
    assert line.startswith(f"error: {blocked}: found cannot be written")
    assert blocked.parent.read_text("utf-8") == "mine"


def test_an_unwritable_place_for_a_ranking_or_a_site_is_named(
    fails: Fails, drift_json: Path, ranking: Path, blocked: Path
) -> None:
    for command in (["rank", drift_json, "--draws", 50], ["site", ranking]):
        (line,) = fails(*command, "-o", blocked)
        assert line.startswith(f"error: {blocked}: found cannot be written")
    assert names(blocked.parent.parent) == {"file", "drift.json", "ranking.json"}


def test_an_unwritable_place_for_a_sequence_or_a_training_run_is_named(
    fails: Fails, run_folder: Path, tmp_path: Path, blocked: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "A river."}\n' * 8, "utf-8")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "{schema: valuedrift/recipe/1, run: little, seed: 1, base: run/checkpoint-0, stages: [{name: base,"
        " algorithm: pretrain, data: rows.jsonl, steps: 1, batch_size: 1, learning_rate: 0.001}]}",
        "utf-8",
    )
    for command in (["sequence", "scan", run_folder], ["train", recipe]):
        (line,) = fails(*command, "-o", blocked)
        assert line.startswith(f"error: {blocked}: found ")
    assert blocked.parent.read_text("utf-8") == "mine"


@pytest.mark.parametrize("kind", ["missing", "empty", "other files", "file"])
def test_what_is_no_trace_is_named(fails: Fails, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "trace"
    if kind == "file":
        folder.write_text("mine", "utf-8")
    elif kind != "missing":
        folder.mkdir()
    if kind == "other files":
        (folder / "notes.txt").write_text("mine", "utf-8")
    (line,) = fails("drift", folder)
    assert line.startswith(f"error: {folder}: found no {'trace.json' if folder.is_dir() else 'such folder'}")
    assert names(tmp_path) <= {"trace"}


@pytest.mark.parametrize("text", ["", "{", '{"schema": "valuedrift/trace/1"}', "[]", '{"schema": NaN}'])
def test_a_damaged_trace_index_is_named(fails: Fails, tmp_path: Path, text: str) -> None:
    index = tmp_path / "trace" / "trace.json"
    index.parent.mkdir()
    index.write_text(text, "utf-8")
    assert all(line.startswith(f"error: {index}") for line in fails("drift", index.parent))
    assert names(tmp_path) == {"trace"}


CHANGES: dict[str, tuple[Change, str]] = {
    "a key taken away": (lambda value: value.pop("run"), "'run'"),
    "a key renamed": (lambda value: value.update(spanz=value.pop("spans")), "did you mean 'spans'?"),
    "text for a number": (lambda value: value["spans"][0]["values"]["D"].update(value="high"), '"high"'),
    "another format": (lambda value: value.update(schema="valuedrift/drift/9"), "valuedrift/drift/9"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_drift_file_is_not_ranked(fails: Fails, drift_json: Path, kind: str) -> None:
    change, hint = CHANGES[kind]
    value = read_json(drift_json)
    change(value)
    drift_json.write_text(json.dumps(value), "utf-8")
    lines = fails("rank", drift_json, "-o", drift_json.parent / "ranking.json")
    assert all(line.startswith(f"error: {drift_json}") for line in lines)
    assert any(hint in line for line in lines), lines
    assert names(drift_json.parent) == {"drift.json"}


def test_a_drift_file_changed_after_ranking_makes_no_site(fails: Fails, ranking: Path) -> None:
    drift = ranking.parent / "drift.json"
    drift.write_text(drift.read_text("utf-8") + "\n", "utf-8")
    (line,) = fails("site", ranking, "-o", ranking.parent / "site")
    assert line.startswith(f"error: {ranking} inputs[0]: found {drift} changed")
    assert names(ranking.parent) == {"drift.json", "ranking.json"}


def test_a_site_never_takes_the_place_of_other_files(fails: Fails, ranking: Path) -> None:
    notes = ranking.parent / "site" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine", "utf-8")
    (line,) = fails("site", ranking, "-o", notes.parent)
    assert line.startswith(f"error: {notes.parent}: ")
    assert names(notes.parent) == {"notes.txt"}


def test_a_csv_never_takes_the_place_of_the_drift_file(fails: Fails, planted: Path, tmp_path: Path) -> None:
    output = tmp_path / "drift.json"
    (line,) = fails("drift", planted, "--sequence", planted / SEQUENCE, "-o", output, "--csv", output)
    assert line.startswith(f"error: --csv: found {output}")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--tasks", ",", "--tasks: found no name"),
        ("--reuse", "gone", "--reuse gone: found no such folder"),
        ("--device", "nonsense", "--device: found 'nonsense' ("),
    ],
)
def test_a_trace_that_cannot_be_as_asked_for_is_not_begun(
    fails: Fails, sequence: Path, option: str, value: str, hint: str
) -> None:
    (line,) = fails("trace", sequence, "--tasks", TASK, option, value)
    assert line.startswith(f"error: {hint}")
    assert not (sequence.parent / "trace").exists()


def test_a_missing_package_is_named_with_what_installs_it(
    fails: Fails, sequence: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.delitem(sys.modules, "valuedrift.runners.tracing", raising=False)
    (line,) = fails("trace", sequence)
    assert "no package tqdm" in line
    assert "pip install 'valuedrift[all]'" in line


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trase"], "'trase'"),
        ([], "COMMAND"),
        (["sequence", "scann"], "'scann'"),
        (["drift"], "trace"),
        (["drift", "x", "--draws", "1"], "1 is less than 20"),
        (["rank", "x", "--seed", "-1"], "-1 is less than 0"),
        (["trace", "x", "--batch-size", "all"], "'all' is no whole number"),
        (["trace", "x", "--dtype", "float8"], "'float8'"),
        (["rank", "x", "--sedd", "1"], "--sedd"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], hint: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    *usage, line = capsys.readouterr().err.splitlines()
    assert usage[0].startswith("usage: valuedrift")
    assert line.startswith("valuedrift") and ": error: " in line and hint in line
