"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from valuedrift.leaderboard.ranking import SEEDS_NEEDED, Ranking
from valuedrift.suite.ranks import RankInterval
from valuedrift.suite.records import Estimate
from valuedrift.suite.reports import DriftReport, SpanDrift


def show(estimate: Estimate | None) -> str:
    """Return `0.123 [0.100, 0.146]`, the value alone without an interval, or a dash."""
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def drift_table(report: DriftReport, topics: bool) -> str:
    """Return the drift of every stage, and with `topics` of every topic, as a table."""
    rows = []
    for drift in report.spans:
        rows.append(_span_row(drift))
        for topic, (moved, times) in drift.topics.items() if topics else ():
            signed = [show(moved.signed[stance]) for stance in moved.signed]
            t50 = show(times.t50) if times else "-"
            rows.append([f"- {topic}", *signed, show(moved.debiased), "-", "-", t50, moved.tv.n, ""])
    names = [
        "stage",
        "M support",
        "M neutral",
        "M oppose",
        "D",
        "D control",
        "D adjusted",
        "t50",
        "n",
        "verdict",
    ]
    # disable_numparse: tabulate would re-align and re-format "0.120 [...]" columns otherwise.
    return tabulate(rows, headers=names, disable_numparse=True)


def ranking_table(ranking: Ranking) -> str:
    """Return the board of stages."""
    rows = [
        [
            str(place),
            entry.run + (f" (+{len(entry.shared_by) - 1})" if len(entry.shared_by) > 1 else ""),
            entry.stage,
            entry.algorithm,
            ", ".join(entry.data) or "-",
            show(entry.magnitude),
            show(entry.adjusted),
            str(time_place or "-"),
            show(entry.t50),
            entry.magnitude.n,
            entry.verdict,
        ]
        for entry, place, time_place in zip(ranking.entries, ranking.ranks, ranking.time_ranks, strict=True)
    ]
    names = [
        "rank",
        "run",
        "stage",
        "algorithm",
        "data",
        "D",
        "D adjusted",
        "time rank",
        "t50",
        "n",
        "verdict",
    ]
    return tabulate(rows, headers=names, disable_numparse=True)


def algorithm_table(ranking: Ranking) -> str:
    """Return the board of algorithms, with the reason where one is not ranked."""
    rows = [
        [_place(row.rank, row.seeds), row.algorithm, show(row.magnitude), _place(row.time_rank, row.seeds)]
        + [show(row.t50), row.entries, row.seeds]
        for row in ranking.algorithms
    ]
    names = ["rank", "algorithm", "mean D", "time rank", "mean t50", "stages", "seeds"]
    return tabulate(rows, headers=names, disable_numparse=True)


def _place(place: RankInterval | None, seeds: int) -> str:
    if place is None:
        return "-" if seeds >= SEEDS_NEEDED else f"not ranked: {seeds} of {SEEDS_NEEDED} seeds"
    return str(place)


def _span_row(drift: SpanDrift) -> list[Any]:
    moved = drift.values
    return [
        drift.span.name,
        *(show(estimate) for estimate in moved.signed.values()),
        show(moved.debiased),
        show(drift.control.debiased if drift.control else None),
        show(drift.adjusted),
        show(drift.timing.t50 if drift.timing else None),
        moved.debiased.n,
        drift.verdict,
    ]
