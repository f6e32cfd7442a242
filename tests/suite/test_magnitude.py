"""Signed drift is a plain mean with an honest interval; debiased drift is 0 where nothing moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy import stats

from valuedrift.suite.magnitude import (
    Magnitude,
    Resampling,
    debiased_tv,
    difference,
    magnitude,
    null_scale,
    t_interval,
    t_quantile,
)
from valuedrift.suite.records import STANCES, Estimate
from valuedrift.suite.resampling import Strata

Floats = NDArray[np.float64]
BOARD = tuple(f"t{n:02}" for n in range(11) for _ in range(4))
UNEQUAL = ("a",) * 2 + ("b",) * 5 + ("c",) * 9
FEW = Resampling(200, 0)
LARGE = np.array([0.35, -0.15, -0.2])
"""A drift whose total variation is .35."""


def answers(items: int, seed: int) -> Floats:
    return np.random.default_rng(seed).dirichlet((2, 2, 2), items)


def noise(generator: np.random.Generator, shape: tuple[int, ...], spread: float = 0.1) -> Floats:
    """Return differences of stance vectors (they sum to 0) that have mean 0."""
    drawn = generator.normal(0, spread, (*shape, 3))
    result: Floats = drawn - drawn.mean(axis=-1, keepdims=True)
    return result


def values_of(moved: Magnitude) -> list[float | None]:
    """Return the point estimates."""
    signed = [moved.signed[stance].value for stance in STANCES]
    return [*signed, moved.valence.value, moved.tv.value, moved.debiased.value]


def intervals_of(moved: Magnitude) -> Floats:
    estimates = [*moved.signed.values(), moved.valence, moved.debiased]
    return np.array([[e.low, e.high] for e in estimates], dtype=np.float64)


def test_signed_drift_is_the_plain_mean_of_the_differences() -> None:
    before, after = answers(44, 1), answers(44, 2)
    moved = magnitude(before, after, BOARD, FEW)
    expected = (after - before).mean(axis=0)
    assert [moved.signed[stance].value for stance in STANCES] == pytest.approx(expected.tolist())
    assert moved.valence.value == pytest.approx(expected[0] - expected[2])
    assert {e.n for e in (*moved.signed.values(), moved.valence, moved.tv, moved.debiased)} == {44}


def test_topics_weigh_equally_whatever_their_size() -> None:
    before, after = answers(16, 1), answers(16, 2)
    gap = after - before
    means = np.array([gap[:2].mean(axis=0), gap[2:7].mean(axis=0), gap[7:].mean(axis=0)])
    moved = magnitude(before, after, UNEQUAL, FEW)
    assert [moved.signed[s].value for s in STANCES] == pytest.approx(means.mean(axis=0).tolist())
    assert moved.tv.value == pytest.approx(np.abs(means).sum(axis=1).mean() / 2)
    assert (moved.tv.low, moved.tv.high) == (None, None)


def test_swapping_support_and_oppose_swaps_their_drifts() -> None:
    before, after = answers(16, 1), answers(16, 2)
    moved = magnitude(before, after, UNEQUAL, FEW)
    turned = magnitude(before[:, ::-1], after[:, ::-1], UNEQUAL, FEW)
    assert turned.signed["support"].to_json() == pytest.approx(moved.signed["oppose"].to_json())
    assert turned.signed["neutral"].to_json() == pytest.approx(moved.signed["neutral"].to_json())
    assert turned.valence.value == pytest.approx(-(moved.valence.value or 0))
    assert turned.debiased.value == pytest.approx(moved.debiased.value)
    assert turned.p_value == moved.p_value


def test_going_back_turns_the_sign_and_keeps_the_size() -> None:
    before, after = answers(16, 1), answers(16, 2)
    there, back = magnitude(before, after, UNEQUAL, FEW), magnitude(after, before, UNEQUAL, FEW)
    signs = np.array([-1, -1, -1, -1, 1, 1])
    assert np.array(values_of(back), dtype=float) == pytest.approx(
        signs * np.array(values_of(there), dtype=float)
    )
    assert back.p_value == there.p_value


def test_the_order_of_items_changes_nothing() -> None:
    before, after = answers(44, 1), answers(44, 2)
    many = Resampling(4000, 0)
    moved = magnitude(before, after, BOARD, many)
    order = np.random.default_rng(3).permutation(44)
    shuffled = magnitude(before[order], after[order], tuple(BOARD[n] for n in order), many)
    assert values_of(shuffled) == pytest.approx(values_of(moved))
    # Other items meet the same draws: intervals agree up to the error of 4,000 draws.
    widths = intervals_of(moved)[:, 1] - intervals_of(moved)[:, 0]
    assert np.all(np.abs(intervals_of(shuffled) - intervals_of(moved)) < 0.06 * widths[:, None])
    assert abs(shuffled.p_value - moved.p_value) < 4 * np.sqrt(0.25 / 4000) * np.sqrt(2)


@pytest.mark.parametrize("topics", [BOARD, ("a",) * 44])
def test_a_checkpoint_compared_with_itself_has_not_moved(topics: tuple[str, ...]) -> None:
    same = answers(44, 1)
    moved = magnitude(same, same.copy(), topics, FEW)
    assert values_of(moved) == [0.0] * 6
    assert not intervals_of(moved).any()
    assert moved.p_value == 1.0


def test_the_same_seed_gives_the_same_magnitude_and_another_other_intervals() -> None:
    before, after = answers(44, 1), answers(44, 2)
    first = magnitude(before, after, BOARD, FEW)
    assert first == magnitude(before, after, BOARD, FEW)
    other = magnitude(before, after, BOARD, Resampling(200, 1))
    assert values_of(other) == values_of(first)
    assert not np.allclose(intervals_of(other), intervals_of(first), rtol=1e-6)


def test_one_topic_is_tested_by_t_with_bonferroni_over_stances() -> None:
    before, after = answers(6, 1), answers(6, 2)
    single = stats.ttest_rel(after, before).pvalue
    assert magnitude(before, after, ("a",) * 6, FEW).p_value == pytest.approx(min(1, 3 * single.min()))


def test_one_topic_that_moved_without_spread_has_p_zero() -> None:
    before = np.tile([0.25, 0.5, 0.25], (4, 1))
    assert magnitude(before, before + [0.25, 0.0, -0.25], ("a",) * 4, FEW).p_value == 0.0


def test_the_one_topic_test_keeps_its_level() -> None:
    generator = np.random.default_rng(5)
    small = [
        magnitude(np.zeros((4, 3)), noise(generator, (4,)), ("a",) * 4, Resampling(2, 0)).p_value < 0.05
        for _ in range(1000)
    ]
    assert 0.015 < np.mean(small) < 0.07


def test_intervals_of_signed_drift_cover_the_truth() -> None:
    runs, truth = 800, np.array([0.05, -0.03, -0.02])
    generator = np.random.default_rng(17)
    covered = np.zeros(4)
    for seed in range(runs):
        after = truth + noise(generator, (44,))
        moved = magnitude(np.zeros((44, 3)), after, BOARD, Resampling(200, seed))
        target = np.array([*truth, truth[0] - truth[2]])
        bounds = intervals_of(moved)[:4]
        covered += (bounds[:, 0] <= target) & (target <= bounds[:, 1])
    assert np.all((covered / runs >= 0.93) & (covered / runs <= 0.97)), covered / runs


def by_flips(moved: Floats, flips: int = 60) -> Floats:
    """Return TV less its mean under sign flips (what a permutation test would subtract), shape (runs,)."""
    generator = np.random.default_rng(1)
    plain = np.abs(moved.mean(axis=2)).sum(axis=-1).mean(axis=-1) / 2
    under_null = np.zeros(len(moved))
    for _ in range(flips):
        signs = generator.choice((-1.0, 1.0), size=(*moved.shape[:3], 1))
        under_null += np.abs((signs * moved).mean(axis=2)).sum(axis=-1).mean(axis=-1) / 2
    result: Floats = plain - under_null / flips
    return result


def ours(moved: Floats) -> Floats:
    items = moved.shape[2]
    errors = moved.std(axis=2, ddof=1) / np.sqrt(items)
    return debiased_tv(moved.mean(axis=2), errors, np.full(moved.shape[1], items))


@pytest.mark.parametrize("items", [4, 10, 50])
def test_debiased_drift_is_zero_on_average_without_drift(items: int) -> None:
    moved = noise(np.random.default_rng(items), (400, 11, items))
    plain = np.abs(moved.mean(axis=2)).sum(axis=-1).mean() / 2
    assert abs(ours(moved).mean()) < 0.004
    assert plain > 0.012  # what the subtraction is for
    assert abs(by_flips(moved).mean()) < 0.004


@pytest.mark.parametrize("items", [4, 10, 50])
def test_a_large_drift_is_not_debiased_away_as_by_sign_flips(items: int) -> None:
    moved = LARGE + noise(np.random.default_rng(items), (200, 11, items))
    assert abs(ours(moved).mean() - 0.35) < 0.01
    assert by_flips(moved).mean() < 0.32  # .20, .26 and .31: the reason for another debiasing


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_the_null_mean_does_not_depend_on_the_unknown_spread(spread: float) -> None:
    moved = noise(np.random.default_rng(1), (400, 11, 10), spread)
    assert abs(ours(moved).mean()) < 4 * ours(moved).std() / np.sqrt(400)


@given(
    arrays.arrays(np.float64, (4, 3), elements=st.floats(-1, 1)),
    arrays.arrays(np.float64, (4, 3), elements=st.just(0.0) | st.floats(1e-9, 1)),
)
def test_debiased_drift_is_never_above_the_plug_in(moved: Floats, errors: Floats) -> None:
    plain = np.abs(moved).sum() / 8
    found = float(debiased_tv(moved, errors, np.array([2, 4, 9, 50])))
    assert found <= plain + 1e-12
    exact = float(debiased_tv(moved, np.zeros((4, 3)), np.array([2, 4, 9, 50])))
    assert exact == pytest.approx(plain)


@pytest.mark.parametrize("df", [1, 3, 9, 49])
def test_the_null_scale_is_that_of_a_simulation(df: int) -> None:
    generator = np.random.default_rng(df)
    mean = generator.normal(size=400_000)
    error = np.sqrt(generator.chisquare(df, 400_000) / df)
    # The mean of |error * Z - mean| over Z exceeds |mean| by the folded normal's excess.
    excess = np.abs(mean + error * generator.normal(size=400_000)) - np.abs(mean)
    assert null_scale(df) == pytest.approx(np.abs(mean).mean() / excess.mean(), rel=0.02)


def test_the_null_mean_of_two_items_a_topic_is_zero() -> None:
    found = ours(noise(np.random.default_rng(2), (4000, 11, 2)))
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(4000)


def test_the_null_scale_approaches_its_limit() -> None:
    assert null_scale(10_000) == pytest.approx(1 / (np.sqrt(2) - 1), rel=1e-3)


@pytest.mark.parametrize("df", [3, 33])
def test_an_interval_is_students(df: int) -> None:
    low, high = stats.t.interval(0.95, df, loc=0.2, scale=0.03)
    found = t_interval(0.2, 0.03, df, 7, "m")
    assert (found.value, found.n, found.method, found.level) == (0.2, 7, "m", 0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert t_quantile(df) == pytest.approx((high - 0.2) / 0.03)


def test_a_difference_adds_half_widths_in_quadrature() -> None:
    found = difference(Estimate(0.5, 0.2, 0.8, 3, "a"), Estimate(0.1, -0.3, 0.5, 4, "b"), "m")
    assert (found.value, found.low, found.high) == pytest.approx((0.4, -0.1, 0.9))
    assert (found.n, found.method) == (7, "m")


NO_INTERVAL: list[Callable[[], Estimate]] = [
    lambda: difference(Estimate(0.5, None, None, 3, "a"), Estimate(0.1, 0.0, 0.2, 4, "b"), "m"),
    lambda: difference(Estimate(0.1, 0.0, 0.2, 4, "b"), Estimate(None, None, None, 3, "a"), "m"),
]


@pytest.mark.parametrize("make", NO_INTERVAL)
def test_a_difference_of_estimates_without_interval_is_refused(make: Callable[[], Estimate]) -> None:
    with pytest.raises(ValueError, match="need a value and an interval"):
        make()


def test_degrees_of_freedom_are_items_less_topics() -> None:
    moved = magnitude(answers(16, 1), answers(16, 2), UNEQUAL, FEW)
    assert Strata.of(UNEQUAL).degrees_of_freedom == 13
    assert moved.valence.method.endswith("t with 13 df")
