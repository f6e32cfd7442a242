"""What the demo says it has seen depends on the numbers: each finding can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.planted import Planted, drift_file, plant
from valuedrift.demo import _findings
from valuedrift.runners.demo.plan import RUNS

Run = tuple[str, str | None, float]

EXPECTED: dict[str, Run] = {
    "dpo-support": ("dpo", "support", 0.3),
    "dpo-oppose": ("dpo", "oppose", 0.3),
    "simpo-support": ("simpo", "support", 0.3),
    "simpo-oppose": ("simpo", "oppose", 0.3),
    "dpo-style": ("dpo", None, 0.0),
}


def reports(folder: Path, changes: dict[str, Run] | None = None, half: float = 0.05) -> list[dict[str, Any]]:
    found = []
    for run in RUNS:
        algorithm, target, size = {**EXPECTED, **(changes or {})}[run]
        stages = [
            Planted("sft", "sft", 40, "neutral", 0.3, half=half, seed=1),
            Planted(algorithm, algorithm, 40, target, size),
        ]
        plant(folder / run, stages, run=run)
        found.append(drift_file(folder / run, folder / run / "drift.json").value)
    return found


def seen(values: list[dict[str, Any]]) -> list[bool]:
    return [finding for finding, _ in _findings(values)]


def test_the_known_result_is_seen_where_it_is(tmp_path: Path) -> None:
    assert seen(reports(tmp_path)) == [True, True, True, True]


def test_a_late_sft_is_not_called_early(tmp_path: Path) -> None:
    assert seen(reports(tmp_path, half=0.6)) == [False, True, True, True]


@pytest.mark.parametrize(("run", "position"), [("dpo-oppose", 1), ("simpo-oppose", 2)])
def test_pairs_that_move_the_wrong_way_are_not_called_opposite(
    tmp_path: Path, run: str, position: int
) -> None:
    expected = [True] * 4
    expected[position] = False
    assert seen(reports(tmp_path, {run: (run.partition("-")[0], "support", 0.3)})) == expected


def test_a_style_run_that_moves_values_is_not_called_quiet(tmp_path: Path) -> None:
    assert seen(reports(tmp_path, {"dpo-style": ("dpo", "support", 0.3)})) == [True, True, True, False]
