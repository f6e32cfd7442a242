"""What is ranked: one entry for each stage of training that some drift file measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.magnitude import debiased_tv
from valuedrift.suite.records import Estimate, Panel
from valuedrift.suite.report_files import DriftFile
from valuedrift.suite.reports import TOTAL
from valuedrift.suite.resampling import Floats, Strata, bootstrap_means
from valuedrift.suite.timing import crossing_time, isotonic, projected_progress


@dataclass(frozen=True, slots=True)
class Entry:
    """One stage of training, measured."""

    run: str
    """Run that it was first met in."""
    stage: str
    """Stage name."""
    algorithm: str
    """Algorithm of the stage."""
    data: tuple[str, ...]
    """Data sets of the stage."""
    seed: int | None
    """Training seed."""
    shared_by: tuple[str, ...]
    """Every run that holds this same stage, `run` first."""
    magnitude: Estimate
    """Debiased total variation D."""
    adjusted: Estimate | None
    """D less that of the control."""
    t50: Estimate
    """Fraction of the stage at which half of the movement was done."""
    verdict: str
    """Whether drift is claimed."""
    source: DriftFile
    """File that it was read from."""
    span: int
    """Position of the stage in the file's spans."""

    @property
    def name(self) -> str:
        """Return `run/stage`."""
        return f"{self.run}/{self.stage}"


@dataclass(frozen=True, slots=True)
class Draws:
    """Paired bootstrap draws of every entry over the items that all of them answered."""

    magnitude: Floats
    """Debiased total variation, shape (draws, entries)."""
    t50: Floats
    """Fractions of the stage, shape (draws, entries); NaN where a draw has none."""
    items: int
    """Number of common items."""
    dropped: int
    """Items of some entry that not all have."""
    degrees_of_freedom: int
    """Common items minus topics."""


def entries(files: Sequence[DriftFile]) -> list[Entry]:
    """Return the stages of all files, each training once however many runs hold it.

    Raises UserError when two files name the same run or were asked different prompts, and when no file has a
    stage that was measured twice.
    """
    _require_comparable(files)
    found: dict[str, list[tuple[DriftFile, int, dict[str, Any]]]] = {}
    for file in files:
        for position, span in enumerate(file.value["spans"]):
            if span["name"] != TOTAL:
                found.setdefault(span["identity"], []).append((file, position, span))
    if not found:
        names = ", ".join(str(file.path) for file in files) or "no drift file"
        raise UserError(Fault(names, "no stage with two snapshots", "at least one stage to rank"))
    return [_entry(group) for group in found.values()]


def paired_draws(members: Sequence[Entry], draws: int, seed: int) -> Draws:
    """Return draws of all entries from one shared resampling of their common items.

    Raises UserError when fewer than two items a topic are common to all.
    """
    panels = [_panel(entry) for entry in members]
    common = sorted(set.intersection(*(set(part.items) for part in panels)))
    topic_of = dict(zip(panels[0].items, panels[0].topics, strict=True))
    counts = {topic: sum(topic_of[item] == topic for item in common) for topic in topic_of.values()}
    common = [item for item in common if counts[topic_of[item]] > 1]
    if not common:
        files = ", ".join(sorted({entry.source.path.name for entry in members}))
        raise UserError(
            Fault(files, "no two common items in any topic", "runs that were asked the same items")
        )
    strata = Strata.of([topic_of[item] for item in common])
    everything = set().union(*(part.items for part in panels))
    columns = [
        _entry_draws(e, p, common, strata, (draws, seed)) for e, p in zip(members, panels, strict=True)
    ]
    return Draws(
        magnitude=np.stack([column[0] for column in columns], axis=1),
        t50=np.stack([column[1] for column in columns], axis=1),
        items=len(common),
        dropped=len(everything) - len(common),
        degrees_of_freedom=strata.degrees_of_freedom,
    )


def _entry_draws(
    entry: Entry, part: Panel, common: list[str], strata: Strata, resampling: tuple[int, int]
) -> tuple[Floats, Floats]:
    where = {item: n for n, item in enumerate(part.items)}
    span = entry.source.value["spans"][entry.span]
    values = part.stances[np.ix_(span["positions"], [where[item] for item in common])].transpose(1, 0, 2)
    drawn = bootstrap_means(values, strata, *resampling)
    errors = strata.standard_errors(values[:, -1] - values[:, 0])
    size = debiased_tv(drawn[:, :, -1] - drawn[:, :, 0], errors, strata.sizes)
    if entry.t50.value is None:
        return size, np.full(len(drawn), np.nan)
    steps = np.array(span["steps"], dtype=np.float64)
    return size, crossing_time(steps, isotonic(projected_progress(drawn, steps)), 0.5)


def _entry(group: list[tuple[DriftFile, int, dict[str, Any]]]) -> Entry:
    file, position, span = group[0]
    return Entry(
        run=file.run,
        stage=span["name"],
        algorithm=span["algorithm"],
        data=tuple(span["data"]),
        seed=span["seed"],
        shared_by=tuple(dict.fromkeys(other.run for other, _, _ in group)),
        magnitude=Estimate.from_json(span["values"]["D"]),
        adjusted=Estimate.from_json(span["D_adjusted"]) if span["D_adjusted"] else None,
        t50=_time(span),
        verdict=span["verdict"],
        source=file,
        span=position,
    )


def _time(span: dict[str, Any]) -> Estimate:
    # A drift that is not claimed has no time that could be ranked.
    if span["verdict"] != "drift":
        return Estimate(None, None, None, span["timing"]["t50"]["n"], f"undefined: {span['verdict']}")
    return Estimate.from_json(span["timing"]["t50"])


def _panel(entry: Entry) -> Panel:
    part = entry.source.panel("stance")
    if part is None:
        raise UserError(Fault(str(entry.source.path), "no stance panel", "a drift file of valuedrift"))
    return part


def _require_comparable(files: Sequence[DriftFile]) -> None:
    faults = []
    seen: dict[str, DriftFile] = {}
    for file in files:
        if file.run in seen:
            found = f"run '{file.run}' again (first in {seen[file.run].path})"
            faults.append(Fault(f"{file.path} run", found, "a name that no other drift file has"))
        seen[file.run] = file
        prompts, expected = (f.value["inputs"]["prompts_sha256"] for f in (file, files[0]))
        if prompts != expected:
            where = f"{file.path} inputs.prompts_sha256"
            faults.append(
                Fault(where, prompts[:12], f"{expected[:12]} as in {files[0].path}", "trace both alike")
            )
    if faults:
        raise UserError(faults)
