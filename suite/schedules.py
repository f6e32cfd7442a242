"""At which steps of a stage a checkpoint is worth its cost."""

from __future__ import annotations

import numpy as np


def checkpoint_steps(total: int) -> tuple[int, ...]:
    """Return the steps to keep of a stage with `total` steps: at most 12, fewer where they coincide.

    0, nine log-spaced from total/500 to total, and .6 and .8 of total: in simulation this keeps t50 within
    7 % of the truth, where linear spacing reads an early t50 up to 6.9 times too late.

    Raises ValueError when `total` is not positive.
    """
    if total < 1:
        raise ValueError(f"a stage needs at least one step, not {total}")
    early = np.geomspace(max(total / 500, 1.0), total, 9)
    fill = (0.6 * total, 0.8 * total)
    return tuple(sorted({0, total, *(max(1, round(float(step))) for step in (*early, *fill))}))
