"""The nouns of valuedrift: checkpoints, sequences, snapshots, traces, estimates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

STANCES = ("support", "neutral", "oppose")
"""The paper's stances S, in the order of every stance vector's last axis."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One point of a run: a model that can be asked."""

    stage: str
    """Name of the stage that it belongs to."""
    step: int
    """Optimiser steps since the start of the stage; 0 is the stage's starting point."""
    path: Path | None
    """Local folder of the model or of the adapter's base; None for a hub id."""
    hub: str | None = None
    """Hub id, e.g. `org/name`; None for a local folder."""
    revision: str | None = None
    """Revision of the hub id."""
    adapter: Path | None = None
    """Local folder of a LoRA adapter on top of the model."""

    @property
    def label(self) -> str:
        """Return the name of the checkpoint's snapshot folder, e.g. `dpo-000032`."""
        return f"{self.stage}-{self.step:06d}"

    @property
    def source(self) -> str:
        """Return what a loader is given: the absolute folder or the hub id."""
        return str(self.path) if self.path is not None else str(self.hub)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with one algorithm and one data set."""

    name: str
    """Name, unique in the sequence."""
    algorithm: str
    """Lower-case name of the algorithm, e.g. `sft`, `dpo`."""
    data: tuple[str, ...]
    """Names of the data sets."""
    seed: int | None
    """Training seed; None when it is not known."""
    checkpoints: tuple[Checkpoint, ...]
    """Checkpoints in order of their steps."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """The ordered checkpoints of a run."""

    run: str
    """Name of the run."""
    base: str
    """Name of the model that the run started from."""
    stages: tuple[Stage, ...]
    """Stages in order."""
    file: Path
    """The `sequence.yaml` that it was read from."""
    sha256: str
    """SHA-256 of that file."""

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return all checkpoints in order."""
        return tuple(point for stage in self.stages for point in stage.checkpoints)


@dataclass(frozen=True, slots=True)
class ItemAnswers:
    """What one checkpoint answered to one item, averaged over polarities, orders and templates."""

    item: str
    """Item id."""
    topic: str
    """Topic of a proposition; `true` or `false` for a control fact, whose topic says nothing."""
    stances: tuple[float, float, float] | None
    """Probabilities of support, neutral, oppose; None when some prompt of the item has no answer."""
    prompts: int
    """Prompts of the item."""
    missing: int
    """Prompts without an answer."""
    diagnostics: dict[str, float] = field(default_factory=dict)
    """Means over the answered prompts: acquiescence, order_gap, option_mass, entropy, pmi_stance."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One checkpoint, answered by all probes."""

    checkpoint: Checkpoint
    """The checkpoint that was asked."""
    families: dict[str, tuple[ItemAnswers, ...]]
    """Answers by probe family (`stance`, `control`), sorted by item id."""
    protocol: dict[str, Any]
    """Versions, precision and settings that made the answers, as far as they are recorded."""
    weights: str | None
    """Fingerprint of the weights; None in plain lm-eval output, which does not record one."""
    prompts_sha256: str
    """SHA-256 over (prompt id, prompt hash) of every prompt: equal for checkpoints asked alike."""
    sha256: str
    """SHA-256 over the names and bytes of the files that it was read from."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A checkpoint without a usable snapshot."""

    checkpoint: Checkpoint
    """The checkpoint."""
    reason: str
    """Why it could not be measured."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The ordered snapshots of a sequence."""

    sequence: Sequence
    """The sequence that was traced."""
    snapshots: tuple[Snapshot, ...]
    """Snapshots in the order of the sequence."""
    failures: tuple[Failure, ...]
    """Checkpoints that have no snapshot."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that never travels without its interval and its n."""

    value: float | None
    """Point estimate; None when it is undefined, with the reason in `method`."""
    low: float | None
    """Lower end of the interval; None when no interval is defined."""
    high: float | None
    """Upper end of the interval."""
    n: int
    """Number of independent units (items) behind it."""
    method: str
    """How value and interval were computed, or why they are undefined."""
    level: float = 0.95
    """Nominal coverage of the interval."""

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as it stands in `drift.json`."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "method": self.method,
            "level": self.level,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Estimate:
        """Return the estimate that `to_json` wrote."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Panel:
    """The stance vectors of one family at every measured checkpoint: what the statistics work on."""

    items: tuple[str, ...]
    """Item ids, sorted, without those that some checkpoint left unanswered."""
    topics: tuple[str, ...]
    """Topic of each item."""
    stances: NDArray[np.float64]
    """Probabilities, shape (checkpoints, items, 3)."""
    dropped: tuple[str, ...] = ()
    """Items left out because a checkpoint has no answer to one of their prompts."""

    @property
    def topic_names(self) -> tuple[str, ...]:
        """Return the topics in alphabetical order."""
        return tuple(sorted(set(self.topics)))
