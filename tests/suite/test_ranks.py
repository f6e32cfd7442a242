"""Rank intervals: what holds for any numbers, and how often equal entries are parted."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from valuedrift.suite.ranks import RankInterval, resample_seeds, seeds_critical, simultaneous_ranks
from valuedrift.suite.resampling import Floats, Strata, bootstrap_means

DF = 33
"""44 items in 11 topics."""


def board(count: int, seed: int, ties: bool) -> tuple[Floats, Floats]:
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1, count)
    if ties:
        values = values.round(0)
    return values, values + generator.normal(0, 0.5, (60, count))


boards = some.builds(board, some.integers(1, 8), some.integers(0, 10**6), some.booleans())


@given(boards)
def test_intervals_hold_the_rank_of_the_estimate(case: tuple[Floats, Floats]) -> None:
    values, drawn = case
    for value, place in zip(values, simultaneous_ranks(values, drawn, DF), strict=True):
        assert 1 <= place.low <= 1 + int((values > value).sum()) <= place.high <= len(values)


@given(boards)
def test_the_order_of_the_entries_does_not_matter(case: tuple[Floats, Floats]) -> None:
    values, drawn = case
    order = np.random.default_rng(len(values)).permutation(len(values))
    places = simultaneous_ranks(values, drawn, DF)
    assert simultaneous_ranks(values[order], drawn[:, order], DF) == [places[n] for n in order]


@given(boards, some.floats(0, 5), some.floats(0, 5))
def test_a_higher_threshold_only_widens(case: tuple[Floats, Floats], one: float, other: float) -> None:
    narrow, wide = (simultaneous_ranks(*case, DF, least) for least in sorted((one, other)))
    assert all(w.low <= n.low and n.high <= w.high for n, w in zip(narrow, wide, strict=True))


@given(boards)
def test_ties_share_their_interval_when_their_draws_do(case: tuple[Floats, Floats]) -> None:
    values, drawn = case
    doubled = simultaneous_ranks(np.concatenate([values, values]), np.concatenate([drawn, drawn], axis=1), DF)
    assert doubled[: len(values)] == doubled[len(values) :]


def test_far_values_are_parted_and_near_ones_are_not() -> None:
    values = np.array([3.0, 1.0, 0.99])
    drawn = values + np.random.default_rng(0).normal(0, 0.1, (500, 3))
    assert [str(place) for place in simultaneous_ranks(values, drawn, DF)] == ["1", "2-3", "2-3"]


def test_draws_without_a_value_are_left_out() -> None:
    values = np.array([3.0, 1.0])
    drawn = values + np.random.default_rng(0).normal(0, 0.1, (500, 2))
    drawn[::7, 0] = np.nan
    assert simultaneous_ranks(values, drawn, DF) == [RankInterval(1, 1), RankInterval(2, 2)]


def test_equal_entries_are_parted_in_one_board_of_twenty() -> None:
    generator = np.random.default_rng(5)
    strata = Strata.of([f"topic-{n // 4:02d}" for n in range(44)])
    parted = 0
    for number in range(300):
        items = generator.normal(0, 1, (44, 6)) + generator.normal(0, 1, (44, 1))
        drawn = bootstrap_means(items, strata, 300, number).mean(axis=1)
        places = simultaneous_ranks(items.mean(axis=0), drawn, strata.degrees_of_freedom)
        parted += any(place != RankInterval(1, 6) for place in places)
    assert parted / 300 < 0.09


def test_equal_algorithms_are_seldom_parted_by_three_seeds() -> None:
    generator = np.random.default_rng(6)
    least = seeds_critical(3, 3)
    parted = 0
    for board_number in range(300):
        # Sorted, as a board is: with one stream for all, the largest seeds would be drawn together.
        seeds = -np.sort(-generator.normal(0, 1, (3, 3)), axis=1)
        drawn = np.stack(
            [
                resample_seeds(group + generator.normal(0, 0.1, (200, 3)), board_number, stream)
                for stream, group in enumerate(seeds)
            ],
            axis=1,
        )
        places = simultaneous_ranks(seeds.mean(axis=1), drawn, 4, least)
        parted += any(place != RankInterval(1, 3) for place in places)
    assert parted / 300 < 0.11


def test_resampled_seeds_have_the_spread_of_a_mean_over_seeds() -> None:
    values = np.array([0.1, 0.2, 0.6])
    drawn = resample_seeds(np.tile(values, (20000, 1)), 0, 0)
    assert abs(drawn.mean() - values.mean()) < 0.005
    assert abs(drawn.std() - values.std(ddof=1) / np.sqrt(3)) < 0.005
    assert not np.array_equal(drawn, resample_seeds(np.tile(values, (20000, 1)), 0, 1))
