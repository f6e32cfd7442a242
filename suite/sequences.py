"""Reading and writing `sequence.yaml`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from valuedrift.suite.documents import Document, check, read_yaml, write_yaml
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.records import Checkpoint, Sequence, Stage

SCHEMA = "valuedrift/sequence/1"


def read_sequence(file: Path) -> Sequence:
    """Return the sequence of a `sequence.yaml`; its paths are made absolute from the file's folder.

    Raises UserError with every fault of the file. Whether the checkpoints exist is not looked at here.
    """
    document = read_yaml(file)
    return sequence_of(document, hashlib.sha256(file.read_bytes()).hexdigest())


def sequence_of(document: Document, sha256: str) -> Sequence:
    """Return the sequence that a parsed document describes; raises UserError with every fault."""
    check(document, "sequence")
    faults = _order_faults(document)
    if faults:
        raise UserError(faults)
    value = document.value
    return Sequence(
        run=value["run"],
        base=value["base"],
        stages=tuple(_stage(stage, document.path.resolve().parent) for stage in value["stages"]),
        file=document.path.resolve(),
        sha256=sha256,
    )


def write_sequence(file: Path, value: dict[str, Any]) -> Sequence:
    """Write a sequence document and return it as a record; with a fault, UserError and nothing written."""
    sequence_of(Document(file, value, {}), "")
    write_yaml(file, value)
    return read_sequence(file)


def _stage(value: dict[str, Any], folder: Path) -> Stage:
    return Stage(
        name=value["name"],
        algorithm=value["algorithm"],
        data=tuple(data["name"] for data in value.get("data", ())),
        seed=_whole(value.get("seed")),
        checkpoints=tuple(_checkpoint(point, value["name"], folder) for point in value["checkpoints"]),
    )


def _checkpoint(value: dict[str, Any], stage: str, folder: Path) -> Checkpoint:
    # Not resolved: a link names the checkpoint that its owner means.
    return Checkpoint(
        stage=stage,
        step=int(value["step"]),
        path=folder / value["path"] if "path" in value else None,
        hub=value.get("hub"),
        revision=value.get("revision"),
        adapter=folder / value["adapter"] if "adapter" in value else None,
    )


def _whole(value: float | None) -> int | None:
    # JSON Schema takes 1.0 for an integer.
    return None if value is None else int(value)


def _order_faults(document: Document) -> list[Fault]:
    faults: list[Fault] = []
    names: set[str] = set()
    for s, stage in enumerate(document.value["stages"]):
        if stage["name"] in names:
            where = document.where(("stages", s, "name"))
            faults.append(Fault(where, f"stage '{stage['name']}' twice", "a name that no other stage has"))
        names.add(stage["name"])
        last = -1
        for c, point in enumerate(stage["checkpoints"]):
            key = ("stages", s, "checkpoints", c)
            if point["step"] <= last:
                faults.append(
                    Fault(
                        document.where((*key, "step")),
                        f"step {point['step']} after step {last}",
                        "steps that increase within a stage",
                        "sort the checkpoints by step and keep each once",
                    )
                )
            last = point["step"]
            if ("path" in point) == ("hub" in point):
                found = "both 'path' and 'hub'" if "path" in point else "neither 'path' nor 'hub'"
                faults.append(Fault(document.where(key), found, "exactly one of them"))
            if "hub" in point and "revision" not in point:
                fix = "write the commit hash that was evaluated"
                faults.append(Fault(document.where(key), "'hub' without 'revision'", "a revision", fix))
    return faults
