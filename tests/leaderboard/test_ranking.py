"""The ranking: planted orders come back, and what cannot be told apart shares ranks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.conftest import DRAWS
from valuedrift.leaderboard.ranking import Ranking, rank, ranking_json, read_ranking
from valuedrift.suite.errors import UserError
from valuedrift.suite.files import write_json
from valuedrift.suite.report_files import read_drift

Edit = Callable[[Path, str, Callable[[dict[str, Any]], None]], Path]


def rank_files(*files: Path) -> Ranking:
    return rank([read_drift(file) for file in files], DRAWS)


def twin_of(name: str, seed: int) -> Callable[[dict[str, Any]], None]:
    """A change that makes a drift file that of another training with the same numbers."""

    def change(value: dict[str, Any]) -> None:
        value["run"] = name
        for span in value["spans"]:
            span["seed"] = seed
            span["identity"] = f"{seed:08x}{span['identity'][8:]}"

    return change


@pytest.fixture(scope="module")
def ranking(drifts: dict[str, Path]) -> Ranking:
    return rank_files(*drifts.values())


def test_the_planted_order_is_recovered(ranking: Ranking) -> None:
    places = {entry.name: place for entry, place in zip(ranking.entries, ranking.ranks, strict=True)}
    assert places["still/ppo"].low == 6
    assert places["simpo-1/simpo"].low >= 5
    assert places["dpo-1/sft"].low == places["dpo-1/sft"].high == 4
    assert max(places[f"dpo-{n}/dpo"].high for n in (1, 2, 3)) <= 3
    assert [entry.algorithm for entry in ranking.entries] == ["dpo", "dpo", "dpo", "sft", "simpo", "ppo"]


def test_the_estimates_hold_what_was_planted(ranking: Ranking) -> None:
    found = {entry.name: entry.magnitude for entry in ranking.entries}
    for name, planted in {
        "dpo-2/dpo": 0.21,
        "dpo-1/sft": 0.13,
        "simpo-1/simpo": 0.08,
        "still/ppo": 0.0,
    }.items():
        assert found[name].value == pytest.approx(planted, abs=0.02)
    assert {entry.name: entry.verdict for entry in ranking.entries}["dpo-1/dpo"] == "drift"


def test_times_are_ranked_earliest_first_and_only_where_they_are_defined(ranking: Ranking) -> None:
    places = {entry.name: place for entry, place in zip(ranking.entries, ranking.time_ranks, strict=True)}
    early, late = places["dpo-1/dpo"], places["simpo-1/simpo"]
    assert early is not None
    assert late is not None
    assert early.high < late.low
    assert places["still/ppo"] is None


def test_equal_numbers_share_their_rank(drifts: dict[str, Path], edited: Edit) -> None:
    twin = edited(drifts["dpo-1"], "twin.json", twin_of("twin", 7))
    ranking = rank_files(drifts["dpo-1"], twin)
    places = {entry.name: place for entry, place in zip(ranking.entries, ranking.ranks, strict=True)}
    assert places["dpo-1/dpo"] == places["twin/dpo"]
    assert (places["twin/dpo"].low, places["twin/dpo"].high) == (1, 2)
    assert places["dpo-1/sft"] == places["twin/sft"]


def test_an_algorithm_under_three_seeds_is_listed_and_not_ranked(ranking: Ranking) -> None:
    rows = {row.algorithm: row for row in ranking.algorithms}
    assert {name: row.seeds for name, row in rows.items()} == {"dpo": 3, "sft": 1, "simpo": 1, "ppo": 1}
    assert rows["sft"].entries == 1
    assert all(rows[name].rank is None for name in ("sft", "simpo", "ppo"))
    assert "1 of 3 seeds, so not ranked" in rows["simpo"].magnitude.method
    assert rows["ppo"].t50.value is None


def test_algorithms_with_three_seeds_are_ranked(drifts: dict[str, Path], edited: Edit) -> None:
    more = [edited(drifts["simpo-1"], f"simpo-{n}.json", twin_of(f"simpo-{n}", n)) for n in (2, 3)]
    ranking = rank_files(*drifts.values(), *more)
    rows = {row.algorithm: row for row in ranking.algorithms}
    assert {name: str(row.rank) for name, row in rows.items()} == {
        "dpo": "1",
        "sft": "2",
        "simpo": "3",
        "ppo": "None",
    }
    assert str(rows["simpo"].time_rank) == "3"


def test_times_need_three_seeds_that_have_one(drifts: dict[str, Path], edited: Edit) -> None:
    def lose_time(name: str, seed: int) -> Callable[[dict[str, Any]], None]:
        def change(value: dict[str, Any]) -> None:
            twin_of(name, seed)(value)
            undefined = {
                "value": None,
                "low": None,
                "high": None,
                "n": 44,
                "method": "undefined",
                "level": 0.95,
            }
            value["spans"][1]["timing"]["t50"] = undefined

        return change

    more = [edited(drifts["simpo-1"], f"simpo-{n}.json", lose_time(f"simpo-{n}", n)) for n in (2, 3)]
    rows = {row.algorithm: row for row in rank_files(*drifts.values(), *more).algorithms}
    assert rows["simpo"].rank is not None
    assert rows["simpo"].time_rank is None
    assert "1 of 3 seeds" in rows["simpo"].t50.method


def test_the_smallest_drift_that_can_be_found_is_finite(ranking: Ranking) -> None:
    assert math.isfinite(ranking.detectable)
    assert 0 < ranking.detectable < 0.1


def test_every_file_is_an_input_whatever_the_order(drifts: dict[str, Path], tmp_path: Path) -> None:
    def sft_alone(value: dict[str, Any]) -> None:
        value["run"] = "sft-alone"
        value["spans"] = [value["spans"][0], value["spans"][-1]]

    value = json.loads(drifts["dpo-1"].read_text(encoding="utf-8"))
    sft_alone(value)
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(value), encoding="utf-8")
    output = tmp_path / "board" / "ranking.json"
    for files in ((drifts["dpo-1"], alone), (alone, drifts["dpo-1"])):
        write_json(output, ranking_json(rank_files(*files), output, {"valuedrift": "test"}))
        found = read_ranking(output)
        assert [named["run"] for named in found["inputs"]] == ["dpo-1", "sft-alone"]
        assert all((output.parent / named["file"]).is_file() for named in found["inputs"])


def test_ranking_twice_gives_the_same_content(drifts: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "ranking.json"
    found = [ranking_json(rank_files(*drifts.values()), output, {}) for _ in range(2)]
    assert found[0] == found[1]


def test_a_file_that_is_no_ranking_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ranking.json"
    file.write_text('{"schema": "valuedrift/ranking/1", "entires": []}', encoding="utf-8")
    with pytest.raises(UserError, match="did you mean 'entries'"):
        read_ranking(file)
