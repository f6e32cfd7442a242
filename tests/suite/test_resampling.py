"""The bootstrap has the variance of a mean, and the sign-flip test has its size."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from valuedrift.suite.resampling import Strata, bootstrap_means, sign_flip_p_value

Floats = NDArray[np.float64]
UNEQUAL = ("b",) * 4 + ("a",) * 2 + ("c",) * 9
BOARD = tuple(f"t{n:02}" for n in range(11) for _ in range(4))


def normal(shape: tuple[int, ...], seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def test_strata_hold_the_items_of_each_topic_in_alphabetical_order() -> None:
    strata = Strata.of(("b", "a", "b", "c", "a"))
    assert strata.names == ("a", "b", "c")
    assert [member.tolist() for member in strata.members] == [[1, 4], [0, 2], [3]]
    assert strata.sizes.tolist() == [2, 2, 1]
    assert strata.degrees_of_freedom == 2


def test_strata_give_means_and_standard_errors_of_each_topic() -> None:
    values = normal((15, 3))
    strata = Strata.of(UNEQUAL)
    parts = [values[4:6], values[:4], values[6:]]
    np.testing.assert_allclose(strata.means(values), [part.mean(axis=0) for part in parts])
    np.testing.assert_allclose(strata.standard_errors(values), [stats.sem(part) for part in parts])


def test_the_bootstrap_variance_is_that_of_a_mean_for_every_stratum_size() -> None:
    values, strata, draws = normal((15,)), Strata.of(UNEQUAL), 40_000
    drawn = bootstrap_means(values, strata, draws, seed=1)
    assert drawn.shape == (draws, 3)
    expected = strata.standard_errors(values)
    # The plain bootstrap of two, four and nine items is low by 50, 25 and 11 %.
    error = 4 * np.sqrt(2 / draws)
    np.testing.assert_allclose(drawn.var(axis=0, ddof=1), expected**2, rtol=error)
    assert np.all(np.abs(drawn.mean(axis=0) - strata.means(values)) < 4 * expected / np.sqrt(draws))


def test_topics_are_drawn_independently() -> None:
    drawn = bootstrap_means(normal((15,)), Strata.of(UNEQUAL), 20_000, seed=0)
    correlations = np.asarray(np.corrcoef(drawn.T)) - np.eye(3)
    assert np.all(np.abs(correlations) < 4 / np.sqrt(20_000))


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    values, strata = normal((15, 3)), Strata.of(UNEQUAL)
    first = bootstrap_means(values, strata, 50, seed=3)
    np.testing.assert_array_equal(first, bootstrap_means(values, strata, 50, seed=3))
    assert not np.allclose(first, bootstrap_means(values, strata, 50, seed=4))


def test_draws_do_not_depend_on_how_many_checkpoints_are_stacked() -> None:
    values, strata = normal((15, 6, 3)), Strata.of(UNEQUAL)
    together = bootstrap_means(values, strata, 50, seed=3)
    assert together.shape == (50, 3, 6, 3)
    for k in range(6):
        alone = bootstrap_means(values[:, k], strata, 50, seed=3)
        np.testing.assert_allclose(together[:, :, k], alone, atol=1e-12)


def test_runs_with_the_same_items_share_one_draw() -> None:
    a, b, strata = normal((15, 3), 1), normal((15, 3), 2), Strata.of(UNEQUAL)
    drawn_a, drawn_b, gap = (bootstrap_means(v, strata, 50, seed=3) for v in (a, b, a - b))
    np.testing.assert_allclose(drawn_a - drawn_b, gap, atol=1e-12)


def test_the_sign_flip_test_has_its_size() -> None:
    strata, runs = Strata.of(BOARD), 1000
    generator = np.random.default_rng(11)
    small = 0
    for seed in range(runs):
        # Heavy tails and unequal spread of topics: exchangeability is all that the test needs.
        spread = generator.uniform(0.02, 0.2, 11).repeat(4)[:, None]
        moved = spread * generator.standard_t(3, (44, 3))
        small += sign_flip_p_value(moved - moved.mean(axis=1, keepdims=True), strata, 199, seed) <= 0.05
    assert 0.03 <= small / runs <= 0.07


def test_nothing_moved_gives_one() -> None:
    assert sign_flip_p_value(np.zeros((44, 3)), Strata.of(BOARD), 99, seed=0) == 1.0


def test_everything_moved_alike_gives_the_smallest_p_value() -> None:
    moved = np.tile([0.1, 0.0, -0.1], (44, 1))
    assert sign_flip_p_value(moved, Strata.of(BOARD), 99, seed=0) == 0.01


def test_the_p_value_depends_on_its_seed_alone_and_not_on_the_scale() -> None:
    moved, strata = normal((44, 3)) + 0.2, Strata.of(BOARD)
    value = sign_flip_p_value(moved, strata, 199, seed=5)
    assert value == sign_flip_p_value(moved, strata, 199, seed=5)
    assert value == sign_flip_p_value(-4 * moved, strata, 199, seed=5)
    assert len({sign_flip_p_value(moved, strata, 199, seed) for seed in range(20)}) > 1


def exact(differences: Floats, topics: tuple[str, ...]) -> float:
    """Return the p-value over all sign patterns, computed by topic and not by weight."""
    names = sorted(set(topics))

    def statistic(signed: Floats) -> float:
        total, spread = np.zeros(3), np.zeros(3)
        for name in names:
            part = signed[[topic == name for topic in topics]]
            total += part.mean(axis=0)
            spread += (part**2).sum(axis=0) / len(part) ** 2
        return float(np.max(np.abs(total) / np.sqrt(spread)))

    observed = statistic(differences)
    patterns = np.array(list(product((-1.0, 1.0), repeat=len(differences))))
    flipped = np.array([statistic(signs[:, None] * differences) for signs in patterns])
    return float(np.mean(flipped >= observed - 1e-12))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_p_value_is_that_of_all_sign_patterns(seed: int) -> None:
    topics, draws = ("a", "a", "b", "b", "b", "b", "b"), 20_000
    differences = normal((7, 3), seed) + 0.5
    expected = exact(differences, topics)
    found = sign_flip_p_value(differences, Strata.of(topics), draws, seed=9)
    assert 0.01 < expected < 0.99
    assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / draws) + 1 / draws


def test_the_p_value_of_one_stance_is_scipys() -> None:
    before, after = normal((12, 3), 1), normal((12, 3), 2) + 0.4
    after[:, 1:] = before[:, 1:]
    result = stats.permutation_test(
        (before[:, 0], after[:, 0]),
        lambda a, b, axis: np.abs(np.mean(b - a, axis=axis)),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**13,
        alternative="greater",
    )
    draws = 20_000
    found = sign_flip_p_value(after - before, Strata.of(("a",) * 6 + ("b",) * 6), draws, seed=9)
    assert len(result.null_distribution) == 2**12
    assert 0.01 < result.pvalue < 0.99
    error = np.sqrt(result.pvalue * (1 - result.pvalue) / draws)
    assert abs(found - result.pvalue) < 4 * error + 1 / draws


def test_the_power_to_see_a_drift_of_one_standard_deviation_is_near_one() -> None:
    strata = Strata.of(BOARD)
    found = [sign_flip_p_value(normal((44, 3), seed) + [1, 0, -1], strata, 199, seed) for seed in range(50)]
    assert np.mean(np.array(found) < 0.05) == 1
