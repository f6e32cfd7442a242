"""Bootstrap weights over items and sign flips, drawn once and shared by checkpoints and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Strata:
    """Items grouped by topic; topics are fixed, the items of a topic are a sample."""

    names: tuple[str, ...]
    """Topics in alphabetical order."""
    members: tuple[NDArray[np.intp], ...]
    """Positions of each topic's items."""

    @classmethod
    def of(cls, topics: Sequence[str]) -> Strata:
        """Return the strata of items whose topics are given in item order."""
        names = tuple(sorted(set(topics)))
        labels = np.array(topics, dtype=object)
        return cls(names, tuple(np.flatnonzero(labels == name) for name in names))

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Return the number of items of each topic, shape (topics,)."""
        return np.array([len(member) for member in self.members], dtype=np.intp)

    @property
    def degrees_of_freedom(self) -> int:
        """Return items minus topics."""
        return int(self.sizes.sum()) - len(self.names)

    def means(self, values: Floats) -> Floats:
        """Return topic means, shape (topics, ...), of values with shape (items, ...)."""
        return np.stack([values[member].mean(axis=0) for member in self.members])

    def standard_errors(self, values: Floats) -> Floats:
        """Return sd/sqrt(n) of each topic, shape (topics, ...), of values with shape (items, ...)."""
        return np.stack([values[m].std(axis=0, ddof=1) / np.sqrt(len(m)) for m in self.members])


def bootstrap_means(values: Floats, strata: Strata, draws: int, seed: int) -> Floats:
    """Return topic means of resampled items, shape (draws, topics, ...), for values of shape (items, ...).

    From a topic's n items, n-1 are drawn with replacement (the rescaled bootstrap for small strata, Rao
    and Wu 1988, JASA 83:231, whose variance is unbiased where the plain bootstrap's is (n-1)/n too small).
    An item carries all its prompts and all its checkpoints. The same items and seed give the same draws, so
    runs are compared under one shared draw.
    """
    generator = np.random.default_rng([seed, 1])
    flat = values.reshape(len(values), -1)
    result = np.empty((draws, len(strata.members), flat.shape[1]))
    for position, member in enumerate(strata.members):
        n = len(member)
        counts = generator.multinomial(n - 1, np.full(n, 1 / n), size=draws)
        result[:, position] = counts @ flat[member] / (n - 1)
    return result.reshape(draws, len(strata.members), *values.shape[1:])


def sign_flip_p_value(differences: Floats, strata: Strata, draws: int, seed: int) -> float:
    """Return the p-value of "no item moved" for paired differences of shape (items, stances).

    Under the null the two checkpoints of an item are exchangeable, so its whole stance vector may change
    sign. Statistic: max over stances of |t|, topics weighted equally; p = (1 + #{flipped >= observed}) /
    (draws + 1) (Phipson and Smyth 2010).
    """
    weights = np.empty(len(differences))
    for member in strata.members:
        weights[member] = 1 / (len(strata.members) * len(member))
    contributions = weights[:, None] * differences
    scale = np.sqrt((contributions**2).sum(axis=0))
    moved = scale > 0
    if not moved.any():
        return 1.0
    observed = np.max(np.abs(contributions.sum(axis=0))[moved] / scale[moved])
    signs = np.random.default_rng([seed, 2]).choice((-1.0, 1.0), size=(draws, len(differences)))
    flipped = np.max(np.abs(signs @ contributions[:, moved]) / scale[moved], axis=1)
    # Rounding must not make a flip that equals the observed statistic count as smaller.
    return float((1 + np.count_nonzero(flipped >= observed * (1 - 1e-12))) / (draws + 1))
