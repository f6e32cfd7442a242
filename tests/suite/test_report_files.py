"""`drift.json` and its CSV: valid, repeatable, readable, and refused when they are something else."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.planted import Planted, drift_file, plant, read_planted
from valuedrift.suite.documents import Document, schema_faults
from valuedrift.suite.errors import UserError
from valuedrift.suite.files import sha256_file, write_json
from valuedrift.suite.magnitude import Resampling
from valuedrift.suite.records import STANCES, Estimate
from valuedrift.suite.report_files import DriftFile, read_drift, report_csv, report_json
from valuedrift.suite.reports import DriftReport, drift_report

FEW = Resampling(100, 3)
SFT = Planted("sft", "sft", 200, "support", 0.1, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages, one checkpoint of the first not measured."""
    place = tmp_path_factory.mktemp("planted")
    plant(place, [SFT, Planted("dpo", "dpo", 100, seed=2)], checkpoints=5)
    shutil.rmtree(place / "sft-000120")
    return place


@pytest.fixture(scope="module")
def report(folder: Path) -> DriftReport:
    return drift_report(read_planted(folder), FEW)


@pytest.fixture
def value(report: DriftReport) -> dict[str, Any]:
    """The content of a `drift.json`, as JSON gives it back."""
    return dict(json.loads(json.dumps(report_json(report, {"valuedrift": "test"}))))


def write(folder: Path, report: DriftReport) -> Path:
    write_json(folder / "drift.json", report_json(report, {"valuedrift": "test"}))
    return folder / "drift.json"


def test_a_report_is_valid_under_its_schema_and_read_back(tmp_path: Path, report: DriftReport) -> None:
    file = write(tmp_path, report)
    found = read_drift(file)
    assert schema_faults(Document(file, found.value, {}), "drift") == []
    assert (found.path, found.sha256, found.run) == (file, sha256_file(file), "planted")
    assert found.value["resampling"] == {"draws": 100, "seed": 3, "unit": "item"}


def test_the_same_trace_gives_the_same_bytes(tmp_path: Path, folder: Path, report: DriftReport) -> None:
    again = drift_report(read_planted(folder), FEW)
    first, second = write(tmp_path / "a", report), write(tmp_path / "b", again)
    assert first.read_bytes() == second.read_bytes()
    other = write(tmp_path / "c", drift_report(read_planted(folder), Resampling(100, 4)))
    assert other.read_bytes() != first.read_bytes()


def test_panels_come_back_as_they_were(tmp_path: Path, report: DriftReport) -> None:
    found = read_drift(write(tmp_path, report))
    for family, panel in report.panels.items():
        read = found.panel(family)
        assert read is not None
        assert (read.items, read.topics, read.dropped) == (panel.items, panel.topics, panel.dropped)
        np.testing.assert_array_equal(read.stances, panel.stances)
    assert found.panel("judged") is None


def test_failures_and_checkpoints_are_listed_in_order(value: dict[str, Any], folder: Path) -> None:
    assert [failure["label"] for failure in value["failures"]] == ["sft-000120"]
    assert str(folder / "sft-000120") in value["failures"][0]["reason"]
    labels = [point["label"] for point in value["checkpoints"]]
    steps = {"sft": (0, 1, 160, 200), "dpo": (1, 60, 80, 100)}
    assert labels == [f"{stage}-{step:06d}" for stage in steps for step in steps[stage]]
    assert list(value["inputs"]["snapshots"]) == labels
    assert {point["missing_prompts"] for point in value["checkpoints"]} == {0}
    assert set(value["checkpoints"][0]["diagnostics"]) == {"stance", "control"}


def test_a_stage_starts_from_the_last_snapshot_before_it(value: dict[str, Any]) -> None:
    assert [(span["name"], span["positions"], span["steps"]) for span in value["spans"]] == [
        ("sft", [0, 1, 2, 3], [0, 1, 160, 200]),
        ("dpo", [3, 4, 5, 6, 7], [0, 1, 60, 80, 100]),
        ("total", list(range(8)), list(range(8))),
    ]


def test_every_number_of_a_span_is_in_the_file(value: dict[str, Any], report: DriftReport) -> None:
    drift, span = report.spans[0], value["spans"][0]
    assert Estimate.from_json(span["values"]["M"]["support"]) == drift.values.signed["support"]
    assert Estimate.from_json(span["values"]["D"]) == drift.values.debiased
    assert drift.adjusted is not None
    assert Estimate.from_json(span["D_adjusted"]) == drift.adjusted
    assert (span["verdict"], span["floor"]) == ("drift", drift.floor)
    assert (span["algorithm"], span["data"], span["seed"]) == ("sft", ["planted-sft"], 1)
    assert drift.timing is not None
    assert Estimate.from_json(span["timing"]["t50"]) == drift.timing.t50
    moved, _ = drift.topics["climate"]
    assert Estimate.from_json(span["topics"]["climate"]["valence"]) == moved.valence
    assert value["spans"][-1]["timing"] is None


def rows_of(report: DriftReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(report_csv(report))))


def test_the_csv_has_one_row_for_each_estimate(report: DriftReport) -> None:
    rows = rows_of(report)
    keys = [(row["span"], row["topic"], row["measure"], row["stance"]) for row in rows]
    assert len(set(keys)) == len(keys)
    # M of three stances, valence, TV, D; with a time also t50 and three etas; 11 topics and their mean.
    stage, total, control = 12 * (6 + 4), 12 * 6, 6 + 1
    assert len(rows) == 2 * (stage + control) + total + control
    assert {row["run"] for row in rows} == {"planted"}


def test_the_csv_has_the_numbers_of_the_report(report: DriftReport) -> None:
    found = {
        (row["span"], row["topic"], row["measure"], row["stance"]): (row["value"], row["low"], row["n"])
        for row in rows_of(report)
    }
    drift = report.spans[0]
    assert drift.control is not None
    assert drift.adjusted is not None
    for key, estimate in {
        ("sft", "all", "M", "oppose"): drift.values.signed["oppose"],
        ("sft", "climate", "D", ""): drift.topics["climate"][0].debiased,
        ("sft", "control", "D", ""): drift.control.debiased,
        ("sft", "all", "D_adjusted", ""): drift.adjusted,
        ("total", "all", "valence", ""): report.spans[-1].values.valence,
    }.items():
        assert found[key] == (str(estimate.value), str(estimate.low), str(estimate.n))
    assert found["dpo", "all", "t50", ""][:2] == ("", "")


def test_a_csv_without_control_has_no_rows_of_it(report: DriftReport, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.rglob("samples_valuedrift_control_*"):
        file.unlink()
    rows = rows_of(drift_report(read_planted(copy), FEW))
    assert len(rows_of(report)) - len(rows) == 3 * 7
    assert "control" not in {row["topic"] for row in rows}
    assert "D_adjusted" not in {row["measure"] for row in rows}


def changed(value: dict[str, Any], place: tuple[str | int, ...], new: Any) -> None:
    *parents, last = place
    inner: Any = value
    for key in parents:
        inner = inner[key]
    inner[last] = new


@pytest.mark.parametrize(
    ("place", "new", "fault"),
    [
        (("schema",), "valuedrift/drift/2", 'schema: found "valuedrift/drift/2"'),
        (("verdicts",), [], "verdicts: found unknown key 'verdicts'"),
        (("spans", 0, "values", "p_value"), 1.5, "spans[0].values.p_value: found 1.5"),
        (("spans", 1, "identity"), "x", 'spans[1].identity: found "x"'),
        (("spans", 0, "values", "D", "n"), "4", 'spans[0].values.D.n: found "4"'),
        (("panels", "stance", "stances", 0, 0), [1], "panels.stance.stances[0][0]: found [1]"),
        (("checkpoints", 0, "step"), -1, "checkpoints[0].step: found -1"),
    ],
)
def test_a_changed_file_is_refused_with_its_name_and_key(
    tmp_path: Path, value: dict[str, Any], place: tuple[str | int, ...], new: Any, fault: str
) -> None:
    changed(value, place, new)
    file = tmp_path / "drift.json"
    file.write_text(json.dumps(value))
    with pytest.raises(UserError) as caught:
        read_drift(file)
    (found,) = caught.value.faults
    assert str(found).startswith(f"{file} {fault}")


def test_a_headline_that_its_own_stance_vectors_do_not_give_is_refused(
    tmp_path: Path, value: dict[str, Any]
) -> None:
    changed(value, ("spans", 0, "values", "D", "value"), value["spans"][0]["values"]["D"]["value"] + 1e-6)
    changed(value, ("spans", 1, "values", "D", "low"), 5.0)
    file = tmp_path / "drift.json"
    file.write_text(json.dumps(value))
    with pytest.raises(UserError) as caught:
        read_drift(file)
    first, second = map(str, caught.value.faults)
    assert first.startswith(f"{file} spans[0].values.D: found")
    assert "as its panel gives; compute it again with `valuedrift drift`" in first
    assert "expected an interval that holds its value" in second


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path, value: dict[str, Any]) -> None:
    del value["run"]
    value["spans"][0]["values"]["p_value"] = 2
    (tmp_path / "drift.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match="no key 'run'") as caught:
        read_drift(tmp_path / "drift.json")
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"schema": NaN}'])
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "drift.json").write_text(text)
    with pytest.raises(UserError, match=r"drift\.json"):
        read_drift(tmp_path / "drift.json")


def identities(folder: Path, stages: list[Planted], run: str) -> dict[str, str]:
    plant(folder / run, stages, run=run, checkpoints=3)
    file: DriftFile = drift_file(folder / run, folder / run / "drift.json", draws=10)
    return {span["name"]: span["identity"] for span in file.value["spans"]}


def test_a_stage_that_two_runs_share_has_one_identity_and_all_others_have_their_own(tmp_path: Path) -> None:
    first = identities(tmp_path, [SFT, Planted("dpo", "dpo", 100, "oppose", 0.1, seed=2)], "a")
    second = identities(tmp_path, [SFT, Planted("simpo", "simpo", 100, "support", 0.05, seed=2)], "b")
    third = identities(tmp_path, [Planted("sft", "sft", 200, "support", 0.1, seed=9)], "c")
    assert first["sft"] == second["sft"]
    others = [first["dpo"], first["total"], second["simpo"], second["total"], third["sft"], third["total"]]
    assert len({first["sft"], *others}) == 7


def test_an_estimate_survives_json() -> None:
    for estimate in (Estimate(0.5, 0.25, 0.75, 3, "m", 0.9), Estimate(None, None, None, 0, "undefined: x")):
        assert Estimate.from_json(json.loads(json.dumps(estimate.to_json()))) == estimate


def test_stances_keep_the_order_of_the_paper(value: dict[str, Any]) -> None:
    assert tuple(value["spans"][0]["values"]["M"]) == STANCES == ("support", "neutral", "oppose")
