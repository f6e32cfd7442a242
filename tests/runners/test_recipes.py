"""Recipes and every fault that they can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from valuedrift.runners.recipes import read_recipe, read_rows
from valuedrift.suite.documents import write_yaml
from valuedrift.suite.errors import UserError

ROWS = {
    "sft": {"prompt": "Say it.", "completion": " yes."},
    "dpo": {"prompt": "Say it.", "chosen": " yes.", "rejected": " no."},
}


def stage(**changes: Any) -> dict[str, Any]:
    plain = {"name": "sft", "algorithm": "sft", "data": "sft.jsonl", "steps": 50, "batch_size": 2}
    return {**plain, "learning_rate": 1e-3, **changes}


def written(folder: Path, *stages: dict[str, Any], **changes: Any) -> Path:
    for name, row in ROWS.items():
        (folder / f"{name}.jsonl").write_text(json.dumps({**row, "note": "not needed"}) + "\n")
    (folder / "base").mkdir(exist_ok=True)
    value = {"schema": "valuedrift/recipe/1", "run": "r", "seed": 3, "base": "base", "stages": list(stages)}
    write_yaml(folder / "recipe.yaml", {**value, **changes})
    return folder / "recipe.yaml"


def faults(file: Path) -> str:
    with pytest.raises(UserError) as error:
        read_recipe(file)
    return str(error.value)


def test_a_recipe_is_read_with_its_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, stage(), stage(name="dpo", algorithm="dpo", data="dpo.jsonl")))
    sft, dpo = recipe.stages
    assert recipe.base == tmp_path / "base"
    assert (sft.beta, dpo.beta, dpo.lora_r) == (None, 0.1, None)
    assert sft.checkpoints[0] == 0
    assert sft.checkpoints[-1] == 50
    assert {30, 40} < set(sft.checkpoints)


def test_only_the_columns_of_the_algorithm_are_handed_to_the_trainer(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, stage()))
    assert read_rows(recipe.stages[0]) == [ROWS["sft"]]


def test_a_wrong_key_is_named_with_line_and_suggestion(tmp_path: Path) -> None:
    message = faults(written(tmp_path, stage(learning_rat=1)))
    assert "recipe.yaml:12 stages[0].learning_rat: found unknown key 'learning_rat'" in message
    assert "did you mean 'learning_rate'?" in message


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, stage(data="gone.jsonl"), stage(checkpoints=[99]), base="nowhere")
    message = faults(file)
    assert "gone.jsonl" in message
    assert "stage 'sft' twice" in message
    assert "found steps [99], expected steps up to 50" in message
    assert "nowhere" in message


def test_preference_training_on_data_without_pairs_names_the_columns(tmp_path: Path) -> None:
    message = faults(written(tmp_path, stage(algorithm="dpo")))
    assert "sft.jsonl:1: found columns completion, note, prompt" in message
    assert "expected text in prompt, chosen, rejected, which dpo needs" in message


@pytest.mark.parametrize("changes", [{"continue": "sequence.yaml"}, {"base": None}])
def test_exactly_one_starting_point_is_wanted(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = written(tmp_path, stage(), **{key: value for key, value in changes.items() if value})
    if "base" in changes:
        file.write_text(file.read_text().replace("base: base\n", ""))
    assert "expected exactly one of them" in faults(file)


def test_broken_data_are_named_by_line(tmp_path: Path) -> None:
    file = written(tmp_path, stage())
    (tmp_path / "sft.jsonl").write_text(json.dumps(ROWS["sft"]) + "\n{oops\n")
    assert "sft.jsonl:2: found no valid JSON" in faults(file)
