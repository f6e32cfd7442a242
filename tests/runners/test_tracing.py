"""The tracer on real checkpoints, with real lm-eval."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from valuedrift.runners.scanning import Labels, scan
from valuedrift.runners.tracing import Settings, trace
from valuedrift.suite.errors import UserError
from valuedrift.suite.files import read_json
from valuedrift.suite.records import Sequence
from valuedrift.suite.sequences import read_sequence
from valuedrift.suite.snapshots import read_snapshot
from valuedrift.suite.traces import panel, read_trace
from valuedrift.tasks import folder as tasks_folder

FEW = Settings(tasks=("valuedrift_stance_climate", "valuedrift_control_climate"))
PROMPTS = 4 * 2 * 2 * 3 + 2 * 2 * 2 * 2


@pytest.fixture
def sequence(run_folder: Path) -> Sequence:
    return scan(run_folder, run_folder / "sequence.yaml", Labels("little", "sft", "sft"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_every_checkpoint_is_asked_and_read_back(sequence: Sequence, tmp_path: Path) -> None:
    outcomes = trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    assert [outcome.how for outcome in outcomes] == ["asked"] * 3
    found = read_trace(tmp_path / "trace")
    assert [s.checkpoint.label for s in found.snapshots] == ["sft-000000", "sft-000002", "sft-000004"]
    items = [item for s in found.snapshots for family in s.families.values() for item in family]
    assert sum(item.prompts for item in items) == 3 * PROMPTS
    values = panel(found, "stance")
    assert values is not None
    assert values.stances.shape == (3, 4, 3)
    assert abs(values.stances.sum(axis=2) - 1).max() < 1e-9
    assert abs(values.stances[1] - values.stances[0]).max() > 1e-4


def test_the_numbers_are_those_of_the_lm_eval_command(sequence: Sequence, tmp_path: Path) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    point = sequence.checkpoints[1]
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--tasks", ",".join(FEW.tasks)]
    command += ["--model_args", f"pretrained={point.source},dtype=float32", "--device", "cpu"]
    command += ["--include_path", str(tasks_folder()), "--log_samples", "--batch_size", "8"]
    subprocess.run([*command, "--output_path", str(tmp_path / "plain")], check=True, cwd=tmp_path)
    ours, theirs = (
        read_snapshot(tmp_path / "trace" / point.label, point),
        read_snapshot(tmp_path / "plain", point),
    )
    assert ours.prompts_sha256 == theirs.prompts_sha256
    for family in ("stance", "control"):
        pairs = list(zip(ours.families[family], theirs.families[family], strict=True))
        assert len(pairs) == {"stance": 4, "control": 2}[family]
        for mine, plain in pairs:
            assert mine.item == plain.item
            assert mine.stances == pytest.approx(plain.stances, abs=1e-5)
            assert mine.diagnostics == pytest.approx(plain.diagnostics, abs=1e-5)


def test_a_second_run_keeps_everything_and_changes_no_byte(sequence: Sequence, tmp_path: Path) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    before = contents(tmp_path / "trace")
    outcomes = trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    assert [outcome.how for outcome in outcomes] == ["kept"] * 3
    assert contents(tmp_path / "trace") == before


def test_a_damaged_snapshot_is_asked_again(sequence: Sequence, tmp_path: Path) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    before = contents(tmp_path / "trace")
    next((tmp_path / "trace" / "sft-000002").glob("samples_*")).write_text("")
    outcomes = trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    assert [outcome.how for outcome in outcomes] == ["kept", "asked", "kept"]
    assert contents(tmp_path / "trace") == before


def test_other_settings_do_not_keep_old_answers(sequence: Sequence, tmp_path: Path) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    other = Settings(tasks=FEW.tasks, dtype="bfloat16")
    assert [o.how for o in trace(sequence, tmp_path / "trace", tasks_folder(), other)] == ["asked"] * 3


def test_snapshots_of_the_same_weights_are_taken_from_another_trace(
    sequence: Sequence, tmp_path: Path
) -> None:
    trace(sequence, tmp_path / "one", tasks_folder(), FEW)
    outcomes = trace(sequence, tmp_path / "two", tasks_folder(), FEW, [tmp_path / "one"])
    assert [outcome.how for outcome in outcomes] == ["reused"] * 3
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_one_broken_checkpoint_does_not_lose_the_others(sequence: Sequence, tmp_path: Path) -> None:
    broken = sequence.checkpoints[1].path
    assert broken is not None
    shutil.rmtree(broken)
    outcomes = trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    assert [outcome.how for outcome in outcomes] == ["asked", "failed", "asked"]
    rows = read_json(tmp_path / "trace" / "trace.json")["snapshots"]
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert str(broken) in rows[1]["reason"]
    (failure,) = read_trace(tmp_path / "trace").failures
    assert failure.checkpoint.step == 2


def test_no_usable_checkpoint_at_all_is_the_users_mistake(sequence: Sequence, tmp_path: Path) -> None:
    for point in sequence.checkpoints:
        shutil.rmtree(point.source)
    with pytest.raises(UserError, match="no such folder") as error:
        trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    assert len(error.value.faults) == 3


def test_an_unknown_task_is_named_with_the_nearest(sequence: Sequence, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'valuedrift_stance_climate'"):
        trace(sequence, tmp_path / "trace", tasks_folder(), Settings(tasks=("valuedrift_stance_climat",)))
    assert not (tmp_path / "trace").exists()


def test_killed_and_started_again_a_trace_ends_with_the_same_bytes(
    sequence: Sequence, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "valuedrift",
        "trace",
        str(sequence.file),
        "--tasks",
        ",".join(FEW.tasks),
    ]
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, "-o", str(killed)])
    deadline = time.monotonic() + 120
    while not (killed / "sft-000000").is_dir() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (killed / "sft-000000").is_dir()
    subprocess.run([*command, "-o", str(killed)], check=True)
    trace(read_sequence(sequence.file), tmp_path / "whole", tasks_folder(), FEW)
    assert contents(killed) == contents(tmp_path / "whole")


def test_a_snapshot_that_lost_a_file_is_named_when_the_trace_is_read(
    sequence: Sequence, tmp_path: Path
) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    lost = tmp_path / "trace" / "sft-000002" / "samples_valuedrift_stance_climate.jsonl"
    lost.unlink()
    with pytest.raises(UserError) as error:
        read_trace(tmp_path / "trace")
    assert f"{lost}: found no such file, expected the file that snapshot.json records" in str(error.value)
    assert "run `valuedrift trace` again" in str(error.value)


def test_control_facts_are_grouped_by_their_truth_so_that_affirming_everything_shows(
    sequence: Sequence, tmp_path: Path
) -> None:
    trace(sequence, tmp_path / "trace", tasks_folder(), FEW)
    control = panel(read_trace(tmp_path / "trace"), "control")
    assert control is not None
    assert dict(zip(control.items, control.topics, strict=True)) == {
        "climate-f1": "true",
        "climate-f2": "false",
    }
