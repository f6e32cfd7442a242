"""Drift files of planted runs, made once for all tests of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.planted import Planted, drift_file, plant
from valuedrift.leaderboard.ranking import rank, ranking_json
from valuedrift.suite.files import write_json
from valuedrift.suite.magnitude import Resampling
from valuedrift.suite.report_files import read_drift

SFT = Planted("sft", "sft", 200, "support", 0.13, seed=1)
DRAWS = Resampling(200, 0)
RUNS = {
    "dpo-1": Planted("dpo", "dpo", 100, "oppose", 0.20, half=0.2, seed=1),
    "dpo-2": Planted("dpo", "dpo", 100, "oppose", 0.21, half=0.2, seed=2),
    "dpo-3": Planted("dpo", "dpo", 100, "oppose", 0.19, half=0.2, seed=3),
    "simpo-1": Planted("simpo", "simpo", 100, "neutral", 0.08, half=0.8, seed=1),
    "still": Planted("ppo", "ppo", 100, seed=1),
}
"""Last stage of each run; the first one is the same SFT in all of them."""


@pytest.fixture(scope="session")
def drifts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The drift file of each of RUNS."""
    root = tmp_path_factory.mktemp("board")
    for name, stage in RUNS.items():
        plant(root / name / "trace", [SFT, stage], run=name, checkpoints=7)
        drift_file(root / name / "trace", root / name / "drift.json", DRAWS.draws)
    return {name: root / name / "drift.json" for name in RUNS}


@pytest.fixture
def edited(tmp_path: Path) -> Callable[[Path, str, Callable[[dict[str, Any]], None]], Path]:
    """A function that writes a changed copy of a drift file under another name."""

    def write(source: Path, name: str, change: Callable[[dict[str, Any]], None]) -> Path:
        value = json.loads(source.read_text(encoding="utf-8"))
        change(value)
        target = tmp_path / name
        target.write_text(json.dumps(value), encoding="utf-8")
        return target

    return write


@pytest.fixture(scope="session")
def ranked() -> Callable[[Sequence[Path], Path], Path]:
    """A function that ranks drift files into a `ranking.json`."""

    def write(files: Sequence[Path], output: Path) -> Path:
        ranking = rank([read_drift(file) for file in files], DRAWS)
        write_json(output, ranking_json(ranking, output, {"valuedrift": "test"}))
        return output

    return write
