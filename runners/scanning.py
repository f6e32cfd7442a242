"""A sequence made from what a Hugging Face Trainer leaves: `checkpoint-N` folders, full or LoRA."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.runners.checkpoints import inspect
from valuedrift.suite.errors import CheckpointError, Fault, UserError
from valuedrift.suite.files import read_json
from valuedrift.suite.records import Checkpoint, Sequence
from valuedrift.suite.sequences import SCHEMA, write_sequence
from valuedrift.suite.versions import versions

_CHECKPOINT = re.compile(r"^checkpoint-(\d+)$")


@dataclass(frozen=True, slots=True)
class Labels:
    """What the folders do not say about a run."""

    run: str
    """Name of the run."""
    stage: str = "train"
    """Name of its stage."""
    algorithm: str = "unknown"
    """Algorithm of the stage."""
    base: Path | None = None
    """Folder of the model that training started from; becomes step 0 where there is no `checkpoint-0`."""


def scan(folder: Path, output: Path, labels: Labels) -> Sequence:
    """Return the sequence of the `checkpoint-N` folders in `folder`, and write it to `output`.

    A folder with adapter_config.json is a LoRA checkpoint on `labels.base` or the local base that it names.
    Raises UserError with every fault of every checkpoint: nothing is written then.
    """
    steps = _steps(folder)
    faults: list[Fault] = []
    points: list[dict[str, Any]] = []
    if labels.base is not None and 0 not in steps:
        points.append({"step": 0, "path": _relative(labels.base, output)})
    for step, place in sorted(steps.items()):
        try:
            entry = _entry(step, place, output, labels)
            inspect(_checkpoint(entry, output, labels.stage))
            points.append(entry)
        except CheckpointError as error:
            faults += error.faults
    if faults:
        raise UserError(faults)
    if points[0]["step"] != 0 and "adapter" in points[0]:
        points.insert(0, {"step": 0, "path": points[0]["path"]})
    base = str(labels.base.name if labels.base else points[0]["path"])
    stage = {"name": labels.stage, "algorithm": labels.algorithm, "checkpoints": points}
    value = {"schema": SCHEMA, "run": labels.run, "base": base, "made_by": versions(), "stages": [stage]}
    return write_sequence(output, value)


def _steps(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        raise UserError(Fault(str(folder), "no such folder", "the output_dir of a Trainer"))
    found = {
        int(m[1]): place
        for place in folder.iterdir()
        if (m := _CHECKPOINT.match(place.name)) and place.is_dir()
    }
    if not found:
        fix = "give the folder that holds the checkpoint-N folders"
        raise UserError(Fault(str(folder), "no checkpoint-N folder", "the output_dir of a Trainer", fix))
    return found


def _entry(step: int, place: Path, output: Path, labels: Labels) -> dict[str, Any]:
    config = place / "adapter_config.json"
    if not config.is_file():
        return {"step": step, "path": _relative(place, output)}
    base = labels.base or Path(str(read_json(config).get("base_model_name_or_path")))
    if not base.is_dir():
        where = f"{config} base_model_name_or_path"
        raise CheckpointError(Fault(where, f"'{base}'", "a local folder", "give --base FOLDER"))
    return {"step": step, "path": _relative(base, output), "adapter": _relative(place, output)}


def _checkpoint(entry: dict[str, Any], output: Path, stage: str) -> Checkpoint:
    folder = output.resolve().parent
    # By name: the folder of the output need not exist yet, and then `..` leads out of nowhere.
    path, adapter = (
        Path(os.path.normpath(folder / entry[key])) if key in entry else None for key in ("path", "adapter")
    )
    return Checkpoint(stage=stage, step=entry["step"], path=path, adapter=adapter)


def _relative(place: Path, output: Path) -> str:
    return os.path.relpath(place.resolve(), output.resolve().parent)
