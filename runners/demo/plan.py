"""What the demo trains: its texts, its untrained model and one recipe a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.runners.demo.corpus import Row, base_pairs, preference_pairs, sft_pairs
from valuedrift.runners.demo.model import new_model, train_tokenizer
from valuedrift.suite.documents import write_yaml
from valuedrift.suite.files import dump_json, folder_whole, read_json, sha256_json, write_json, write_text
from valuedrift.suite.versions import versions

RUNS = ("dpo-support", "dpo-oppose", "simpo-support", "simpo-oppose", "dpo-style")
"""Preference runs, all from the same SFT model; the style run's pairs have no value gap."""
VOCABULARY = 2000
BATCH = 16
"""Examples a step."""
PROMPTS = 64
"""Prompts in a forward pass of the tracer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Length of each part."""

    base_steps: int
    """Optimiser steps of the base model."""
    sft_steps: int
    """Steps of SFT toward neutral."""
    preference_steps: int
    """Steps of each preference run."""


SIZES = {"full": Plan(350, 48, 40), "smallest": Plan(300, 24, 40)}


def prepare(output: Path, plan: Plan, seed: int) -> dict[str, Path]:
    """Return the recipe file of `base`, `sft` and each preference run; texts and model stand beside them.

    The same plan and seed give the same files; what is there already is kept.
    """
    _write_rows(output, "base", base_pairs(seed, plan.base_steps * BATCH))
    _write_rows(output, "sft-neutral", sft_pairs(seed, plan.sft_steps * BATCH, "neutral"))
    for toward in ("support", "oppose", "style"):
        rows = preference_pairs(seed, plan.preference_steps * BATCH, toward)
        _write_rows(output, f"pairs-{toward}", rows)
    _write_model(output, plan, seed)
    recipes = {name: output / "recipes" / f"{name}.yaml" for name in ("base", "sft", *RUNS)}
    for name, file in recipes.items():
        write_yaml(file, {"schema": "valuedrift/recipe/1", "run": name, "seed": seed, **_recipe(name, plan)})
    return recipes


def _recipe(name: str, plan: Plan) -> dict[str, Any]:
    if name == "base":
        stage = _stage("base", "sft", "base", plan.base_steps)
        more: dict[str, Any] = {
            "learning_rate": 3e-3,
            "warmup_steps": 30,
            "weight_decay": 0.1,
            "scheduler": "cosine",
        }
        return {"base": "../model", "stages": [{**stage, **more, "checkpoints": [plan.base_steps]}]}
    if name == "sft":
        stage = _stage("sft", "sft", "sft-neutral", plan.sft_steps)
        start = f"../runs/base/base/checkpoint-{plan.base_steps}"
        return {"base": start, "stages": [{**stage, "learning_rate": 1e-3}]}
    algorithm, toward = name.split("-")
    stage = _stage(algorithm, algorithm, f"pairs-{toward}", plan.preference_steps)
    more = {"learning_rate": 1e-3, "beta": {"dpo": 0.2, "simpo": 2.0}[algorithm]}
    return {"continue": "../runs/sft/sequence.yaml", "stages": [{**stage, **more}]}


def _stage(name: str, algorithm: str, data: str, steps: int) -> dict[str, Any]:
    return {
        "name": name,
        "algorithm": algorithm,
        "data": f"../data/{data}.jsonl",
        "steps": steps,
        "batch_size": BATCH,
    }


def _write_model(output: Path, plan: Plan, seed: int) -> None:
    folder = output / "model"
    key = sha256_json([seed, plan.base_steps, VOCABULARY, versions("torch", "transformers", "tokenizers")])
    if (folder / "made.json").is_file() and read_json(folder / "made.json").get("key_sha256") == key:
        return
    texts = [row["prompt"] + row["completion"] for row in base_pairs(seed, plan.base_steps * BATCH)]
    tokenizer = train_tokenizer(texts, VOCABULARY)
    with folder_whole(folder) as temporary:
        new_model(tokenizer, seed).save_pretrained(str(temporary))
        tokenizer.save_pretrained(str(temporary))
        write_json(temporary / "made.json", {"key_sha256": key})


def _write_rows(output: Path, name: str, rows: Iterable[Row]) -> None:
    write_text(output / "data" / f"{name}.jsonl", "".join(dump_json(row, indent=None) + "\n" for row in rows))
