"""Traces: the ordered snapshots of a sequence, from `trace.json` or from plain lm-eval output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from valuedrift.suite.documents import Document, check
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import read_json
from valuedrift.suite.records import Checkpoint, Failure, Panel, Sequence, Snapshot, Trace
from valuedrift.suite.sequences import sequence_of
from valuedrift.suite.snapshots import read_snapshot

SCHEMA = "valuedrift/trace/1"
INDEX = "trace.json"


def read_trace(folder: Path, sequence: Sequence | None = None) -> Trace:
    """Return the trace of a folder.

    With `trace.json` (written by `valuedrift trace`) the sequence comes from there; without it, `sequence`
    says which checkpoints there are, and each is looked for in a subfolder named after its label
    (`dpo-000032`), as plain `lm_eval --log_samples --output_path` fills it.

    Raises UserError when fewer than two checkpoints are usable or when snapshots are not comparable.
    """
    index = folder / INDEX
    if not folder.is_dir():
        raise UserError(Fault(str(folder), "no such folder", "a trace", "make one with `valuedrift trace`"))
    failed: dict[str, str] = {}
    if index.is_file():
        document = Document(index, read_json(index), {})
        check(document, "trace")
        failed = {
            point["label"]: point.get("reason", "no reason recorded")
            for point in document.value["snapshots"]
            if point["status"] == "failed"
        }
        sequence = sequence or _embedded_sequence(document)
    if sequence is None:
        inside = next(iter(sorted(folder.glob(f"*/{INDEX}"))), None)
        fix = "add --sequence sequence.yaml for plain lm-eval output"
        fix = f"did you mean {inside.parent}?" if inside else fix
        raise UserError(Fault(str(folder), f"no {INDEX}", "a trace folder", fix))
    found = [_snapshot_or_failure(folder, point, failed) for point in sequence.checkpoints]
    snapshots = [each for each in found if isinstance(each, Snapshot)]
    failures = [each for each in found if isinstance(each, Failure)]
    _require_usable(folder, snapshots, failures)
    _require_comparable(folder, snapshots)
    return Trace(sequence, tuple(snapshots), tuple(failures))


def panel(trace: Trace, family: str) -> Panel | None:
    """Return the stance vectors of a family at every snapshot, None when some snapshot has not asked it.

    Items without a complete answer at some snapshot are dropped and named.
    """
    if not all(family in snapshot.families for snapshot in trace.snapshots):
        return None
    answers = [{item.item: item for item in snapshot.families[family]} for snapshot in trace.snapshots]
    every = sorted(set().union(*answers))
    kept = [name for name in every if all(name in at and at[name].stances is not None for at in answers)]
    stances = np.array([[at[name].stances for name in kept] for at in answers], dtype=np.float64)
    return Panel(
        items=tuple(kept),
        topics=tuple(answers[0][name].topic for name in kept),
        stances=stances.reshape(len(answers), len(kept), 3),
        dropped=tuple(name for name in every if name not in set(kept)),
    )


def _embedded_sequence(document: Document) -> Sequence:
    recorded: dict[str, Any] = document.value["sequence"]
    file = document.path.parent / recorded["file"]
    return sequence_of(Document(file, recorded["value"], {}), recorded["sha256"])


def _snapshot_or_failure(folder: Path, point: Checkpoint, failed: dict[str, str]) -> Snapshot | Failure:
    if point.label in failed:
        return Failure(point, failed[point.label])
    place = folder / point.label
    if not place.is_dir():
        return Failure(point, f"no snapshot folder {place}")
    snapshot = read_snapshot(place, point)
    if not any(item.stances for items in snapshot.families.values() for item in items):
        return Failure(point, "no prompt of any item was answered with a number")
    return snapshot


def _require_usable(folder: Path, snapshots: list[Snapshot], failures: list[Failure]) -> None:
    if len(snapshots) < 2:
        reasons = [Fault(str(folder), f.reason, f"a snapshot of {f.checkpoint.label}") for f in failures]
        few = Fault(str(folder), f"{len(snapshots)} usable snapshots", "at least 2: drift is a difference")
        raise UserError([few, *reasons])


def _require_comparable(folder: Path, snapshots: list[Snapshot]) -> None:
    first = snapshots[0]
    faults = []
    for other in snapshots[1:]:
        where = str(folder / other.checkpoint.label)
        if other.prompts_sha256 != first.prompts_sha256:
            found = f"other prompts than {first.checkpoint.label} was asked"
            faults.append(
                Fault(where, found, "the same probes at every checkpoint", "trace all of them again")
            )
        template, expected = (s.protocol.get("chat_template_sha") for s in (other, first))
        if template != expected:
            found = f"chat template {template}"
            faults.append(Fault(where, found, f"{expected} as at {first.checkpoint.label}"))
    if faults:
        raise UserError(faults)
