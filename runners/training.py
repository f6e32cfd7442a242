"""Training a recipe: one TRL trainer a stage, checkpoints on the schedule, a sequence at the end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.runners.checkpoints import CheckpointFiles, inspect
from valuedrift.runners.models import load_model
from valuedrift.runners.recipes import Recipe, StageRecipe, read_recipe
from valuedrift.runners.trainers import fit
from valuedrift.suite.documents import read_yaml
from valuedrift.suite.files import folder_whole, read_json, sha256_file, sha256_json, write_json
from valuedrift.suite.records import Checkpoint, Sequence
from valuedrift.suite.sequences import SCHEMA, read_sequence, write_sequence
from valuedrift.suite.versions import versions

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets")
RECORD = "stage.json"


@dataclass(frozen=True, slots=True)
class Start:
    """What a stage starts from."""

    files: CheckpointFiles
    """Files of the checkpoint."""
    adapted: bool
    """Whether it is an adapter, which a stage merges before it puts its own on."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Start:
        """Return the start that a checkpoint is."""
        return cls(inspect(checkpoint), checkpoint.adapter is not None)


def train(file: Path, output: Path) -> Sequence:
    """Return the sequence of a trained recipe; checkpoints and `sequence.yaml` are written below `output`.

    A stage that is finished there already (same recipe, data, start and versions) is kept.
    Raises UserError for every fault of the recipe, its data or the model that it starts from.
    """
    recipe = read_recipe(file)
    output.mkdir(parents=True, exist_ok=True)
    stages, start = _beginning(recipe, output)
    for stage in recipe.stages:
        entry, start = _train_stage(recipe, stage, start, output)
        stages.append(entry)
    value = {
        "schema": SCHEMA,
        "run": recipe.run,
        "base": stages[0]["checkpoints"][0]["path"],
        "made_by": versions(*PACKAGES),
        "recipe_sha256": recipe.sha256,
        "stages": stages,
    }
    return write_sequence(output / "sequence.yaml", value)


def _beginning(recipe: Recipe, output: Path) -> tuple[list[dict[str, Any]], Start]:
    if recipe.sequence is None:
        return [], Start.of(Checkpoint(stage="base", step=0, path=recipe.base))
    sequence = read_sequence(recipe.sequence)
    stages = read_yaml(recipe.sequence).value["stages"]
    for stage in stages:
        for entry in stage["checkpoints"]:
            for key in ("path", "adapter"):
                if key in entry:
                    entry[key] = _relative(recipe.sequence.parent / entry[key], output)
    return stages, Start.of(sequence.checkpoints[-1])


def _train_stage(
    recipe: Recipe, stage: StageRecipe, start: Start, output: Path
) -> tuple[dict[str, Any], Start]:
    folder = output / stage.name
    key = sha256_json(
        [_plain(stage), sha256_file(stage.data), start.files.weights_sha256, recipe.seed, versions(*PACKAGES)]
    )
    if not _finished(folder, key):
        model, tokenizer = load_model(start.files, stage.dtype, "cpu")
        with folder_whole(folder) as temporary:
            if start.adapted:
                # A new adapter goes on the merged model, so the merged model is the stage's step 0.
                _save(model, tokenizer, temporary / "checkpoint-0")
            fit(model, tokenizer, stage, recipe.seed, temporary)
            write_json(temporary / RECORD, {"key_sha256": key, "versions": versions(*PACKAGES)})
    points = [_entry(step, stage, start, folder, output) for step in stage.checkpoints]
    entry = {
        "name": stage.name,
        "algorithm": stage.algorithm,
        "seed": recipe.seed,
        "data": [{"name": stage.data.stem, "sha256": sha256_file(stage.data)}],
        "checkpoints": points,
    }
    last = points[-1]
    adapter = output / last["adapter"] if "adapter" in last else None
    return entry, Start.of(Checkpoint(stage.name, last["step"], output / last["path"], adapter=adapter))


def _entry(step: int, stage: StageRecipe, start: Start, folder: Path, output: Path) -> dict[str, Any]:
    base = folder / "checkpoint-0" if start.adapted else start.files.model
    if step == 0:
        return {"step": 0, "path": _relative(base, output)}
    place = folder / f"checkpoint-{step}"
    if stage.lora_r is None:
        return {"step": step, "path": _relative(place, output)}
    return {"step": step, "path": _relative(base, output), "adapter": _relative(place, output)}


def _finished(folder: Path, key: str) -> bool:
    record = folder / RECORD
    return record.is_file() and read_json(record).get("key_sha256") == key


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def _plain(stage: StageRecipe) -> dict[str, Any]:
    return {name: str(getattr(stage, name)) for name in stage.__slots__ if name != "data"}


def _relative(place: Path, output: Path) -> str:
    return os.path.relpath(place.resolve(), output.resolve())
