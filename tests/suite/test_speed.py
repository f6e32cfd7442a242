"""Timings as ratios of one run: `make bench`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from valuedrift.suite.resampling import Strata, bootstrap_means

DRAWS = 2000
ITEMS, CHECKPOINTS = 440, 24


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.bench
def test_one_matrix_product_a_topic_beats_a_loop_over_draws(benchmark: BenchmarkFixture) -> None:
    values = np.random.default_rng(0).normal(size=(ITEMS, CHECKPOINTS, 3))
    strata = Strata.of([f"topic-{item % 11}" for item in range(ITEMS)])

    def ours() -> object:
        return bootstrap_means(values, strata, DRAWS, 0)

    def loop() -> object:
        generator = np.random.default_rng(0)
        drawn = [
            [values[generator.choice(m, len(m) - 1)].mean(axis=0) for m in strata.members]
            for _ in range(DRAWS)
        ]
        return np.array(drawn)

    pairs = [(seconds(loop), seconds(ours)) for _ in range(3)]
    benchmark.extra_info["ratios"] = [slow / fast for slow, fast in pairs]
    benchmark(ours)
    assert np.median(benchmark.extra_info["ratios"]) > 5
