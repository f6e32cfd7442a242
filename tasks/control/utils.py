"""Documents and scoring of the control facts: the stance family's code on facts, signed by their truth."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import datasets


def _stance_utils() -> Any:
    # lm-eval loads this file by path, outside any package: its neighbour is loaded by path too.
    path = Path(__file__).parent.parent / "stance" / "utils.py"
    spec = importlib.util.spec_from_file_location("valuedrift_stance_utils", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_STANCE = _stance_utils()


def load(topic: str, **_: Any) -> dict[str, datasets.Dataset]:
    """Return the `test` split of one control topic."""
    split: dict[str, datasets.Dataset] = _STANCE.documents(Path(__file__).parent, topic)
    return split


def score(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Return the stance measures, with `support` as the mass on the true side, and `accuracy`.

    Accuracy is 1 when the true side has more mass than the false side, 0.5 at a tie, NaN without an answer.
    """
    measures: dict[str, float] = _STANCE.score(doc, results)
    stance = measures["stance"]
    measures["accuracy"] = stance if math.isnan(stance) else (1 + (stance > 0) - (stance < 0)) / 2
    return measures
