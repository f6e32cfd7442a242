"""The ranking of runs and algorithms by magnitude and by time: what `ranking.json` holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from valuedrift.leaderboard.entries import Draws, Entry, entries, paired_draws
from valuedrift.suite.documents import Document, check
from valuedrift.suite.files import read_json
from valuedrift.suite.magnitude import LEVEL, Resampling
from valuedrift.suite.ranks import RankInterval, resample_seeds, simultaneous_ranks
from valuedrift.suite.records import Estimate
from valuedrift.suite.report_files import DriftFile
from valuedrift.suite.resampling import Floats

SCHEMA = "valuedrift/ranking/1"
SEEDS_NEEDED = 3
"""Training seeds below which an algorithm is listed and not ranked."""
POWER = 0.8
"""Power of the printed minimum detectable effect."""


@dataclass(frozen=True, slots=True)
class AlgorithmRow:
    """One algorithm over all its entries."""

    algorithm: str
    """Name."""
    magnitude: Estimate
    """Mean debiased total variation."""
    t50: Estimate
    """Mean drift time of the entries that have one."""
    seeds: int
    """Distinct training seeds."""
    entries: int
    """Entries behind it."""
    rank: RankInterval | None
    """Rank by magnitude; None under three seeds."""
    time_rank: RankInterval | None
    """Rank by time, earliest first; None under three seeds or without drift times."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Entries and algorithms with their rank intervals."""

    entries: tuple[Entry, ...]
    """Entries, largest magnitude first."""
    ranks: tuple[RankInterval, ...]
    """Rank by magnitude of each entry."""
    time_ranks: tuple[RankInterval | None, ...]
    """Rank by t50 of each entry, earliest first; None where the time is undefined."""
    algorithms: tuple[AlgorithmRow, ...]
    """Algorithms, largest magnitude first."""
    detectable: float
    """Median over entries of the debiased drift found with power .8 (two-sided, level .05)."""
    draws: Draws
    """The paired draws."""
    resampling: Resampling
    """Draws and seed."""


def rank(files: Sequence[DriftFile], resampling: Resampling) -> Ranking:
    """Return the ranking of drift files; raises UserError when they cannot be compared."""
    found = sorted(entries(files), key=lambda entry: (-(entry.magnitude.value or 0.0), entry.name))
    drawn = paired_draws(found, resampling.draws, resampling.seed)
    sizes = np.array([entry.magnitude.value for entry in found], dtype=np.float64)
    times = np.array([np.nan if entry.t50.value is None else entry.t50.value for entry in found])
    return Ranking(
        entries=tuple(found),
        ranks=tuple(simultaneous_ranks(sizes, drawn.magnitude)),
        time_ranks=tuple(_time_ranks(times, drawn.t50)),
        algorithms=tuple(_algorithms(found, drawn, resampling.seed)),
        detectable=_detectable(found),
        draws=drawn,
        resampling=resampling,
    )


def ranking_json(ranking: Ranking, output: Path, made_by: dict[str, str]) -> dict[str, Any]:
    """Return the content of `ranking.json`; drift files are named relative to `output`."""
    files = {entry.source.path: entry.source for entry in ranking.entries}
    rows = zip(ranking.entries, ranking.ranks, ranking.time_ranks, strict=True)
    return {
        "schema": SCHEMA,
        "made_by": made_by,
        "inputs": [
            {"file": os.path.relpath(path, output.parent), "sha256": file.sha256, "run": file.run}
            for path, file in sorted(files.items())
        ],
        "resampling": {"draws": ranking.resampling.draws, "seed": ranking.resampling.seed, "unit": "item"},
        "items": ranking.draws.items,
        "items_dropped": ranking.draws.dropped,
        "detectable": ranking.detectable,
        "entries": [
            {
                "run": entry.run,
                "stage": entry.stage,
                "algorithm": entry.algorithm,
                "data": list(entry.data),
                "seed": entry.seed,
                "shared_by": list(entry.shared_by),
                "D": entry.magnitude.to_json(),
                "D_adjusted": entry.adjusted.to_json() if entry.adjusted else None,
                "t50": entry.t50.to_json(),
                "verdict": entry.verdict,
                "rank": _rank_json(place),
                "time_rank": _rank_json(time_place),
            }
            for entry, place, time_place in rows
        ],
        "algorithms": [
            {
                "algorithm": row.algorithm,
                "D": row.magnitude.to_json(),
                "t50": row.t50.to_json(),
                "seeds": row.seeds,
                "entries": row.entries,
                "rank": _rank_json(row.rank),
                "time_rank": _rank_json(row.time_rank),
            }
            for row in ranking.algorithms
        ],
    }


def read_ranking(path: Path) -> dict[str, Any]:
    """Return a `ranking.json`; raises UserError with every fault when it is not one."""
    value: dict[str, Any] = read_json(path)
    check(Document(path, value, {}), "ranking")
    return value


def _time_ranks(times: Floats, drawn: Floats) -> list[RankInterval | None]:
    known = np.flatnonzero(np.isfinite(times))
    result: list[RankInterval | None] = [None] * len(times)
    if len(known):
        # Ranks put the largest first; the earliest time is the largest of the negated ones.
        for position, place in zip(known, simultaneous_ranks(-times[known], -drawn[:, known]), strict=True):
            result[int(position)] = place
    return result


def _algorithms(found: list[Entry], drawn: Draws, seed: int) -> list[AlgorithmRow]:
    names = sorted({entry.algorithm for entry in found})
    rows, sizes, times = [], [], []
    for name in names:
        members = [n for n, entry in enumerate(found) if entry.algorithm == name]
        seeds = sorted({found[n].seed for n in members}, key=str)
        size_draws = _over_seeds(drawn.magnitude, members, found, seed)
        time_draws = _over_seeds(drawn.t50, members, found, seed)
        values = [found[n].magnitude.value for n in members]
        known = [v for n in members if (v := found[n].t50.value) is not None]
        count = sum(s is not None for s in seeds)
        size = _summary([v for v in values if v is not None], size_draws, count)
        rows.append(
            AlgorithmRow(name, size, _summary(known, time_draws, count), count, len(members), None, None)
        )
        sizes.append(size_draws)
        times.append(time_draws)
    places = _algorithm_ranks([row.magnitude for row in rows], [row.seeds for row in rows], sizes, 1)
    time_places = _algorithm_ranks([row.t50 for row in rows], [row.seeds for row in rows], times, -1)
    ranked = [
        AlgorithmRow(r.algorithm, r.magnitude, r.t50, r.seeds, r.entries, place, time_place)
        for r, place, time_place in zip(rows, places, time_places, strict=True)
    ]
    return sorted(ranked, key=lambda row: (-(row.magnitude.value or 0.0), row.algorithm))


def _over_seeds(drawn: Floats, members: list[int], found: list[Entry], seed: int) -> Floats:
    by_seed: dict[int | None, list[int]] = {}
    for n in members:
        if np.isfinite(drawn[:, n]).any():
            by_seed.setdefault(found[n].seed, []).append(n)
    if not by_seed:
        return np.full(len(drawn), np.nan)
    columns = np.stack([np.nanmean(drawn[:, group], axis=1) for group in by_seed.values()], axis=1)
    return resample_seeds(columns, seed) if len(by_seed) >= SEEDS_NEEDED else columns.mean(axis=1)


def _summary(values: list[float], drawn: Floats, seeds: int) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if not values or not len(known):
        return Estimate(None, None, None, 0, "undefined: no entry has a drift time")
    ranked = seeds >= SEEDS_NEEDED
    reason = f"{seeds} of {SEEDS_NEEDED} seeds, so not ranked and no seed variation in the interval"
    method = "seeds, then items resampled, t interval" if ranked else f"items resampled; {reason}"
    half = float(stats.t.ppf((1 + LEVEL) / 2, seeds - 1) if ranked else stats.norm.ppf((1 + LEVEL) / 2))
    middle, half = float(np.mean(values)), half * float(known.std(ddof=1))
    return Estimate(middle, middle - half, middle + half, len(values), method, LEVEL)


def _algorithm_ranks(
    estimates: list[Estimate], seeds: list[int], drawn: list[Floats], sign: int
) -> list[RankInterval | None]:
    ready = [n for n, e in enumerate(estimates) if e.value is not None and seeds[n] >= SEEDS_NEEDED]
    result: list[RankInterval | None] = [None] * len(estimates)
    if len(ready) > 1:
        values = sign * np.array([estimates[n].value for n in ready], dtype=np.float64)
        places = simultaneous_ranks(values, sign * np.stack([drawn[n] for n in ready], axis=1))
        for n, place in zip(ready, places, strict=True):
            result[n] = place
    return result


def _detectable(found: list[Entry]) -> float:
    quantile = float(stats.norm.ppf((1 + LEVEL) / 2))
    halves = [(e.magnitude.high - e.magnitude.low) / 2 for e in found if e.magnitude.high and e.magnitude.low]
    return (
        float(np.median(halves)) * (quantile + float(stats.norm.ppf(POWER))) / quantile
        if halves
        else float("nan")
    )


def _rank_json(place: RankInterval | None) -> list[int] | None:
    return [place.low, place.high] if place else None
