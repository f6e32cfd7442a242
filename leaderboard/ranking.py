"""The ranking of runs and algorithms by magnitude and by time: what `ranking.json` holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from valuedrift.leaderboard.entries import Draws, Entry, entries, paired_draws
from valuedrift.suite.documents import Document, check
from valuedrift.suite.files import read_json
from valuedrift.suite.magnitude import LEVEL, Resampling
from valuedrift.suite.ranks import RankInterval, resample_seeds, seeds_critical, simultaneous_ranks
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
    """Mean over training seeds of the debiased total variation."""
    t50: Estimate
    """The same of the drift times that are defined."""
    seeds: int
    """Distinct training seeds."""
    entries: int
    """Entries behind it."""
    rank: RankInterval | None
    """Rank by magnitude; None under three seeds."""
    time_rank: RankInterval | None
    """Rank by time, earliest first; None under three seeds with a drift time."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """One measure of one algorithm, over its training seeds."""

    estimate: Estimate
    """Mean over seeds."""
    drawn: Floats
    """Its draws, shape (draws,)."""
    seeds: int
    """Known training seeds behind it."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Entries and algorithms with their rank intervals."""

    files: tuple[DriftFile, ...]
    """Every drift file, also one whose stages were all met in other files before."""
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
    # The same board whatever the order of the arguments: a shared stage bears the name of its first run.
    files = sorted(files, key=lambda file: file.run)
    found = sorted(entries(files), key=lambda entry: (-(entry.magnitude.value or 0.0), entry.name))
    drawn = paired_draws(found, resampling.draws, resampling.seed)
    sizes = np.array([entry.magnitude.value for entry in found], dtype=np.float64)
    times = np.array([np.nan if entry.t50.value is None else entry.t50.value for entry in found])
    return Ranking(
        files=tuple(files),
        entries=tuple(found),
        ranks=tuple(simultaneous_ranks(sizes, drawn.magnitude, drawn.degrees_of_freedom)),
        time_ranks=tuple(_time_ranks(times, drawn)),
        algorithms=tuple(_algorithms(found, drawn, resampling.seed)),
        detectable=_detectable(found),
        draws=drawn,
        resampling=resampling,
    )


def ranking_json(ranking: Ranking, output: Path, made_by: dict[str, str]) -> dict[str, Any]:
    """Return the content of `ranking.json`; drift files are named relative to `output`."""
    rows = zip(ranking.entries, ranking.ranks, ranking.time_ranks, strict=True)
    return {
        "schema": SCHEMA,
        "made_by": made_by,
        "inputs": [
            {"file": os.path.relpath(file.path, output.parent), "sha256": file.sha256, "run": file.run}
            for file in sorted(ranking.files, key=lambda file: file.run)
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


def _time_ranks(times: Floats, drawn: Draws) -> list[RankInterval | None]:
    known = np.flatnonzero(np.isfinite(times))
    result: list[RankInterval | None] = [None] * len(times)
    if len(known):
        # Ranks put the largest first; the earliest time is the largest of the negated ones.
        places = simultaneous_ranks(-times[known], -drawn.t50[:, known], drawn.degrees_of_freedom)
        for position, place in zip(known, places, strict=True):
            result[int(position)] = place
    return result


def _algorithms(found: list[Entry], drawn: Draws, seed: int) -> list[AlgorithmRow]:
    rows, sizes, times = [], [], []
    for stream, name in enumerate(sorted({entry.algorithm for entry in found})):
        chosen = [n for n, entry in enumerate(found) if entry.algorithm == name]
        members = [found[n] for n in chosen]
        sizes.append(
            _pooled(members, [e.magnitude for e in members], drawn.magnitude[:, chosen], (seed, stream))
        )
        times.append(_pooled(members, [e.t50 for e in members], drawn.t50[:, chosen], (seed, stream)))
        t50 = _within_stage(times[-1].estimate)
        rows.append(AlgorithmRow(name, sizes[-1].estimate, t50, sizes[-1].seeds, len(members), None, None))
    places, time_places = _algorithm_ranks(sizes, 1), _algorithm_ranks(times, -1)
    ranked = [
        replace(row, rank=place, time_rank=time_place)
        for row, place, time_place in zip(rows, places, time_places, strict=True)
    ]
    return sorted(ranked, key=lambda row: (-(row.magnitude.value or 0.0), row.algorithm))


def _pooled(
    members: list[Entry], estimates: list[Estimate], drawn: Floats, resampling: tuple[int, int]
) -> Pooled:
    by_seed: dict[int | None, list[int]] = {}
    values: dict[int | None, list[float]] = {}
    for n, (entry, estimate) in enumerate(zip(members, estimates, strict=True)):
        if estimate.value is not None and np.isfinite(drawn[:, n]).any():
            by_seed.setdefault(entry.seed, []).append(n)
            values.setdefault(entry.seed, []).append(estimate.value)
    if not by_seed:
        undefined = Estimate(None, None, None, 0, "undefined: no entry has a drift time")
        return Pooled(undefined, np.full(len(drawn), np.nan), 0)
    seeds = sum(seed is not None for seed in by_seed)
    # A draw without a time in some entry says nothing about the mean over all of them.
    columns = np.stack([drawn[:, group].mean(axis=1) for group in by_seed.values()], axis=1)
    ranked = seeds >= SEEDS_NEEDED
    pooled = resample_seeds(columns, *resampling) if ranked else columns.mean(axis=1)
    value = float(np.mean([np.mean(group) for group in values.values()]))
    reason = f"{seeds} of {SEEDS_NEEDED} seeds, so not ranked and no seed variation in the interval"
    method = "seeds, then items resampled, t interval" if ranked else f"items resampled; {reason}"
    quantile = stats.t.ppf((1 + LEVEL) / 2, seeds - 1) if ranked else stats.norm.ppf((1 + LEVEL) / 2)
    half = float(quantile * pooled[np.isfinite(pooled)].std(ddof=1))
    n = sum(len(group) for group in by_seed.values())
    return Pooled(Estimate(value, value - half, value + half, n, method, LEVEL), pooled, seeds)


def _within_stage(t50: Estimate) -> Estimate:
    # A fraction of a stage: the t interval of three seeds reaches beyond both of its ends.
    if t50.low is None or t50.high is None:
        return t50
    return replace(t50, low=max(0.0, t50.low), high=min(1.0, t50.high))


def _algorithm_ranks(pooled: list[Pooled], sign: int) -> list[RankInterval | None]:
    ready = [n for n, part in enumerate(pooled) if part.seeds >= SEEDS_NEEDED]
    result: list[RankInterval | None] = [None] * len(pooled)
    if len(ready) > 1:
        values = sign * np.array([pooled[n].estimate.value for n in ready], dtype=np.float64)
        drawn = sign * np.stack([pooled[n].drawn for n in ready], axis=1)
        seeds = min(pooled[n].seeds for n in ready)
        places = simultaneous_ranks(values, drawn, 2 * (seeds - 1), seeds_critical(len(ready), seeds))
        for n, place in zip(ready, places, strict=True):
            result[n] = place
    return result


def _detectable(found: list[Entry]) -> float:
    quantile = float(stats.norm.ppf((1 + LEVEL) / 2))
    sizes = [entry.magnitude for entry in found]
    halves = [(e.high - e.low) / 2 for e in sizes if e.high is not None and e.low is not None]
    if not halves:
        return float("nan")
    return float(np.median(halves)) * (quantile + float(stats.norm.ppf(POWER))) / quantile


def _rank_json(place: RankInterval | None) -> list[int] | None:
    return [place.low, place.high] if place else None
