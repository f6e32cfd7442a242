"""When half of the movement happened: exact on constructed curves, near the truth on noisy ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import optimize

from valuedrift.suite.records import STANCES
from valuedrift.suite.resampling import Strata, bootstrap_means
from valuedrift.suite.schedules import checkpoint_steps
from valuedrift.suite.timing import (
    Timing,
    crossing_time,
    isotonic,
    paper_eta,
    plateau,
    projected_progress,
    timing,
)

Floats = NDArray[np.float64]
GRID = np.array(checkpoint_steps(1000), dtype=np.float64)
DRIFT = np.array([0.1, -0.04, -0.06])
CURVES = arrays.arrays(np.float64, st.integers(1, 15), elements=st.floats(-10, 10))


def floats(*values: float) -> Floats:
    return np.array(values, dtype=np.float64)


def answers(share: Floats, seed: int, items: int, noise: float = 0.05) -> Floats:
    """Return stances (items, checkpoints, 3) of items that move by unequal amounts, in the same time."""
    generator = np.random.default_rng(seed)
    size = DRIFT + generator.normal(0, 0.05, (items, 1, 3))
    moved: Floats = 1 / 3 + share[:, None] * size + generator.normal(0, noise, (items, len(share), 3))
    return moved


def measured(share: Floats, steps: Floats = GRID, p_value: float = 0.01, seed: int = 0) -> Timing:
    """Return the timing of 550 items in 11 topics."""
    strata = Strata.of([f"t{n:02}" for n in range(11) for _ in range(50)])
    values = answers(share, seed, 550)
    drawn = bootstrap_means(values, strata, 200, seed)
    return timing(steps, strata.means(values), drawn, p_value, 550)


@given(CURVES)
def test_the_isotonic_fit_is_scipys(values: Floats) -> None:
    np.testing.assert_allclose(isotonic(values), optimize.isotonic_regression(values).x, atol=1e-9)


@given(CURVES)
def test_the_isotonic_fit_does_not_decrease_and_keeps_the_mean(values: Floats) -> None:
    fitted = isotonic(values)
    assert np.all(np.diff(fitted) >= -1e-9)
    assert fitted.mean() == pytest.approx(values.mean(), abs=1e-9)
    np.testing.assert_allclose(isotonic(fitted), fitted, atol=1e-9)


def test_the_isotonic_fit_of_stacked_curves_is_that_of_each() -> None:
    stacked = np.random.default_rng(0).normal(size=(4, 5, 7))
    np.testing.assert_allclose(isotonic(stacked)[2, 3], isotonic(stacked[2, 3]), atol=1e-12)


@pytest.mark.parametrize(
    ("progress", "target", "expected"),
    [
        ((0, 0.25, 0.75, 1), 0.5, math.sqrt(10) / 100),  # half-way from step 1 to 10 in log steps
        ((0, 0.25, 0.5, 1), 0.5, 10 / 100),  # on a checkpoint
        ((0, 0.8, 0.9, 1), 0.5, 0.625 / 100),  # before the first positive step: linear
        ((0, 0, 0, 1), 0.95, 10**1.95 / 100),
        ((0, 0, 1, 1), 1.0, 10 / 100),
        ((0.5, 0.5, 0.6, 1), 0.5, 0.0),  # there from the start
        ((0, 0.1, 0.2, 0.4), 0.5, math.nan),  # never there
    ],
)
def test_the_crossing_time_of_a_constructed_curve_is_exact(
    progress: tuple[float, ...], target: float, expected: float
) -> None:
    found = float(crossing_time(floats(0, 1, 10, 100), floats(*progress), target))
    assert found == pytest.approx(expected, nan_ok=True)


def test_crossing_times_of_stacked_curves_are_those_of_each() -> None:
    steps = floats(0, 1, 10, 100)
    stacked = np.array([[0, 0.25, 0.75, 1], [0, 0.8, 0.9, 1], [0, 0.1, 0.2, 0.4]])
    found = crossing_time(steps, stacked, 0.5)
    np.testing.assert_allclose(found, [float(crossing_time(steps, row, 0.5)) for row in stacked])


@pytest.mark.parametrize(
    ("steps", "checkpoints"),
    [
        ((0, 25, 75, 90, 100), 3),  # the last quarter
        ((0, 20, 40, 60, 80, 100), 1),  # the third from the end is too early
        (checkpoint_steps(1000), 1),
        ((0, 90, 95, 100), 1),  # four checkpoints are too few to average three
        (tuple(range(0, 101, 10)), 3),
        ((0, 10), 1),
    ],
)
def test_the_plateau_is_three_checkpoints_of_the_last_quarter_or_the_last_one(
    steps: tuple[float, ...], checkpoints: int
) -> None:
    assert np.arange(len(steps))[plateau(floats(*steps))].tolist() == list(
        range(len(steps) - checkpoints, len(steps))
    )


def test_progress_is_the_share_of_the_net_movement() -> None:
    share = floats(0, -0.2, 0.5, 1.3, 1)
    curve = np.array([[0.3, 0.4, 0.3], [0.1, 0.1, 0.8]])[:, None] + share[:, None] * DRIFT
    np.testing.assert_allclose(projected_progress(curve, floats(0, 1, 2, 3, 10)), share)


def test_progress_of_what_did_not_move_is_unknown() -> None:
    assert np.isnan(projected_progress(np.ones((2, 4, 3)), floats(0, 1, 2, 3))).all()


def power(half: float) -> Floats:
    """Return the share done at each checkpoint: steep at the start."""
    return np.asarray((GRID / 1000) ** (math.log(0.5) / math.log(half)), dtype=np.float64)


def saturating(half: float) -> Floats:
    """Return the share done at each checkpoint: an exponential approach."""

    def share(rate: float, part: float) -> float:
        return (1 - math.exp(-rate * part)) / (1 - math.exp(-rate))

    rate: Any = optimize.brentq(lambda k: share(k, half) - 0.5, 1e-6, 1000)
    return np.array([share(rate, step / 1000) for step in GRID], dtype=np.float64)


@pytest.mark.parametrize(
    ("curve", "half"),
    [(power, half) for half in (0.03, 0.1, 0.3, 0.6)] + [(saturating, half) for half in (0.01, 0.1, 0.3)],
)
def test_a_planted_t50_is_recovered(curve: Callable[[float], Floats], half: float) -> None:
    strata = Strata.of([f"t{n:02}" for n in range(11) for _ in range(50)])
    means = np.array([strata.means(answers(curve(half), seed, 550)) for seed in range(30)])
    found = crossing_time(GRID, isotonic(projected_progress(means, GRID)), 0.5)
    assert found.mean() == pytest.approx(half, rel=0.1)


def test_the_t50_has_an_interval_that_holds_the_truth_and_the_estimate() -> None:
    t50 = measured(power(0.3)).t50
    assert t50.value is not None
    assert t50.low is not None
    assert t50.high is not None
    assert t50.low <= 0.3 <= t50.high
    assert t50.low <= t50.value <= t50.high
    assert 0.05 < t50.high - t50.low < 0.3
    assert t50.n == 550
    assert "(200 of 200 draws)" in t50.method


def test_the_t50_of_a_curve_that_turns_back_is_that_of_its_isotonic_fit() -> None:
    curve = (floats(0, 0.8, 0.4, 1)[:, None] * DRIFT)[None]
    found = timing(floats(0, 1, 10, 100), curve, np.repeat(curve[None], 5, axis=0), 0.01, 550)
    assert found.t50.value == pytest.approx(0.5 / 0.6 / 100)  # the fit is 0, .6, .6, 1


def test_the_interval_holds_the_estimate_where_all_draws_lie_on_one_side() -> None:
    steps = floats(0, 1, 10, 100)
    curve, late = ((floats(0, 0, half, 1)[:, None] * DRIFT)[None] for half in (0.5, 0.0))
    found = timing(steps, curve, np.repeat(late[None], 5, axis=0), 0.01, 550).t50
    assert (found.value, found.low) == pytest.approx((0.1, 0.1))
    assert found.high == pytest.approx(10**1.5 / 100)


@pytest.mark.parametrize("p_value", [0.05, 0.7, 1.0])
def test_without_a_significant_change_the_t50_is_undefined(p_value: float) -> None:
    found = measured(power(0.3), p_value=p_value)
    assert (found.t50.value, found.t50.low, found.t50.high) == (None, None, None)
    assert found.t50.method == (
        f"undefined: end of stage not distinguishable from its start (p = {p_value:.3f})"
    )
    assert found.overshoot_step is None


def test_with_two_checkpoints_the_t50_is_undefined() -> None:
    found = measured(floats(0, 1), steps=floats(0, 1000))
    assert found.t50.value is None
    assert found.t50.method == "undefined: 2 checkpoints in the stage, 3 needed"


@pytest.mark.parametrize("factor", [0.5, 3, 1000])
def test_a_stage_with_its_steps_scaled_has_the_same_times(factor: float) -> None:
    found, scaled = measured(power(0.3)), measured(power(0.3), steps=factor * GRID)
    assert scaled.t50.to_json() == pytest.approx(found.t50.to_json())
    for stance in STANCES:
        assert scaled.paper_eta[stance].to_json() == pytest.approx(found.paper_eta[stance].to_json())


def test_an_overshoot_is_flagged_with_its_step() -> None:
    share = np.interp(np.arange(12), [0, 8, 11], [0, 1.6, 1])
    found = measured(share)
    assert found.overshoot_step == GRID[8]
    assert found.t50.value is not None
    assert found.t50.value < GRID[8] / 1000


def test_no_overshoot_is_flagged_where_there_is_none() -> None:
    flagged = [measured(power(0.3), seed=seed).overshoot_step for seed in range(20)]
    assert sum(step is not None for step in flagged) <= 3


def test_a_retreat_within_two_standard_errors_is_no_overshoot() -> None:
    share = np.interp(np.arange(12), [0, 8, 11], [0, 1.01, 1])
    assert measured(share).overshoot_step is None


@pytest.mark.parametrize(("half_width", "eta"), [(0.001, 0.3), (0.02, 0.2), (0.1, 0.1), (0.5, 0.0)])
def test_the_papers_drift_time_is_the_first_checkpoint_near_the_extremum(
    half_width: float, eta: float
) -> None:
    steps = floats(0, 10, 20, 30, 100)
    rise = floats(0.3, 0.4, 0.48, 0.49, 0.45)
    width = np.full(5, half_width)
    assert float(paper_eta(steps, rise, width)) == eta
    assert float(paper_eta(steps, -rise, width)) == eta


def test_the_papers_drift_time_uses_the_interval_of_the_extremum() -> None:
    steps, rise = floats(0, 10, 20, 100), floats(0.3, 0.5, 0.6, 0.4)
    assert float(paper_eta(steps, rise, floats(9, 9, 0.05, 9))) == 0.2
    assert float(paper_eta(steps, rise, floats(0, 0, 0.15, 0))) == 0.1


def test_the_papers_drift_time_is_reported_for_every_stance_even_without_drift() -> None:
    found = measured(np.zeros(12), p_value=0.9)
    assert set(found.paper_eta) == set(STANCES)
    for estimate in found.paper_eta.values():
        assert estimate.value is not None
        assert 0 <= (estimate.low or 0) <= estimate.value <= (estimate.high or 0) <= 1
