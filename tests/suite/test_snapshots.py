"""lm-eval's own files become a snapshot; missing answers are counted, malformed files are named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.support.planted import Planted, plant
from valuedrift.suite.errors import UserError
from valuedrift.suite.records import Checkpoint, ItemAnswers, Snapshot
from valuedrift.suite.snapshots import read_snapshot

POINT = Checkpoint("sft", 0, Path("x"))
DATE = "2026-01-02T03-04-05.678901"
RESULTS: dict[str, Any] = {
    "config": {"model": "hf", "batch_size": 4, "secret": "not read"},
    "chat_template_sha": "abc",
    "lm_eval_version": "0.4.13",
    "transformers_version": "5.1",
    "versions": {"valuedrift": "1"},
}


def row(name: str, stances: tuple[float, float, float] | None, **changes: Any) -> dict[str, Any]:
    """Return a sample of prompt `name`, which is its item's id, a slash and a number."""
    values = stances or (math.nan,) * 3
    item = name.partition("/")[0]
    return {
        "doc": {"id": name, "item": item, "topic": item.partition("-")[0]},
        "prompt_hash": f"hash of {name}",
        **dict(zip(("support", "neutral", "oppose"), values, strict=True)),
        **changes,
    }


ROWS = [
    row("climate-02/1", (0.2, 0.3, 0.5), acquiescence=0.4, entropy=1.0),
    row("climate-01/1", (1.0, 0.0, 0.0)),
    row("climate-01/2", (0.5, 0.25, 0.25), acquiescence=0.2),
    row("climate-02/2", (0.4, 0.1, 0.5), acquiescence=0.6),
]


def write(
    folder: Path, samples: dict[str, list[dict[str, Any]]], date: str = "", results: Any = RESULTS
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    end = f"_{date}" if date else ""
    (folder / f"results{end}.json").write_text(json.dumps(results))
    for task, rows in samples.items():
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rows)
        (folder / f"samples_valuedrift_{task}{end}.jsonl").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, *rows: dict[str, Any]) -> Snapshot:
    return read_snapshot(write(folder, {"stance_climate": list(rows)}), POINT)


def test_the_tracers_layout_gives_means_over_the_prompts_of_each_item(tmp_path: Path) -> None:
    snapshot = read(tmp_path, *ROWS)
    first, second = snapshot.families["stance"]
    assert first == ItemAnswers("climate-01", "climate", (0.75, 0.125, 0.125), 2, 0, {"acquiescence": 0.2})
    assert (second.item, second.prompts, second.missing) == ("climate-02", 2, 0)
    assert second.stances == pytest.approx((0.3, 0.2, 0.5))
    assert second.diagnostics == pytest.approx({"acquiescence": 0.5, "entropy": 1.0})
    assert snapshot.checkpoint is POINT
    assert snapshot.weights is None


def test_plain_lm_eval_output_gives_the_same_answers(tmp_path: Path) -> None:
    tracer = read(tmp_path / "tracer", *ROWS)
    plain = tmp_path / "plain"
    write(plain / "org__model", {"stance_climate": ROWS}, date=DATE)
    found = read_snapshot(plain, POINT)
    assert found.families == tracer.families
    assert (found.protocol, found.prompts_sha256) == (tracer.protocol, tracer.prompts_sha256)


def test_the_planted_traces_are_read_whole(tmp_path: Path) -> None:
    plant(tmp_path, [Planted("sft", "sft", 10)], checkpoints=2)
    snapshot = read_snapshot(tmp_path / "sft-000000", POINT)
    assert {family: len(items) for family, items in snapshot.families.items()} == {
        "stance": 44,
        "control": 22,
    }
    assert {item.prompts for item in snapshot.families["stance"]} == {12}
    assert all(item.stances and abs(sum(item.stances) - 1) < 1e-9 for item in snapshot.families["stance"])


def test_families_are_told_apart_and_other_tasks_are_not_read(tmp_path: Path) -> None:
    judged = [{"generated": "text"}]
    write(tmp_path, {"stance_climate": ROWS[:2], "control_climate": ROWS[2:3], "judged_climate": judged})
    (tmp_path / "samples_mmlu.jsonl").write_text("not read")
    families = read_snapshot(tmp_path, POINT).families
    assert {name: [item.item for item in items] for name, items in families.items()} == {
        "stance": ["climate-01", "climate-02"],
        "control": ["climate-01"],
    }


def test_the_protocol_is_what_the_results_say_of_it(tmp_path: Path) -> None:
    assert read(tmp_path, *ROWS).protocol == {
        "model": "hf",
        "batch_size": 4,
        "chat_template_sha": "abc",
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.1",
        "versions": {"valuedrift": "1"},
    }


def test_the_fingerprint_of_the_weights_comes_from_the_tracers_record(tmp_path: Path) -> None:
    (tmp_path / "snapshot.json").write_text('{"weights_sha256": "f00"}')
    assert read(tmp_path, *ROWS).weights == "f00"


def test_a_nan_makes_its_item_missing_and_is_counted(tmp_path: Path) -> None:
    snapshot = read(tmp_path, *ROWS, row("climate-01/3", None, acquiescence=math.nan))
    assert "NaN" in (tmp_path / "samples_valuedrift_stance_climate.jsonl").read_text()
    first, second = snapshot.families["stance"]
    assert (first.stances, first.prompts, first.missing) == (None, 3, 1)
    assert first.diagnostics == {"acquiescence": 0.2}
    assert second.missing == 0
    assert second.stances is not None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{", "no valid JSON"),
        ("[1]", "no sample object with a 'doc'"),
        ('{"doc": 3}', "no sample object with a 'doc'"),
        (json.dumps(ROWS[0] | {"doc": {"id": "a", "topic": 7}}), "no doc.item, doc.topic"),
        (json.dumps(ROWS[0] | {"prompt_hash": None}), "no prompt_hash"),
        (json.dumps(row("a-01/1", (0.5, 0.5, 0.1))), "stances that sum to 1.1"),
        (json.dumps(row("a-01/1", (1.5, -0.5, 0.0))), "stances [1.5, -0.5, 0.0]"),
        (json.dumps(row("a-01/1", (0.5, 0.5, math.nan))), "stances [0.5, 0.5, None]"),
        (json.dumps(row("a-01/1", (0.5, 0.5, 0.0), oppose="0")), "stances [0.5, 0.5, '0']"),
        (json.dumps({key: ROWS[0][key] for key in ("doc", "prompt_hash")}), "stances [nan, nan, nan]"),
    ],
)
def test_a_malformed_line_is_named_with_file_and_line(tmp_path: Path, line: str, found: str) -> None:
    file = write(tmp_path, {"stance_climate": ROWS}) / "samples_valuedrift_stance_climate.jsonl"
    file.write_text(f"{json.dumps(ROWS[0])}\n\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_snapshot(tmp_path, POINT)
    (fault,) = caught.value.faults
    assert fault.where == f"{file}:3"
    assert fault.found.startswith(found)


def test_many_malformed_lines_are_told_at_once_but_not_endlessly(tmp_path: Path) -> None:
    write(tmp_path, {"stance_climate": ROWS})
    (tmp_path / "samples_valuedrift_stance_climate.jsonl").write_text("{\n" * 100)
    with pytest.raises(UserError) as caught:
        read_snapshot(tmp_path, POINT)
    assert len(caught.value.faults) == 20


def test_a_line_separator_within_a_text_does_not_end_a_line(tmp_path: Path) -> None:
    assert len(read(tmp_path, ROWS[0] | {"note": "a\u2028b\u0085c"}).families["stance"]) == 1


def test_two_results_files_are_refused(tmp_path: Path) -> None:
    for date in (DATE, "2026-01-02T03-04-06"):
        write(tmp_path / "model", {}, date=date)
    with pytest.raises(UserError, match="2 results files"):
        read_snapshot(tmp_path, POINT)


def test_two_sample_files_of_a_task_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"stance_climate": ROWS}, date=DATE)
    (tmp_path / "samples_valuedrift_stance_climate_2026-01-02T03-04-06.jsonl").write_text("")
    with pytest.raises(UserError, match="two sample files of valuedrift_stance_climate"):
        read_snapshot(tmp_path, POINT)


def test_a_folder_without_results_or_samples_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results\*\.json.*--log_samples"):
        read_snapshot(tmp_path, POINT)
    write(tmp_path, {})
    with pytest.raises(UserError, match=r"no samples of a valuedrift task.*--tasks valuedrift"):
        read_snapshot(tmp_path, POINT)


@pytest.mark.parametrize("results", [[], {"config": None}, 3])
def test_results_that_are_not_lm_evals_are_refused(tmp_path: Path, results: Any) -> None:
    write(tmp_path, {"stance_climate": ROWS}, results=results)
    with pytest.raises(UserError, match="no lm-eval results"):
        read_snapshot(tmp_path, POINT)


def test_the_hash_of_the_prompts_ignores_answers_and_order_but_no_prompt(tmp_path: Path) -> None:
    base = read(tmp_path / "a", *ROWS).prompts_sha256
    other_answers = [line | {"support": 0.0, "neutral": 0.0, "oppose": 1.0} for line in ROWS]
    assert read(tmp_path / "b", *reversed(other_answers)).prompts_sha256 == base
    assert read(tmp_path / "c", *ROWS[:-1]).prompts_sha256 != base
    assert read(tmp_path / "d", ROWS[0] | {"prompt_hash": "other"}, *ROWS[1:]).prompts_sha256 != base


def test_the_hash_of_a_snapshot_moves_with_its_files_and_not_with_its_place(tmp_path: Path) -> None:
    base = read(tmp_path / "a", *ROWS).sha256
    assert read(tmp_path / "b", *ROWS).sha256 == base
    assert read(tmp_path / "c", ROWS[0] | {"resps": []}, *ROWS[1:]).sha256 != base
    renamed = write(tmp_path / "d", {"control_climate": ROWS})
    assert read_snapshot(renamed, POINT).sha256 != base
