"""Entries: each training once, only comparable files, one shared draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from valuedrift.leaderboard.entries import entries, paired_draws
from valuedrift.suite.errors import UserError
from valuedrift.suite.magnitude import Resampling, magnitude
from valuedrift.suite.report_files import read_drift

Edit = Callable[[Path, str, Callable[[dict[str, Any]], None]], Path]


def test_a_shared_stage_is_one_entry_that_names_all_its_runs(drifts: dict[str, Path]) -> None:
    found = entries([read_drift(path) for path in drifts.values()])
    assert [entry.name for entry in found].count("dpo-1/sft") == 1
    assert len(found) == 1 + len(drifts)
    by_stage = {entry.name: entry.shared_by for entry in found}
    assert by_stage["dpo-1/sft"] == tuple(drifts)
    assert by_stage["still/ppo"] == ("still",)


def test_faults_of_every_file_come_in_one_message(drifts: dict[str, Path], edited: Edit) -> None:
    other = edited(
        drifts["dpo-2"], "other.json", lambda value: value["inputs"].update(prompts_sha256="0" * 64)
    )
    twice = edited(drifts["dpo-1"], "twice.json", lambda value: value.update(base="another"))
    with pytest.raises(UserError) as caught:
        entries([read_drift(path) for path in (drifts["dpo-1"], other, twice)])
    assert [fault.where for fault in caught.value.faults] == [
        f"{other} inputs.prompts_sha256",
        f"{twice} run",
    ]
    assert "run 'dpo-1' again" in str(caught.value)


def test_files_without_a_stage_are_refused(drifts: dict[str, Path], edited: Edit) -> None:
    def leave_total(value: dict[str, Any]) -> None:
        value["spans"] = value["spans"][-1:]

    bare = edited(drifts["dpo-1"], "bare.json", leave_total)
    with pytest.raises(UserError, match="no stage with two snapshots"):
        entries([read_drift(bare)])
    with pytest.raises(UserError, match="no drift file"):
        entries([])


def test_draws_use_the_common_items_alone(drifts: dict[str, Path], edited: Edit) -> None:
    def lose_an_item(value: dict[str, Any]) -> None:
        part = value["panels"]["stance"]
        part["dropped"].append(part["items"].pop(0))
        part["topics"].pop(0)
        part["stances"] = [rows[1:] for rows in part["stances"]]
        stances = np.array(part["stances"])
        for span in value["spans"]:
            before, after = (stances[span["positions"][end]] for end in (0, -1))
            moved = magnitude(before, after, tuple(part["topics"]), Resampling(50, 0))
            span["values"]["TV"], span["values"]["D"] = moved.tv.to_json(), moved.debiased.to_json()

    fewer = edited(drifts["simpo-1"], "fewer.json", lose_an_item)
    found = entries([read_drift(drifts["dpo-1"]), read_drift(fewer)])
    drawn = paired_draws(found, 50, 0)
    assert (drawn.items, drawn.dropped) == (43, 1)
    assert drawn.magnitude.shape == drawn.t50.shape == (50, len(found))


def test_the_same_items_are_drawn_for_every_entry(drifts: dict[str, Path], edited: Edit) -> None:
    def rename(value: dict[str, Any]) -> None:
        value["run"] = "twin"
        for span in value["spans"]:
            span["identity"] = span["identity"][::-1]

    twin = edited(drifts["dpo-1"], "twin.json", rename)
    found = entries([read_drift(drifts["dpo-1"]), read_drift(twin)])
    drawn = paired_draws(found, 50, 0)
    assert np.array_equal(drawn.magnitude[:, 1], drawn.magnitude[:, 3])
    assert drawn.magnitude[:, 1].std() > 0


def test_no_common_item_is_refused(drifts: dict[str, Path], edited: Edit) -> None:
    def rename_items(value: dict[str, Any]) -> None:
        part = value["panels"]["stance"]
        part["items"] = [f"x-{item}" for item in part["items"]]

    other = edited(drifts["simpo-1"], "other.json", rename_items)
    with pytest.raises(UserError, match=r"drift\.json, other\.json: found no two common items"):
        paired_draws(entries([read_drift(drifts["dpo-1"]), read_drift(other)]), 50, 0)
