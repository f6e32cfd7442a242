"""A folder of snapshots becomes a trace, with what could not be measured in it named."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from valuedrift.suite.errors import UserError
from valuedrift.suite.records import Sequence, Trace
from valuedrift.suite.sequences import SCHEMA, write_sequence
from valuedrift.suite.traces import panel, read_trace

STEPS = (0, 5, 10)
ITEMS = ("abortion-01", "abortion-02", "climate-01", "climate-02")


def sample(item: str, prompt: int, support: float, prompt_hash: str = "h") -> dict[str, Any]:
    return {
        "doc": {"id": f"{item}/{prompt}", "item": item, "topic": item.partition("-")[0]},
        "prompt_hash": prompt_hash,
        "support": support,
        "neutral": math.nan if math.isnan(support) else 0.0,
        "oppose": 1 - support,
    }


def write_snapshot(place: Path, step: int, template: str | None = None, family: str = "stance") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / "results.json").write_text(json.dumps({"config": {}, "chat_template_sha": template}))
    rows = [sample(item, prompt, (step + n) / 20) for n, item in enumerate(ITEMS) for prompt in (1, 2)]
    return write_rows(place, rows, family)


def write_rows(place: Path, rows: list[dict[str, Any]], family: str = "stance") -> Path:
    file = place / f"samples_valuedrift_{family}_all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def change(place: Path, number: int, row: dict[str, Any]) -> None:
    """Put a sample in the place of one line."""
    file = place / "samples_valuedrift_stance_all.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    write_rows(place, [*rows[:number], row, *rows[number + 1 :]])


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    points = [{"step": step, "path": "x"} for step in STEPS]
    stages = [{"name": "sft", "algorithm": "sft", "checkpoints": points}]
    value = {"schema": SCHEMA, "run": "a", "base": "b", "stages": stages}
    return write_sequence(tmp_path / "sequence.yaml", value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trace of three checkpoints in plain lm-eval output."""
    for step in STEPS:
        write_snapshot(tmp_path / "trace" / f"sft-{step:06d}", step)
    return tmp_path / "trace"


def write_index(folder: Path, sequence: Sequence, **snapshot: Any) -> None:
    """Write `trace.json` with one snapshot entry changed; None removes a key."""
    written = [
        {"label": point.label, "stage": point.stage, "step": point.step, "status": "ok"}
        for point in sequence.checkpoints
    ]
    last = written[-1] | snapshot
    written[-1] = {key: value for key, value in last.items() if value is not None}
    points = [{"step": point.step, "path": "x"} for point in sequence.checkpoints]
    stages = [{"name": "sft", "algorithm": "sft", "checkpoints": points}]
    value = {
        "schema": "valuedrift/trace/1",
        "made_by": {},
        "sequence": {
            "file": "../sequence.yaml",
            "sha256": "0" * 64,
            "value": {"schema": SCHEMA, "run": "embedded", "base": "b", "stages": stages},
        },
        "protocol": {},
        "snapshots": written,
    }
    (folder / "trace.json").write_text(json.dumps(value))


def labels(trace: Trace) -> list[str]:
    return [snapshot.checkpoint.label for snapshot in trace.snapshots]


def failures(trace: Trace) -> list[tuple[str, str]]:
    return [(failure.checkpoint.label, failure.reason) for failure in trace.failures]


def faults(folder: Path, sequence: Sequence | None) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_trace(folder, sequence)
    return [str(fault).removeprefix(str(folder)) for fault in caught.value.faults]


def test_plain_lm_eval_folders_are_read_in_the_order_of_the_sequence(
    folder: Path, sequence: Sequence
) -> None:
    trace = read_trace(folder, sequence)
    assert labels(trace) == ["sft-000000", "sft-000005", "sft-000010"]
    assert failures(trace) == []
    assert trace.sequence is sequence


def test_the_index_brings_its_sequence(folder: Path, sequence: Sequence) -> None:
    write_index(folder, sequence)
    trace = read_trace(folder)
    assert (trace.sequence.run, trace.sequence.sha256) == ("embedded", "0" * 64)
    assert len(trace.snapshots) == 3
    # Paths are those of the sequence file, which stands beside the trace folder.
    assert trace.sequence.checkpoints[0].path == folder.parent / "x"


def test_a_sequence_that_is_given_goes_before_the_index(folder: Path, sequence: Sequence) -> None:
    write_index(folder, sequence)
    assert read_trace(folder, sequence).sequence.run == "a"


def test_a_missing_folder_becomes_a_failure(folder: Path, sequence: Sequence) -> None:
    shutil.rmtree(folder / "sft-000005")
    trace = read_trace(folder, sequence)
    assert labels(trace) == ["sft-000000", "sft-000010"]
    assert failures(trace) == [("sft-000005", f"no snapshot folder {folder}/sft-000005")]


@pytest.mark.parametrize(
    ("reason", "told"), [("out of memory", "out of memory"), (None, "no reason recorded")]
)
def test_a_checkpoint_that_failed_in_the_index_is_a_failure_even_with_files(
    folder: Path, sequence: Sequence, reason: str | None, told: str
) -> None:
    write_index(folder, sequence, status="failed", reason=reason)
    trace = read_trace(folder)
    assert len(trace.snapshots) == 2
    assert failures(trace) == [("sft-000010", told)]


def test_a_checkpoint_without_any_number_is_a_failure(folder: Path, sequence: Sequence) -> None:
    write_rows(folder / "sft-000010", [sample(item, n, math.nan) for item in ITEMS for n in (1, 2)])
    (found,) = failures(read_trace(folder, sequence))
    assert found == ("sft-000010", "no prompt of any item was answered with a number")


def test_one_usable_snapshot_is_too_few_and_each_missing_one_is_told(
    folder: Path, sequence: Sequence
) -> None:
    for step in (0, 10):
        shutil.rmtree(folder / f"sft-{step:06d}")
    few, *reasons = faults(folder, sequence)
    assert few.startswith(": found 1 usable snapshots, expected at least 2")
    assert [line.rpartition(" ")[2] for line in reasons] == ["sft-000000", "sft-000010"]


def test_a_folder_that_is_no_trace_says_what_to_do(tmp_path: Path, folder: Path) -> None:
    (gone,) = faults(tmp_path / "gone", None)
    assert gone.endswith("make one with `valuedrift trace`")
    (plain,) = faults(folder, None)
    assert plain.endswith("add --sequence sequence.yaml for plain lm-eval output")


def test_an_index_with_a_fault_is_refused(folder: Path, sequence: Sequence) -> None:
    write_index(folder, sequence, status="okay")
    (found,) = faults(folder, None)
    assert found.startswith('/trace.json snapshots[2].status: found "okay", expected one of ok, failed')


def test_other_prompts_are_refused_with_the_label(folder: Path, sequence: Sequence) -> None:
    change(folder / "sft-000010", 0, sample(ITEMS[0], 1, 0.5, prompt_hash="other"))
    (found,) = faults(folder, sequence)
    assert found.startswith("/sft-000010: found other prompts than sft-000000 was asked")


def test_another_chat_template_is_refused_with_the_label(folder: Path, sequence: Sequence) -> None:
    write_snapshot(folder / "sft-000005", 5, template="abc")
    (found,) = faults(folder, sequence)
    assert found == "/sft-000005: found chat template abc, expected None as at sft-000000"


def test_all_that_is_not_comparable_is_told_at_once(folder: Path, sequence: Sequence) -> None:
    for step in (5, 10):
        write_snapshot(folder / f"sft-{step:06d}", step, template="abc")
        change(folder / f"sft-{step:06d}", 0, sample(ITEMS[0], 1, 0.5, prompt_hash="other"))
    assert [line.partition(":")[0] for line in faults(folder, sequence)] == 2 * ["/sft-000005"] + 2 * [
        "/sft-000010"
    ]


def test_a_panel_holds_every_item_at_every_snapshot(folder: Path, sequence: Sequence) -> None:
    found = panel(read_trace(folder, sequence), "stance")
    assert found is not None
    assert (found.items, found.topics) == (ITEMS, ("abortion", "abortion", "climate", "climate"))
    assert (found.topic_names, found.dropped) == (("abortion", "climate"), ())
    assert found.stances.shape == (3, 4, 3)
    expected = (np.array(STEPS)[:, None] + np.arange(4)) / 20
    np.testing.assert_allclose(found.stances[..., 0], expected)
    np.testing.assert_allclose(found.stances.sum(axis=-1), 1)


def test_an_item_with_a_missing_prompt_is_dropped_everywhere_and_named(
    folder: Path, sequence: Sequence
) -> None:
    change(folder / "sft-000005", 3, sample(ITEMS[1], 2, math.nan))
    trace = read_trace(folder, sequence)
    assert [item.missing for item in trace.snapshots[1].families["stance"]] == [0, 1, 0, 0]
    found = panel(trace, "stance")
    assert found is not None
    assert found.dropped == (ITEMS[1],)
    assert found.items == (ITEMS[0], *ITEMS[2:])
    assert found.stances.shape == (3, 3, 3)


def test_a_family_that_one_snapshot_was_not_asked_has_no_panel(folder: Path, sequence: Sequence) -> None:
    trace = read_trace(folder, sequence)
    assert panel(trace, "control") is None
    first, *others = trace.snapshots
    asked = replace(first, families=first.families | {"control": first.families["stance"]})
    assert panel(replace(trace, snapshots=(asked, *others)), "control") is None


def test_a_family_that_one_snapshot_was_asked_alone_makes_it_other_prompts(
    folder: Path, sequence: Sequence
) -> None:
    write_snapshot(folder / "sft-000005", 5, family="control")
    (found,) = faults(folder, sequence)
    assert found.startswith("/sft-000005: found other prompts")


def test_a_panel_without_a_complete_item_is_empty_but_keeps_its_shape(
    folder: Path, sequence: Sequence
) -> None:
    for step, kept in zip(STEPS, ITEMS, strict=False):
        rows = [sample(item, n, 0.5 if item == kept else math.nan) for item in ITEMS for n in (1, 2)]
        write_rows(folder / f"sft-{step:06d}", rows)
    found = panel(read_trace(folder, sequence), "stance")
    assert found is not None
    assert found.stances.shape == (3, 0, 3)
    assert found.dropped == ITEMS
