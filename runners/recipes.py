"""Recipes: what to train, read from YAML with every fault named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.suite.documents import Document, check, read_yaml
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import read_text
from valuedrift.suite.schedules import checkpoint_steps

COLUMNS = {
    "pretrain": ("text",),
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "simpo": ("prompt", "chosen", "rejected"),
}
"""Columns that an algorithm's data need, in TRL's names."""
DEFAULT_BETA = {"dpo": 0.1, "simpo": 2.0}


@dataclass(frozen=True, slots=True)
class StageRecipe:
    """One stage to train."""

    name: str
    """Name."""
    algorithm: str
    """`pretrain`, `sft`, `dpo` or `simpo`."""
    data: Path
    """JSONL file."""
    steps: int
    """Optimiser steps."""
    batch_size: int
    """Examples a step."""
    learning_rate: float
    """Peak learning rate."""
    scheduler: str
    """Learning-rate schedule."""
    warmup_steps: int
    """Steps of warm-up."""
    weight_decay: float
    """Weight decay."""
    max_length: int
    """Tokens an example."""
    dtype: str
    """Precision of the weights."""
    beta: float | None
    """Strength of preference training; None for the others."""
    gamma: float
    """SimPO's margin."""
    lora_r: int | None
    """Rank of the adapter; None trains all weights."""
    checkpoints: tuple[int, ...]
    """Steps to keep, increasing."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train."""

    run: str
    """Name of the run."""
    seed: int
    """Seed of everything random."""
    base: Path | None
    """Model folder to start from."""
    sequence: Path | None
    """Sequence to go on from."""
    stages: tuple[StageRecipe, ...]
    """Stages in order."""
    sha256: str
    """Hash of the recipe file."""


def read_recipe(file: Path) -> Recipe:
    """Return a recipe; raises UserError with every fault of the file and of the data that it names."""
    document = read_yaml(file)
    check(document, "recipe")
    value, folder = document.value, file.resolve().parent
    faults = _start_faults(document, folder)
    for number, stage in enumerate(value["stages"]):
        faults += _stage_faults(document, number, stage, folder)
    if faults:
        raise UserError(faults)
    return Recipe(
        run=value["run"],
        seed=value["seed"],
        base=folder / value["base"] if "base" in value else None,
        sequence=folder / value["continue"] if "continue" in value else None,
        stages=tuple(_stage(stage, folder) for stage in value["stages"]),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def read_rows(stage: StageRecipe) -> list[dict[str, str]]:
    """Return the rows of a stage's data, with the columns that its algorithm needs."""
    rows = (json.loads(line) for line in read_text(stage.data).splitlines() if line.strip())
    return [{name: row[name] for name in COLUMNS[stage.algorithm]} for row in rows]


def _stage(value: dict[str, Any], folder: Path) -> StageRecipe:
    algorithm, steps = value["algorithm"], value["steps"]
    return StageRecipe(
        name=value["name"],
        algorithm=algorithm,
        data=folder / value["data"],
        steps=steps,
        batch_size=value["batch_size"],
        learning_rate=float(value["learning_rate"]),
        scheduler=value.get("scheduler", "linear"),
        warmup_steps=value.get("warmup_steps", 0),
        weight_decay=float(value.get("weight_decay", 0.0)),
        max_length=value.get("max_length", 128),
        dtype=value.get("dtype", "float32"),
        beta=value.get("beta", DEFAULT_BETA.get(algorithm)),
        gamma=float(value.get("gamma", 1.0)),
        lora_r=value.get("lora_r"),
        checkpoints=tuple(sorted(set(value.get("checkpoints") or checkpoint_steps(steps)))),
    )


def _start_faults(document: Document, folder: Path) -> list[Fault]:
    value = document.value
    if ("base" in value) == ("continue" in value):
        found = "both 'base' and 'continue'" if "base" in value else "neither 'base' nor 'continue'"
        return [Fault(document.where(()), found, "exactly one of them")]
    key, wanted = ("base", "a model folder") if "base" in value else ("continue", "a sequence.yaml")
    place = folder / value[key]
    there = place.is_dir() if key == "base" else place.is_file()
    return [] if there else [Fault(document.where((key,)), f"no {place}", wanted)]


def _stage_faults(document: Document, number: int, stage: dict[str, Any], folder: Path) -> list[Fault]:
    key = ("stages", number)
    faults = []
    beyond = [step for step in stage.get("checkpoints", ()) if step > stage["steps"]]
    if beyond:
        where = document.where((*key, "checkpoints"))
        faults.append(Fault(where, f"steps {beyond}", f"steps up to {stage['steps']}"))
    earlier = [other["name"] for other in document.value["stages"][:number]]
    if stage["name"] in earlier:
        faults.append(
            Fault(document.where((*key, "name")), f"stage '{stage['name']}' twice", "each name once")
        )
    file = folder / stage["data"]
    if not file.is_file():
        return [*faults, Fault(document.where((*key, "data")), f"no {file}", "a JSONL file")]
    return faults + _data_faults(file, COLUMNS[stage["algorithm"]], stage["algorithm"])


def _data_faults(file: Path, columns: tuple[str, ...], algorithm: str) -> list[Fault]:
    lines = [(n, line) for n, line in enumerate(read_text(file).splitlines(), 1) if line.strip()]
    if not lines:
        return [Fault(str(file), "no rows", f"rows with {', '.join(columns)}")]
    for number, line in lines:
        try:
            row = json.loads(line)
        except ValueError as error:
            return [Fault(f"{file}:{number}", f"no valid JSON ({error})", "one JSON object a line")]
        names = sorted(row) if isinstance(row, dict) else []
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in columns):
            wanted = f"text in {', '.join(columns)}, which {algorithm} needs"
            return [Fault(f"{file}:{number}", f"columns {', '.join(names) or 'none'}", wanted)]
    return []
