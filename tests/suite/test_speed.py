"""Timings as ratios of one run: `make bench`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import stats

from valuedrift.suite.resampling import Strata, bootstrap_means

DRAWS = 2000
ITEMS, CHECKPOINTS = 440, 24


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.bench
def test_the_bootstrap_of_a_whole_trace_is_ten_times_faster_than_scipys(benchmark: BenchmarkFixture) -> None:
    values = np.random.default_rng(0).normal(size=(ITEMS, CHECKPOINTS, 3))
    strata = Strata.of([f"topic-{item % 11}" for item in range(ITEMS)])
    flat = values.reshape(ITEMS, -1)

    def ours() -> object:
        return bootstrap_means(values, strata, DRAWS, 0)

    def theirs() -> object:
        return stats.bootstrap((flat,), np.mean, n_resamples=DRAWS, method="percentile", batch=100, axis=0)

    pairs = [(seconds(theirs), seconds(ours)) for _ in range(3)]
    benchmark.extra_info["ratios"] = [slow / fast for slow, fast in pairs]
    benchmark.pedantic(ours, rounds=3)
    assert np.median(benchmark.extra_info["ratios"]) > 10
