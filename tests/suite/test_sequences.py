"""`sequence.yaml` becomes a record, or every fault of it is told with its line."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valuedrift.suite.errors import UserError
from valuedrift.suite.records import Checkpoint, Sequence
from valuedrift.suite.sequences import SCHEMA, read_sequence, write_sequence

HEAD = "schema: valuedrift/sequence/1\nrun: a\nbase: b\nstages:\n"
GOOD = (
    HEAD
    + """\
- name: sft
  algorithm: sft
  seed: 3
  data: [{name: d}, {name: e, revision: r}]
  checkpoints:
  - {step: 0, path: base}
  - {step: 10, path: base, adapter: out/adapter}
- name: dpo
  algorithm: dpo
  checkpoints:
  - {step: 5, hub: org/model, revision: abc}
"""
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
STEPS = st.lists(st.integers(0, 10**7), min_size=1, max_size=5, unique=True).map(sorted)


def write(folder: Path, text: str) -> Path:
    file = folder / "sequence.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_sequence(write(folder, text))
    return [str(fault).removeprefix(f"{folder}/sequence.yaml:") for fault in caught.value.faults]


def test_a_sequence_is_read_as_records_with_paths_from_its_folder(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    found = read_sequence(file)
    assert (found.run, found.base, found.file) == ("a", "b", file.resolve())
    assert found.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert [(stage.name, stage.data, stage.seed) for stage in found.stages] == [
        ("sft", ("d", "e"), 3),
        ("dpo", (), None),
    ]
    assert found.checkpoints == (
        Checkpoint("sft", 0, tmp_path / "base"),
        Checkpoint("sft", 10, tmp_path / "base", adapter=tmp_path / "out" / "adapter"),
        Checkpoint("dpo", 5, None, hub="org/model", revision="abc"),
    )
    assert [point.label for point in found.checkpoints] == ["sft-000000", "sft-000010", "dpo-000005"]
    assert [point.source for point in found.checkpoints[1:]] == [str(tmp_path / "base"), "org/model"]


def test_an_absolute_path_stays_and_a_relative_one_does_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, GOOD.replace("path: base}", "path: /models/x}"))
    monkeypatch.chdir(tmp_path)
    first, second, _ = read_sequence(Path("sequence.yaml")).checkpoints
    assert first.path == Path("/models/x")
    assert second.path == tmp_path / "base"


def test_a_linked_checkpoint_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "base").symlink_to("real")
    assert read_sequence(write(tmp_path, GOOD)).checkpoints[0].path == tmp_path / "base"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("step: 10,", "step: 0,", "11 stages[0].checkpoints[1].step: found step 0 after step 0"),
        ("name: dpo", "name: sft", "12 stages[1].name: found stage 'sft' twice"),
        ("path: base}", "}", "10 stages[0].checkpoints[0]: found neither 'path' nor 'hub'"),
        (
            "{step: 5, ",
            "{step: 5, path: x, ",
            "15 stages[1].checkpoints[0]: found both 'path' and 'hub'",
        ),
        (", revision: abc", "", "15 stages[1].checkpoints[0]: found 'hub' without 'revision'"),
        ("hub: org/model", "hub: model", '15 stages[1].checkpoints[0].hub: found "model"'),
        ("name: dpo", "name: d/o", '12 stages[1].name: found "d/o"'),
        ("algorithm: dpo", "algorithm: DPO", '13 stages[1].algorithm: found "DPO"'),
        ("step: 5,", "step: 5.5,", "15 stages[1].checkpoints[0].step: found 5.5"),
        ("step: 5,", "step: true,", "15 stages[1].checkpoints[0].step: found true"),
    ],
)
def test_each_fault_is_told_with_its_line_and_key(tmp_path: Path, old: str, new: str, expected: str) -> None:
    (found,) = faults(tmp_path, GOOD.replace(old, new, 1))
    assert found.startswith(expected)


def test_all_faults_of_order_and_place_are_told_at_once(tmp_path: Path) -> None:
    points = "  - {step: 9, path: x}\n  - {step: 8}\n  - {step: 7, path: x, hub: o/m}\n"
    found = faults(tmp_path, HEAD + f"- name: a\n  algorithm: sft\n  checkpoints:\n{points}")
    assert [line.partition(", expected")[0] for line in found] == [
        "9 stages[0].checkpoints[1].step: found step 8 after step 9",
        "9 stages[0].checkpoints[1]: found neither 'path' nor 'hub'",
        "10 stages[0].checkpoints[2].step: found step 7 after step 8",
        "10 stages[0].checkpoints[2]: found both 'path' and 'hub'",
        "10 stages[0].checkpoints[2]: found 'hub' without 'revision'",
    ]


def test_a_stage_starts_its_steps_anew(tmp_path: Path) -> None:
    assert [point.step for point in read_sequence(write(tmp_path, GOOD)).checkpoints] == [0, 10, 5]


def test_a_step_or_seed_written_with_a_point_is_a_whole_number(tmp_path: Path) -> None:
    text = GOOD.replace("step: 10,", "step: 10.0,").replace("seed: 3", "seed: 3.0")
    found = read_sequence(write(tmp_path, text))
    assert found.checkpoints[1].label == "sft-000010"
    assert repr(found.stages[0].seed) == "3"


def test_a_missing_file_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_sequence(tmp_path / "gone.yaml")


def document(stages: dict[str, list[int]]) -> dict[str, Any]:
    written = [
        {"name": name, "algorithm": "sft", "checkpoints": [{"step": n, "path": f"x/{n}"} for n in steps]}
        for name, steps in stages.items()
    ]
    return {"schema": SCHEMA, "run": "a", "base": "b", "stages": written}


@pytest.mark.parametrize("steps", [[2, 1], []])
def test_a_sequence_with_a_fault_is_not_written(tmp_path: Path, steps: list[int]) -> None:
    with pytest.raises(UserError):
        write_sequence(tmp_path / "sequence.yaml", document({"a": steps}))
    assert list(tmp_path.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(st.dictionaries(NAMES, STEPS, min_size=1, max_size=4))
def test_a_written_sequence_is_read_back(tmp_path: Path, stages: dict[str, list[int]]) -> None:
    file = tmp_path / "sequence.yaml"
    written = write_sequence(file, document(stages))
    assert isinstance(written, Sequence)
    assert read_sequence(file) == written
    assert {stage.name: [point.step for point in stage.checkpoints] for stage in written.stages} == stages
    labels = [point.label for point in written.checkpoints]
    assert len(set(labels)) == len(labels)
    assert written.checkpoints[0].path == tmp_path / "x" / str(written.checkpoints[0].step)
