"""When stances moved within a stage: t50 of the fitted curve, and the paper's drift time for comparison."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from valuedrift.suite.magnitude import LEVEL
from valuedrift.suite.records import STANCES, Estimate
from valuedrift.suite.resampling import Floats

GATE = 0.05
"""Level of the test that a stage moved at all; without it no time is reported."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Drift times of one stage, as fractions of its steps."""

    t50: Estimate
    """Fraction of the stage at which half of the net movement has happened."""
    paper_eta: dict[str, Estimate]
    """The paper's drift time of each stance, under the definition of `paper_eta`."""
    overshoot_step: int | None
    """Step of the extremum when the movement ends more than two standard errors short of it."""


def timing(steps: Floats, curve: Floats, drawn: Floats, p_value: float, n: int) -> Timing:
    """Return the drift times of a stage.

    `steps` are the optimiser steps of its checkpoints, shape (K,), from 0 up; `curve` the topic means,
    shape (topics, K, 3); `drawn` their bootstrap draws, shape (draws, topics, K, 3); `p_value` the test that
    the plateau differs from the start. Without a significant plateau the t50 is undefined, never 0 or 1.
    """
    progress, progress_drawn = projected_progress(curve, steps), projected_progress(drawn, steps)
    undefined = _undefined(steps, p_value)
    if undefined:
        t50, overshoot = Estimate(None, None, None, n, undefined), None
    else:
        t50 = _t50_estimate(steps, progress, progress_drawn, n)
        overshoot = _overshoot(steps, progress, progress_drawn)
    overall, overall_drawn = curve.mean(axis=0), drawn.mean(axis=1)
    etas = {s: _eta_estimate(steps, overall[:, i], overall_drawn[:, :, i], n) for i, s in enumerate(STANCES)}
    return Timing(t50, etas, overshoot)


def plateau(steps: Floats) -> slice:
    """Return which checkpoints are the end of a stage: the last three, or the last one on a log grid.

    Three are averaged only when they lie in the last quarter of the steps.
    """
    late = len(steps) > 4 and steps[-3] >= 0.75 * steps[-1]
    return slice(len(steps) - (3 if late else 1), len(steps))


def projected_progress(curve: Floats, steps: Floats) -> Floats:
    """Return the share of the net movement done at each checkpoint, (..., K) from (..., topics, K, 3).

    The movement since the start is projected on the vector from start to plateau: 0 there, 1 here.
    """
    moved = curve - curve[..., :1, :]
    net = moved[..., plateau(steps), :].mean(axis=-2, keepdims=True)
    size = (net**2).sum(axis=(-3, -1))
    product: Floats = (moved * net).sum(axis=(-3, -1))
    share: Floats = np.divide(product, size, out=np.full_like(product, np.nan), where=size > 0)
    return share


def isotonic(values: Floats) -> Floats:
    """Return the least-squares non-decreasing fit along the last axis, shape (..., K).

    Min-max formula of Barlow et al. 1972: g_k = max over i <= k of min over j >= k of mean(y_i..y_j).
    """
    count = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    start, end = np.arange(count)[:, None], np.arange(count)[None, :]
    length = np.where(end >= start, end - start + 1, 1)
    means = (sums[..., 1:][..., None, :] - sums[..., :-1][..., :, None]) / length
    means = np.where(end >= start, means, np.inf)
    smallest = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]
    allowed = np.where(start <= end, smallest, -np.inf)
    result: Floats = allowed.max(axis=-2)
    return result


def crossing_time(steps: Floats, progress: Floats, target: float) -> Floats:
    """Return the fraction of the stage at which `progress` (..., K), non-decreasing, reaches `target`.

    Linear in log steps between checkpoints, linear in steps before the first positive step; NaN where the
    target is not reached.
    """
    reached = progress >= target
    k = np.where(reached.any(axis=-1), reached.argmax(axis=-1), 0)
    before = np.maximum(k - 1, 0)
    high = np.take_along_axis(progress, k[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(progress, before[..., None], axis=-1)[..., 0]
    gap = high - low
    share = np.divide(target - low, gap, out=np.ones_like(gap), where=gap > 0)
    left, right = steps[before], steps[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithmic = np.exp(np.log(left) + share * (np.log(right) - np.log(left)))
    at = np.where(left > 0, logarithmic, left + share * (right - left))
    return np.where(reached.any(axis=-1), at / steps[-1], np.nan)


def paper_eta(steps: Floats, values: Floats, half_width: Floats) -> Floats:
    """Return the paper's drift time eta of curves (..., K), for comparison only.

    The paper's wording leaves open how it is computed; here: the extremum is the checkpoint farthest from
    the start, and eta is the first checkpoint, as a fraction of the stage's steps, whose value lies within
    the extremum's confidence interval (`half_width`, shape (K,)). It depends on the sample size.
    """
    extremum = np.abs(values - values[..., :1]).argmax(axis=-1)
    top = np.take_along_axis(values, extremum[..., None], axis=-1)
    inside = np.abs(values - top) <= half_width[extremum][..., None]
    result: Floats = steps[inside.argmax(axis=-1)] / steps[-1]
    return result


def _undefined(steps: Floats, p_value: float) -> str:
    if len(steps) < 3:
        return f"undefined: {len(steps)} checkpoints in the stage, 3 needed"
    if p_value >= GATE:
        return f"undefined: end of stage not distinguishable from its start (p = {p_value:.3f})"
    return ""


def _t50_estimate(steps: Floats, progress: Floats, drawn: Floats, n: int) -> Estimate:
    value = float(crossing_time(steps, isotonic(progress), 0.5))
    times = crossing_time(steps, isotonic(drawn), 0.5)
    known = times[np.isfinite(times)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (np.nan, np.nan)
    method = (
        f"isotonic fit, linear in log steps, item bootstrap percentiles ({len(known)} of {len(times)} draws)"
    )
    # A percentile interval need not hold the estimate where the curve has a corner.
    return Estimate(value, float(min(low, value)), float(max(high, value)), n, method, LEVEL)


def _overshoot(steps: Floats, progress: Floats, drawn: Floats) -> int | None:
    top = int(progress.argmax())
    end = plateau(steps)
    retreat = progress[top] - progress[end].mean()
    error = (drawn[:, top] - drawn[:, end].mean(axis=-1)).std(ddof=1)
    return int(steps[top]) if top < end.start and retreat > 2 * error else None


def _eta_estimate(steps: Floats, values: Floats, drawn: Floats, n: int) -> Estimate:
    half = (np.quantile(drawn, (1 + LEVEL) / 2, axis=0) - np.quantile(drawn, (1 - LEVEL) / 2, axis=0)) / 2
    value = float(paper_eta(steps, values, half))
    low, high = np.quantile(paper_eta(steps, drawn, half), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    method = "the paper's rule as read here, item bootstrap percentiles; depends on n"
    return Estimate(value, float(min(low, value)), float(max(high, value)), n, method, LEVEL)
