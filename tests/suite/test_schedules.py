"""Which steps of a stage get a checkpoint."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuedrift.suite.schedules import checkpoint_steps

TOTALS = st.integers(1, 10**7)


@given(TOTALS)
def test_the_ends_and_two_late_steps_are_kept(total: int) -> None:
    steps = checkpoint_steps(total)
    assert steps[0] == 0
    assert steps[-1] == total
    for part in (0.6, 0.8):
        assert max(1, round(part * total)) in steps


@given(TOTALS)
def test_steps_increase_and_are_twelve_at_most(total: int) -> None:
    steps = checkpoint_steps(total)
    assert all(a < b for a, b in pairwise(steps))
    assert 2 <= len(steps) <= 12
    assert all(type(step) is int for step in steps)


@given(st.integers(500, 10**7))
def test_the_early_steps_are_log_spaced_from_a_five_hundredth(total: int) -> None:
    early = checkpoint_steps(total)[1:-3]
    assert abs(early[0] - total / 500) <= 0.5
    # Eight steps in the ratio 500^(1/8), up to rounding to whole steps.
    assert all(abs(b - a * 500 ** (1 / 8)) <= 1.6 for a, b in pairwise(early))


def test_a_long_stage_has_all_twelve() -> None:
    assert checkpoint_steps(1000) == (0, 2, 4, 9, 21, 45, 97, 211, 460, 600, 800, 1000)


def test_a_stage_of_one_step_has_its_two_ends() -> None:
    assert checkpoint_steps(1) == (0, 1)


@pytest.mark.parametrize("total", [0, -3])
def test_a_stage_without_steps_is_refused(total: int) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        checkpoint_steps(total)
