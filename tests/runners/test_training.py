"""Training with TRL: real trainers on a real, tiny model, two to four steps each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from valuedrift.runners.checkpoints import inspect
from valuedrift.runners.training import train
from valuedrift.suite.documents import write_yaml
from valuedrift.suite.records import Sequence

PROMPT = "Statement: A river should be kept clean. Reply:"
PAIRS = [{"prompt": PROMPT, "chosen": " agree", "rejected": " disagree"}] * 16
ROWS = {
    "pretrain": [{"text": f"{PROMPT} neutral"}] * 16,
    "sft": [{"prompt": PROMPT, "completion": " neutral"}] * 16,
    "dpo": PAIRS,
    "simpo": PAIRS,
}


def recipe(folder: Path, run: str, start: dict[str, str], *stages: dict[str, Any]) -> Path:
    full = []
    for number, stage in enumerate(stages):
        data = folder / f"{run}-{number}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in ROWS[stage["algorithm"]]))
        plain = {
            "name": stage["algorithm"],
            "data": data.name,
            "steps": 4,
            "batch_size": 4,
            "learning_rate": 5e-3,
        }
        full.append({**plain, **stage})
    value = {"schema": "valuedrift/recipe/1", "run": run, "seed": 5, **start, "stages": full}
    write_yaml(folder / f"{run}.yaml", value)
    return folder / f"{run}.yaml"


def log_odds(sequence: Sequence, position: int) -> float:
    """Log-odds of agree over disagree at a checkpoint."""
    import torch

    from valuedrift.runners.models import load_model

    model, tokenizer = load_model(inspect(sequence.checkpoints[position]), "float32", "cpu")
    tokens = tokenizer(PROMPT, return_tensors="pt").input_ids
    first, second = (tokenizer(word).input_ids[0] for word in (" agree", " disagree"))
    with torch.no_grad():
        logits = model(tokens).logits[0, -1]
    return float(logits[first] - logits[second])


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    folder = tmp_path_factory.mktemp("train")
    shutil.copytree(tiny, folder / "base")
    return folder


@pytest.mark.parametrize("algorithm", ["pretrain", "sft", "dpo", "simpo"])
def test_each_algorithm_trains_and_keeps_the_scheduled_checkpoints(start: Path, algorithm: str) -> None:
    file = recipe(start, algorithm, {"base": "base"}, {"algorithm": algorithm, "checkpoints": [0, 2, 4]})
    found = train(file, start / f"out-{algorithm}")
    assert [point.step for point in found.checkpoints] == [0, 2, 4]
    prints = {inspect(point).weights_sha256 for point in found.checkpoints}
    assert len(prints) == 3
    assert not list((start / f"out-{algorithm}").rglob("*.bin"))
    if algorithm in ("dpo", "simpo"):
        assert log_odds(found, 2) > log_odds(found, 0) + 0.1


def test_the_same_recipe_gives_the_same_weights(start: Path) -> None:
    file = recipe(start, "twice", {"base": "base"}, {"algorithm": "dpo", "checkpoints": [0, 4]})
    one, two = train(file, start / "one"), train(file, start / "two")
    assert inspect(one.checkpoints[-1]).weights_sha256 == inspect(two.checkpoints[-1]).weights_sha256


def test_a_finished_stage_is_kept_and_a_changed_one_trained_again(start: Path) -> None:
    file = recipe(start, "kept", {"base": "base"}, {"algorithm": "sft", "checkpoints": [0, 4]})
    train(file, start / "kept")
    weights = start / "kept" / "sft" / "checkpoint-4" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    train(file, start / "kept")
    assert weights.stat().st_mtime_ns == before
    train(
        recipe(
            start,
            "kept",
            {"base": "base"},
            {"algorithm": "sft", "checkpoints": [0, 4], "learning_rate": 1e-4},
        ),
        start / "kept",
    )
    assert weights.stat().st_mtime_ns != before


def test_a_continued_run_holds_the_stages_before_it(start: Path) -> None:
    sft = recipe(start, "first", {"base": "base"}, {"algorithm": "sft", "checkpoints": [0, 4]})
    train(sft, start / "first")
    dpo = recipe(
        start, "next", {"continue": "first/sequence.yaml"}, {"algorithm": "dpo", "checkpoints": [0, 4]}
    )
    found = train(dpo, start / "deep" / "next")
    assert [(point.stage, point.step) for point in found.checkpoints] == [
        ("sft", 0), ("sft", 4), ("dpo", 0), ("dpo", 4),
    ]  # fmt: skip
    prints = [inspect(point).weights_sha256 for point in found.checkpoints]
    assert prints[1] == prints[2]
    assert len(set(prints)) == 3


def test_lora_stages_keep_adapters_and_merge_between_stages(start: Path) -> None:
    both = (
        {"algorithm": "sft", "lora_r": 4, "checkpoints": [0, 4]},
        {"algorithm": "dpo", "lora_r": 4, "checkpoints": [0, 4]},
    )
    found = train(recipe(start, "lora", {"base": "base"}, *both), start / "lora")
    assert [point.adapter is not None for point in found.checkpoints] == [False, True, False, True]
    # The merged model is the adapter's model: the same log-odds, other files.
    assert log_odds(found, 1) == pytest.approx(log_odds(found, 2), abs=1e-4)
    assert log_odds(found, 3) > log_odds(found, 2)
