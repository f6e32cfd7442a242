"""The drift report of a trace: what `drift.json` holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import sha256_json
from valuedrift.suite.magnitude import Magnitude, Resampling, difference, magnitude, t_quantile
from valuedrift.suite.records import STANCES, Estimate, Panel, Snapshot, Stage, Trace
from valuedrift.suite.resampling import Floats, Strata, bootstrap_means
from valuedrift.suite.timing import Timing, timing
from valuedrift.suite.traces import panel

VALUES, CONTROL = "stance", "control"
TOTAL = "total"
"""Name of the span from the first to the last snapshot."""
CLAIM_LEVEL = 0.05
"""Level of the test behind a claim of drift."""


@dataclass(frozen=True, slots=True)
class Span:
    """The checkpoints of one stage, its starting point first."""

    name: str
    """Stage name, or `total` for the whole run."""
    stage: Stage
    """The stage; for `total` the last one."""
    positions: tuple[int, ...]
    """Positions of its snapshots in the trace."""
    steps: tuple[int, ...]
    """Steps of these snapshots within the stage."""


@dataclass(frozen=True, slots=True)
class SpanDrift:
    """Drift over one span, of the value probes and of the control."""

    span: Span
    """What was compared."""
    values: Magnitude
    """Movement of the value probes."""
    control: Magnitude | None
    """Movement of the control facts; None when they were not asked."""
    adjusted: Estimate | None
    """Debiased drift of the values less that of the control."""
    floor: float | None
    """One-sided 95 % upper limit of the control's debiased drift: the noise floor."""
    verdict: str
    """`drift`, `within noise floor` or `not claimed`, with the reason."""
    timing: Timing | None
    """When it happened; None for `total`."""
    topics: dict[str, tuple[Magnitude, Timing | None]]
    """The same by topic."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Drift of a whole run."""

    trace: Trace
    """What was measured."""
    panels: dict[str, Panel]
    """Stance vectors by family."""
    spans: tuple[SpanDrift, ...]
    """One for each stage with at least two snapshots, then `total`."""
    resampling: Resampling
    """Draws and seed."""


def drift_report(trace: Trace, resampling: Resampling) -> DriftReport:
    """Return the drift of every stage and of the whole run.

    Raises UserError when the value probes were not asked at every snapshot or leave under two items a topic.
    """
    panels = {name: found for name in (VALUES, CONTROL) if (found := panel(trace, name)) is not None}
    where = str(trace.sequence.file)
    if VALUES not in panels:
        fix = "trace with --tasks valuedrift"
        raise UserError(
            Fault(where, "snapshots without valuedrift_stance samples", "stance probes at each", fix)
        )
    panels = {name: _complete_topics(part) for name, part in panels.items()}
    if not panels[VALUES].items:
        raise UserError(Fault(where, "no topic with two fully answered items", "answers at every snapshot"))
    if CONTROL in panels and not panels[CONTROL].items:
        del panels[CONTROL]
    drifts = [_span_drift(span, panels, resampling) for span in spans(trace)]
    return DriftReport(trace, panels, tuple(drifts), resampling)


def spans(trace: Trace) -> list[Span]:
    """Return the stages that have two snapshots or more, then `total`.

    A stage without a snapshot at step 0 starts from the end of the stage before it. Where that end was not
    measured, it starts from its own first snapshot: it does not answer for the drift of another stage.
    """
    result = []
    previous: int | None = None
    for stage in trace.sequence.stages:
        own = [n for n, snapshot in enumerate(trace.snapshots) if snapshot.checkpoint.stage == stage.name]
        steps = [trace.snapshots[n].checkpoint.step for n in own]
        if own and steps[0] != 0 and previous is not None:
            own, steps = [previous, *own], [0, *steps]
        if len(own) > 1:
            result.append(Span(stage.name, stage, tuple(own), tuple(steps)))
        ended = bool(own) and trace.snapshots[own[-1]].checkpoint == stage.checkpoints[-1]
        previous = own[-1] if ended else None
    everything = tuple(range(len(trace.snapshots)))
    return [*result, Span(TOTAL, trace.sequence.stages[-1], everything, everything)]


def _span_drift(span: Span, panels: dict[str, Panel], resampling: Resampling) -> SpanDrift:
    values, control = panels[VALUES], panels.get(CONTROL)
    moved = _magnitude(values, span, resampling)
    moved_control = _magnitude(control, span, resampling) if control else None
    adjusted, floor = None, None
    if moved_control:
        adjusted = difference(
            moved.debiased, _at_least_zero(moved_control.debiased), "D less control's D or 0"
        )
        floor = _upper_limit(moved_control.debiased)
    topics = {}
    for topic in values.topic_names:
        chosen = [n for n, name in enumerate(values.topics) if name == topic]
        part = Panel(
            tuple(values.items[n] for n in chosen), (topic,) * len(chosen), values.stances[:, chosen]
        )
        part_moved = _magnitude(part, span, resampling)
        topics[topic] = (part_moved, _timing(part, span, part_moved.p_value, resampling))
    verdict = _verdict(moved, adjusted, floor)
    times = _timing(values, span, moved.p_value, resampling)
    return SpanDrift(span, moved, moved_control, adjusted, floor, verdict, times, topics)


def _magnitude(part: Panel, span: Span, resampling: Resampling) -> Magnitude:
    before, after = part.stances[span.positions[0]], part.stances[span.positions[-1]]
    return magnitude(before, after, part.topics, resampling)


def _timing(part: Panel, span: Span, p_value: float, resampling: Resampling) -> Timing | None:
    if span.name == TOTAL:
        return None
    strata = Strata.of(part.topics)
    values = part.stances[list(span.positions)].transpose(1, 0, 2)
    drawn = bootstrap_means(values, strata, resampling.draws, resampling.seed)
    steps = np.array(span.steps, dtype=np.float64)
    return timing(steps, strata.means(values), drawn, p_value, len(part.items))


def _at_least_zero(estimate: Estimate) -> Estimate:
    # A debiased distance below 0 is noise: subtracting it would make the values' drift larger than it reads.
    if estimate.value is None or estimate.low is None or estimate.high is None or estimate.value >= 0:
        return estimate
    low, high = estimate.low - estimate.value, estimate.high - estimate.value
    return Estimate(0.0, low, high, estimate.n, estimate.method, estimate.level)


def _upper_limit(estimate: Estimate) -> float | None:
    if estimate.value is None or estimate.high is None:
        return None
    # The interval is two-sided; its half-width is rescaled to the one-sided 95 % quantile.
    ratio = float(stats.norm.ppf(0.95) / stats.norm.ppf((1 + estimate.level) / 2))
    return max(0.0, estimate.value + ratio * (estimate.high - estimate.value))


def _verdict(moved: Magnitude, adjusted: Estimate | None, floor: float | None) -> str:
    if adjusted is None or floor is None or adjusted.low is None or moved.debiased.value is None:
        return "not claimed: no control family"
    if moved.p_value >= CLAIM_LEVEL:
        return f"within noise floor: sign-flip p = {moved.p_value:.3f}"
    if moved.debiased.value <= floor:
        return f"within noise floor: D {moved.debiased.value:.3f} <= floor {floor:.3f}"
    if adjusted.low <= 0:
        return "within noise floor: interval of D less control includes 0"
    return "drift"


def _complete_topics(part: Panel) -> Panel:
    counts = {topic: part.topics.count(topic) for topic in part.topics}
    kept = [n for n, topic in enumerate(part.topics) if counts[topic] > 1]
    lost = tuple(part.items[n] for n in range(len(part.items)) if n not in set(kept))
    return Panel(
        tuple(part.items[n] for n in kept),
        tuple(part.topics[n] for n in kept),
        part.stances[:, kept],
        tuple(sorted(part.dropped + lost)),
    )


def trajectory(part: Panel, resampling: Resampling) -> dict[str, Any]:
    """Return stance means with intervals at every snapshot, overall and by topic, ready for JSON."""
    strata = Strata.of(part.topics)
    values = part.stances.transpose(1, 0, 2)
    means = strata.means(values)
    errors = bootstrap_means(values, strata, resampling.draws, resampling.seed)
    rows: dict[str, Any] = {
        "overall": _bands(
            means.mean(axis=0), errors.mean(axis=1).std(axis=0, ddof=1), strata.degrees_of_freedom
        )
    }
    for position, topic in enumerate(strata.names):
        df = int(strata.sizes[position]) - 1
        rows[topic] = _bands(means[position], errors[:, position].std(axis=0, ddof=1), df)
    return rows


def _bands(means: Floats, errors: Floats, df: int) -> dict[str, list[list[float]]]:
    half = t_quantile(df) * errors
    return {
        stance: np.stack([means[:, s], means[:, s] - half[:, s], means[:, s] + half[:, s]], axis=1).tolist()
        for s, stance in enumerate(STANCES)
    }


def identity(span: Span, panels: dict[str, Panel]) -> str:
    """Return a hash that two runs share where a stage of theirs is the same training, e.g. one SFT."""
    numbers = {name: part.stances[list(span.positions)].tolist() for name, part in panels.items()}
    return sha256_json([span.stage.algorithm, span.stage.data, span.stage.seed, span.steps, numbers])


def diagnostics(snapshot: Snapshot, family: str) -> dict[str, float]:
    """Return means over items of the diagnostics of a snapshot."""
    items = snapshot.families.get(family, ())
    names = sorted(set().union(*(item.diagnostics for item in items))) if items else []
    return {
        name: float(np.mean([item.diagnostics[name] for item in items if name in item.diagnostics]))
        for name in names
    }
