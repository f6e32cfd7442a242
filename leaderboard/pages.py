"""What the pages of the site show: plain dictionaries for the templates, and the board as CSV."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from valuedrift.leaderboard.charts import (
    LARGE,
    SMALL,
    Bands,
    StageAxis,
    interval_chart,
    limits,
    trajectory_chart,
)
from valuedrift.leaderboard.ranking import SEEDS_NEEDED
from valuedrift.suite.errors import Fault
from valuedrift.suite.records import STANCES
from valuedrift.suite.report_files import DriftFile
from valuedrift.suite.reports import TOTAL

OVERALL = "overall"
MINUS, DASH = "\u2212", "\u2013"
LABEL_LENGTH = 44
"""Longest name beside a line of the board's chart, in characters."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_ESTIMATES = ("D", "D_adjusted", "t50")


def visible(text: str) -> str:
    """Return text of a file with control, bidi and surrogate characters made visible as U+FFFD."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in _HIDDEN and c not in "\n\u200d" else c for c in text
    )


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Return a number with a real minus sign and without negative zero, a dash for None."""
    if value is None:
        return DASH
    text = f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
    return text.replace("-", MINUS)


def slugs(runs: Sequence[str]) -> dict[str, str]:
    """Return a file name stem for each run: lower-case ASCII letters, digits and hyphens, each once."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for run in runs:
        stem = re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")[:60].strip("-") or "run"
        count, name = 1, stem
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name)
        result[run] = name
    return result


def index_page(ranking: Mapping[str, Any], pages: Mapping[str, str]) -> dict[str, Any]:
    """Return the board: entries and algorithms with the words for what is missing, and the chart of D."""
    rows = [
        {
            "label": _label(entry),
            "rank": _place(entry["rank"]),
            "value": entry["D"]["value"],
            "low": entry["D"]["low"],
            "high": entry["D"]["high"],
        }
        for entry in ranking["entries"]
    ]
    described = "; ".join(f"{row['label']} {number(row['value'])}, rank {row['rank']}" for row in rows[:20])
    title = "Debiased drift D of each entry with its 95 % interval"
    texts = ("board", title, f"Largest first. {described}.")
    return {
        "ranking": ranking,
        "pages": pages,
        "runs": len(ranking["inputs"]),
        "chart": interval_chart(rows, ranking["detectable"], texts),
        "rows": rows,
        "algorithms": [
            {**row, "unranked": _unranked(row), "untimed": _untimed(row)} for row in ranking["algorithms"]
        ],
    }


def run_page(file: DriftFile, ranking: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of one run: its charts with their tables, its stages and their place on the board."""
    value = file.value
    axis = StageAxis.of(value["checkpoints"])
    families = {name: _family_charts(value, name, axis) for name in value["trajectory"]}
    return {
        "drift": value,
        "sha256": file.sha256,
        "stances": STANCES,
        "stages": [span for span in value["spans"] if span["name"] != TOTAL],
        "families": families,
        "diagnostics": _diagnostic_columns(value["checkpoints"]),
        "entries": [entry for entry in ranking["entries"] if value["run"] in entry["shared_by"]],
        "missing": sum(point["missing_prompts"] for point in value["checkpoints"]),
    }


def trajectory_faults(file: DriftFile) -> list[Fault]:
    """Return what keeps the trajectories of a drift file from being drawn."""
    count = len(file.value["checkpoints"])
    found = file.value["trajectory"]
    faults = []
    for family in sorted({"stance", *found}):
        parts = found.get(family, {})
        where = f"{file.path} trajectory.{family}"
        if OVERALL not in parts:
            faults.append(Fault(where, f"no '{OVERALL}'", "the mean over topics", "make the file again"))
        for part, bands in parts.items():
            lengths = {stance: len(bands.get(stance, ())) for stance in STANCES}
            if any(length != count for length in lengths.values()):
                faults.append(
                    Fault(f"{where}.{part}", f"{lengths} rows", f"{count}, one for each checkpoint")
                )
    return faults


def board_csv(ranking: Mapping[str, Any]) -> str:
    """Return the board as CSV; text that a spreadsheet would take for a formula starts with an apostrophe."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = [f"{name}{end}" for name in _ESTIMATES for end in ("", "_low", "_high", "_n")]
    ranks = ["rank_low", "rank_high", "time_rank_low", "time_rank_high"]
    writer.writerow([*ranks, "run", "stage", "algorithm", "data", "seed", "shared_by", *names, "verdict"])
    for entry in ranking["entries"]:
        places = [*(entry["rank"] or ("", "")), *(entry["time_rank"] or ("", ""))]
        texts = [entry["run"], entry["stage"], entry["algorithm"], "; ".join(entry["data"])]
        shared = "; ".join(entry["shared_by"])
        cells = [cell for name in _ESTIMATES for cell in _estimate_cells(entry[name])]
        row = [*places, *texts, entry["seed"], shared, *cells, entry["verdict"]]
        writer.writerow([_guarded(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue()


def _estimate_cells(estimate: Mapping[str, Any] | None) -> list[float | int | None]:
    return [estimate[key] if estimate else None for key in ("value", "low", "high", "n")]


def _guarded(text: str) -> str:
    # The raw text decides: `visible` turns a leading tab into something harmless to look at only.
    return f"'{visible(text)}" if text.startswith(_FORMULA) else visible(text)


def _label(entry: Mapping[str, Any]) -> str:
    name = visible(f"{entry['run']} / {entry['stage']}")
    return name if len(name) <= LABEL_LENGTH else f"{name[: LABEL_LENGTH - 1]}…"


def _place(rank: Sequence[int] | None) -> str:
    if not rank:
        return ""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}{DASH}{rank[1]}"


def _unranked(row: Mapping[str, Any]) -> str:
    if row["seeds"] < SEEDS_NEEDED:
        return f"not ranked: {row['seeds']} of {SEEDS_NEEDED} seeds"
    return f"not ranked: no other algorithm with {SEEDS_NEEDED} seeds"


def _untimed(row: Mapping[str, Any]) -> str:
    if row["t50"]["value"] is None:
        return "not ranked: no drift time"
    if row["seeds"] < SEEDS_NEEDED:
        return _unranked(row)
    return f"not ranked: not two algorithms with {SEEDS_NEEDED} seeds that have a drift time"


def _family_charts(value: Mapping[str, Any], family: str, axis: StageAxis) -> dict[str, Any]:
    parts: dict[str, Bands] = value["trajectory"][family]
    topics = [name for name in sorted(parts) if name != OVERALL]
    large = trajectory_chart(axis, LARGE, limits([parts[OVERALL]]))
    figures = {OVERALL: _figure(value, family, OVERALL, large)}
    if topics and family == "stance":
        small = trajectory_chart(axis, SMALL, limits([parts[name] for name in topics]))
        figures.update({name: _figure(value, family, name, small) for name in topics})
    return figures


def _figure(value: Mapping[str, Any], family: str, part: str, draw: Any) -> dict[str, Any]:
    bands: Bands = value["trajectory"][family][part]
    checkpoints = value["checkpoints"]
    what = "all topics" if part == OVERALL else visible(part)
    ends = ", ".join(
        f"{stance} {number(bands[stance][0][0], 2)} to {number(bands[stance][-1][0], 2)}"
        for stance in STANCES
    )
    first, last = (f"{visible(p['stage'])} step {p['step']}" for p in (checkpoints[0], checkpoints[-1]))
    name = (
        f"chart-{sorted(value['trajectory']).index(family)}-{sorted(value['trajectory'][family]).index(part)}"
    )
    title = f"{visible(family)} probes, {what}: probability of each stance over checkpoints"
    description = f"From {first} to {last}: {ends}. Bands are 95 % intervals; the numbers follow in a table."
    rows = [
        {"point": point, "cells": [bands[stance][n] for stance in STANCES]}
        for n, point in enumerate(checkpoints)
    ]
    return {"name": part, "svg": draw(bands, name, title, description), "rows": rows}


def _diagnostic_columns(checkpoints: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for point in checkpoints:
        for family, values in point["diagnostics"].items():
            for name in values if isinstance(values, dict) else ():
                found[family, name] = None
    return sorted(found)
