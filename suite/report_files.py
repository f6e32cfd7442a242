"""`drift.json` and its CSV: writing a drift report, reading one back."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valuedrift.suite.documents import Document, check
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import read_json, sha256_file
from valuedrift.suite.magnitude import Magnitude, debiased_tv
from valuedrift.suite.records import Estimate, Panel
from valuedrift.suite.reports import DriftReport, SpanDrift, diagnostics, identity, trajectory
from valuedrift.suite.resampling import Strata
from valuedrift.suite.timing import Timing

SCHEMA = "valuedrift/drift/1"
TOLERANCE = 1e-9
"""Largest difference between a recorded number and the one that its panel gives."""


@dataclass(frozen=True, slots=True)
class DriftFile:
    """A `drift.json` that was read."""

    path: Path
    """Where it stands."""
    sha256: str
    """Hash of its bytes."""
    value: dict[str, Any]
    """Its content, valid under `schemas/drift.schema.json`."""

    @property
    def run(self) -> str:
        """Return the name of the run."""
        return str(self.value["run"])

    def panel(self, family: str) -> Panel | None:
        """Return the stance vectors of a family, None when it was not measured."""
        found = self.value["panels"].get(family)
        if found is None:
            return None
        stances = np.array(found["stances"], dtype=np.float64).reshape(-1, len(found["items"]), 3)
        return Panel(tuple(found["items"]), tuple(found["topics"]), stances, tuple(found["dropped"]))


def report_json(report: DriftReport, made_by: dict[str, str]) -> dict[str, Any]:
    """Return the content of `drift.json`; the same trace, seed and draws give the same content."""
    sequence = report.trace.sequence
    return {
        "schema": SCHEMA,
        "made_by": made_by,
        "run": sequence.run,
        "base": sequence.base,
        "inputs": {
            "sequence_sha256": sequence.sha256,
            "snapshots": {s.checkpoint.label: s.sha256 for s in report.trace.snapshots},
            "prompts_sha256": report.trace.snapshots[0].prompts_sha256,
        },
        "resampling": {"draws": report.resampling.draws, "seed": report.resampling.seed, "unit": "item"},
        "protocol": report.trace.snapshots[0].protocol,
        "checkpoints": [
            {
                "label": snapshot.checkpoint.label,
                "stage": snapshot.checkpoint.stage,
                "step": snapshot.checkpoint.step,
                "weights_sha256": snapshot.weights,
                "missing_prompts": sum(i.missing for items in snapshot.families.values() for i in items),
                "diagnostics": {
                    family: diagnostics(snapshot, family) for family in sorted(snapshot.families)
                },
            }
            for snapshot in report.trace.snapshots
        ],
        "failures": [{"label": f.checkpoint.label, "reason": f.reason} for f in report.trace.failures],
        "spans": [_span_json(drift, report) for drift in report.spans],
        "trajectory": {name: trajectory(part, report.resampling) for name, part in report.panels.items()},
        "panels": {
            name: {
                "items": list(part.items),
                "topics": list(part.topics),
                "dropped": list(part.dropped),
                "stances": part.stances.tolist(),
            }
            for name, part in report.panels.items()
        },
    }


def read_drift(path: Path) -> DriftFile:
    """Return a `drift.json`; raises UserError with every fault when it is not one."""
    value = read_json(path)
    check(Document(path, value, {}), "drift")
    found = DriftFile(path, sha256_file(path), value)
    _require_own_numbers(found)
    return found


def _require_own_numbers(file: DriftFile) -> None:
    # Whoever edits a headline must edit the stance vectors too, and these come from samples with hashes.
    part = file.panel("stance")
    faults = []
    for number, span in enumerate(file.value["spans"]):
        where = f"{file.path} spans[{number}].values"
        if part is None or not part.items or max(span["positions"]) >= len(part.stances):
            faults.append(Fault(where, "no stance vectors", "the panel that it was computed from"))
            continue
        first, last = (part.stances[span["positions"][end]] for end in (0, -1))
        strata = Strata.of(part.topics)
        moved = strata.means(last - first)
        values = {
            "TV": 0.5 * np.abs(moved).sum(axis=1).mean(),
            "D": debiased_tv(moved, strata.standard_errors(last - first), strata.sizes),
        }
        for name, expected in values.items():
            given = span["values"][name]["value"]
            if given is None or abs(given - float(expected)) > TOLERANCE:
                fix = "compute it again with `valuedrift drift`"
                faults.append(Fault(f"{where}.{name}", str(given), f"{expected:.9f} as its panel gives", fix))
        low, middle, high = (span["values"]["D"][key] for key in ("low", "value", "high"))
        if None in (low, middle, high) or not low <= middle <= high:
            faults.append(
                Fault(f"{where}.D", f"{middle} in [{low}, {high}]", "an interval that holds its value")
            )
    if faults:
        raise UserError(faults)


def report_csv(report: DriftReport) -> str:
    """Return one row for each estimate: run, span, topic, measure, stance, value, low, high, n, method."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", "span", "topic", "measure", "stance", "value", "low", "high", "n", "method"])
    run = report.trace.sequence.run
    for drift in report.spans:
        parts = [("all", drift.values, drift.timing), *((t, m, w) for t, (m, w) in drift.topics.items())]
        rows = [(topic, *row) for topic, moved, times in parts for row in _estimates(moved, times)]
        if drift.control is not None and drift.adjusted is not None:
            rows += [("control", *row) for row in _estimates(drift.control, None)]
            rows.append(("all", "D_adjusted", "", drift.adjusted))
        for topic, measure, stance, e in rows:
            writer.writerow(
                [run, drift.span.name, topic, measure, stance, e.value, e.low, e.high, e.n, e.method]
            )
    return stream.getvalue()


def _estimates(moved: Magnitude, times: Timing | None) -> list[tuple[str, str, Estimate]]:
    rows = [("M", stance, estimate) for stance, estimate in moved.signed.items()]
    rows += [("valence", "", moved.valence), ("TV", "", moved.tv), ("D", "", moved.debiased)]
    if times is not None:
        rows.append(("t50", "", times.t50))
        rows += [("paper_eta", stance, estimate) for stance, estimate in times.paper_eta.items()]
    return rows


def _span_json(drift: SpanDrift, report: DriftReport) -> dict[str, Any]:
    span = drift.span
    return {
        "name": span.name,
        "algorithm": span.stage.algorithm,
        "data": list(span.stage.data),
        "seed": span.stage.seed,
        "identity": identity(span, report.panels),
        "positions": list(span.positions),
        "steps": list(span.steps),
        "verdict": drift.verdict,
        "floor": drift.floor,
        "D_adjusted": drift.adjusted.to_json() if drift.adjusted else None,
        "values": _magnitude_json(drift.values),
        "control": _magnitude_json(drift.control) if drift.control else None,
        "timing": _timing_json(drift.timing),
        "topics": {
            topic: {**_magnitude_json(moved), "timing": _timing_json(times)}
            for topic, (moved, times) in drift.topics.items()
        },
    }


def _magnitude_json(moved: Magnitude) -> dict[str, Any]:
    return {
        "M": {stance: estimate.to_json() for stance, estimate in moved.signed.items()},
        "valence": moved.valence.to_json(),
        "TV": moved.tv.to_json(),
        "D": moved.debiased.to_json(),
        "p_value": moved.p_value,
    }


def _timing_json(times: Timing | None) -> dict[str, Any] | None:
    if times is None:
        return None
    return {
        "t50": times.t50.to_json(),
        "paper_eta": {stance: estimate.to_json() for stance, estimate in times.paper_eta.items()},
        "overshoot_step": times.overshoot_step,
    }
