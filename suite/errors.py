"""What a user did wrong, told once, with the place and the way on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input."""

    where: str
    """File, with line or key where they are known, e.g. `sequence.yaml:12 stages[0].name`."""
    found: str
    """What stands there."""
    expected: str
    """What should stand there."""
    fix: str = ""
    """What to type or change next; empty when `expected` says it."""

    def __str__(self) -> str:
        """Return the fault as one line."""
        tail = f"; {self.fix}" if self.fix else ""
        return f"{self.where}: found {self.found}, expected {self.expected}{tail}"


class UserError(Exception):
    """Input that cannot be used: every fault of it at once; the command line exits with 2."""

    def __init__(self, faults: Fault | Iterable[Fault]):
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[UserError], tuple[tuple[Fault, ...]]]:
        """Let a worker process hand the faults, not only their text, to its parent."""
        return type(self), (self.faults,)


class CheckpointError(UserError):
    """One checkpoint that cannot be evaluated; the others of its sequence can."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest known name, or the list of known names."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(names)}" if names else ""
