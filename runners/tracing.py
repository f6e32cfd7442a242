"""The tracer: every checkpoint of a sequence answers all probes, in one process, resumably."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from valuedrift.runners.checkpoints import CheckpointFiles, inspect, mismatches
from valuedrift.runners.models import load_model
from valuedrift.runners.probing import Probes, ask, load_probes
from valuedrift.runners.snapshot_files import copy_snapshot, is_finished, write_snapshot
from valuedrift.suite.documents import read_yaml
from valuedrift.suite.errors import CheckpointError, Fault, UserError
from valuedrift.suite.files import remove_leftovers, write_json
from valuedrift.suite.records import Checkpoint, Sequence
from valuedrift.suite.traces import INDEX, SCHEMA
from valuedrift.suite.versions import versions


@dataclass(frozen=True, slots=True)
class Settings:
    """How checkpoints are asked; part of every snapshot's key."""

    tasks: tuple[str, ...] = ("valuedrift",)
    """lm-eval task names."""
    batch_size: int = 32
    """Prompts in a forward pass."""
    dtype: str = "float32"
    """Precision of the weights."""
    device: str = "cpu"
    """Torch device."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one checkpoint."""

    checkpoint: Checkpoint
    """The checkpoint."""
    how: str
    """`asked`, `kept` (already there), `reused` (from another trace) or `failed`."""
    weights: str | None
    """Fingerprint; None when it failed before it was read."""
    reason: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same from checkpoint to checkpoint."""

    output: Path
    """Trace folder."""
    probes: Probes
    """Tasks."""
    settings: Settings
    """How they are asked."""
    protocol: dict[str, Any]
    """Settings, versions and probe hash as they are recorded."""
    elsewhere: tuple[Path, ...]
    """Other trace folders whose snapshots of the same weights and protocol may be copied."""


def trace(
    sequence: Sequence, output: Path, tasks: Path, settings: Settings, elsewhere: Iterable[Path] = ()
) -> list[Outcome]:
    """Return what became of each checkpoint; snapshots and `trace.json` are written below `output`.

    `tasks` is the folder of task definitions. A finished snapshot of the same weights and protocol is kept,
    so a killed trace goes on where it stopped. A broken checkpoint is recorded and the others are asked.
    Raises UserError for unknown tasks, an unwritable output, or when no checkpoint could be asked.
    """
    _require_writable(output)
    probes = load_probes(settings.tasks, tasks)
    protocol = _protocol(settings, probes)
    remove_leftovers(output, [INDEX, *(point.label for point in sequence.checkpoints)])
    bench = Bench(output, probes, settings, protocol, tuple(elsewhere))
    outcomes: list[Outcome] = []
    faults: list[Fault] = []
    first: CheckpointFiles | None = None
    total = probes.prompts * len(sequence.checkpoints)
    # Disabled unless standard error is a terminal.
    with tqdm(total=total, unit="prompt", disable=None, dynamic_ncols=True) as bar:
        for number, point in enumerate(sequence.checkpoints, 1):
            bar.set_description(f"{point.label} ({number}/{len(sequence.checkpoints)})")
            try:
                files = inspect(point)
                different = mismatches(files, first) if first else []
                if different:
                    raise CheckpointError(different)
                first = first or files
                outcomes.append(Outcome(point, _answer(files, bench, bar), files.weights_sha256))
            except CheckpointError as error:
                faults += error.faults
                outcomes.append(Outcome(point, "failed", None, "; ".join(map(str, error.faults))))
            bar.update(probes.prompts * number - bar.n)
            _write_index(sequence, bench, outcomes)
    if len(faults) and all(outcome.how == "failed" for outcome in outcomes):
        raise UserError(faults)
    return outcomes


def _require_writable(output: Path) -> None:
    # Told now, not after the first checkpoint's minutes.
    nearest = next(place for place in (output, *output.resolve().parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        fix = "choose another --output"
        raise UserError(Fault(str(output), f"{nearest}, which cannot be written", "a writable place", fix))


def _answer(files: CheckpointFiles, bench: Bench, bar: Any) -> str:
    folder = bench.output / files.checkpoint.label
    key = {"weights_sha256": files.weights_sha256, "protocol": bench.protocol}
    if is_finished(folder, key):
        return "kept"
    source = _same_snapshot(key, bench)
    if source is not None:
        copy_snapshot(source, folder)
        return "reused"
    model, tokenizer = load_model(files, bench.settings.dtype, bench.settings.device)
    results = ask(model, tokenizer, bench.probes, bench.settings.batch_size, bar.update)
    write_snapshot(folder, results, key)
    return "asked"


def _same_snapshot(key: dict[str, Any], bench: Bench) -> Path | None:
    # The stages of a sequence overlap too: preference training starts from the last SFT weights.
    folders = (bench.output, *bench.elsewhere)
    found = (
        place for folder in folders if folder.is_dir() for place in sorted(folder.iterdir()) if place.is_dir()
    )
    return next(
        (place for place in found if not place.name.startswith(".") and is_finished(place, key)), None
    )


def _protocol(settings: Settings, probes: Probes) -> dict[str, Any]:
    return {
        "tasks": list(settings.tasks),
        "probes_sha256": probes.sha256,
        "model_dtype": settings.dtype,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "chat_template": None,
        "versions": versions("lm-eval", "torch", "transformers", "peft", "datasets"),
    }


def _write_index(sequence: Sequence, bench: Bench, outcomes: list[Outcome]) -> None:
    value = {
        "schema": SCHEMA,
        "made_by": versions("lm-eval", "torch", "transformers"),
        "sequence": {
            "file": os.path.relpath(sequence.file, bench.output.resolve()),
            "sha256": sequence.sha256,
            "value": read_yaml(sequence.file).value,
        },
        "protocol": bench.protocol,
        "snapshots": [_index_row(outcome) for outcome in outcomes],
    }
    write_json(bench.output / INDEX, value)


def _index_row(outcome: Outcome) -> dict[str, Any]:
    point = outcome.checkpoint
    row: dict[str, Any] = {"label": point.label, "stage": point.stage, "step": point.step}
    if outcome.how == "failed":
        return {**row, "status": "failed", "reason": outcome.reason}
    return {**row, "status": "ok", "weights_sha256": outcome.weights}
