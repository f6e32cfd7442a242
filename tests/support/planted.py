"""Traces with planted drift, in lm-eval's own file format: what the tests measure when no model is at hand.

    plant(folder, [Planted("sft", "sft", 200, "support", 0.1, seed=1), Planted("dpo", "dpo", 100, None)])

Item ids, topics, prompts and scoring are those of `tasks/`; log-likelihoods are simulated.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuedrift.suite.magnitude import Resampling
from valuedrift.suite.records import STANCES, Trace
from valuedrift.suite.report_files import DriftFile, read_drift, report_json
from valuedrift.suite.reports import drift_report
from valuedrift.suite.sequences import read_sequence, write_sequence
from valuedrift.suite.traces import read_trace

Floats = NDArray[np.float64]
SEQUENCE = "sequence.yaml"
SAMPLE_DATE = "2026-01-01T00-00-00.000000"
PRIOR = (-7.1, -7.9, -7.4)
"""Log-likelihoods of the three choices without a prompt."""
OPTION_MASS = 0.6
"""Probability of the three choices together, given a prompt."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A stage of training and the drift that is planted in it."""

    name: str
    """Name of the stage."""
    algorithm: str
    """Algorithm, lower case."""
    steps: int
    """Optimiser steps."""
    target: str | None = None
    """Stance that mass moves to; None for no drift."""
    size: float = 0.0
    """Mean over items of the total variation at the end of the stage: D, and M of the target stance."""
    half: float = 0.3
    """Fraction of the steps at which half of it has happened: t50."""
    seed: int | None = None
    """Training seed; None for the run's. Stages with equal fields are byte-identical when theirs is given."""
    control: float = 0.0
    """The same as `size` for the control facts, away from the truth."""
    acquiescence: float = 0.0
    """Log-odds of agreeing over denying that are added by the end, whatever the statement."""
    data: tuple[str, ...] = ()
    """Names of the data sets; none stands for `planted-<algorithm>`."""


@dataclass(frozen=True, slots=True)
class Probes:
    """One family's prompts, with what does not change between checkpoints."""

    family: str
    """`stance` or `control`."""
    heads: tuple[str, ...]
    """Start of each sample's JSON line."""
    docs: tuple[dict[str, Any], ...]
    """lm-eval documents."""
    item_of: NDArray[np.intp]
    """Item of each prompt."""
    signs: Floats
    """1 where affirming supports the item (or its truth), -1 where it opposes."""
    start: Floats
    """Stances of the base model, shape (items, 3)."""
    bias: Floats
    """Log-odds that a wording adds, shape (prompts, 3), stances."""
    score: Callable[[dict[str, Any], list[tuple[float, bool]]], dict[str, float]]
    """Scoring of the task."""


def plant(
    folder: Path,
    stages: Iterable[Planted | tuple[Any, ...]],
    *,
    run: str = "planted",
    seed: int = 0,
    noise: float = 0.05,
    checkpoints: int = 10,
) -> Path:
    """Return `folder`, filled with one snapshot folder for each checkpoint and a `sequence.yaml`.

    `noise` is the standard deviation of an item's log-odds at a checkpoint; a prompt's is twice that. The
    first stage has `checkpoints` snapshots, 0 included; each further one has one less, as it starts from the
    last. All runs start from the same base model.
    """
    planned = [stage if isinstance(stage, Planted) else Planted(*stage) for stage in stages]
    families = [probes(family) for family in ("stance", "control")]
    current = {part.family: part.start for part in families}
    lean = 0.0
    points: dict[str, list[int]] = {}
    for position, stage in enumerate(planned):
        own = seed if stage.seed is None else stage.seed
        generator = np.random.default_rng([own, zlib.crc32(stage.name.encode())])
        ends = {part.family: _end(part, current[part.family], stage, generator) for part in families}
        points[stage.name] = schedule(stage.steps, checkpoints)[position > 0 :]
        for step in points[stage.name]:
            share = (step / stage.steps) ** (np.log(0.5) / np.log(stage.half))
            place = folder / f"{stage.name}-{step:06d}"
            place.mkdir(parents=True)
            for part in families:
                at = current[part.family] + share * (ends[part.family] - current[part.family])
                _write_samples(
                    place, part, _logits(part, at, lean + share * stage.acquiescence, noise, generator)
                )
            _write_results(place)
        current, lean = ends, lean + stage.acquiescence
    _write_sequence(folder, run, seed, planned, points)
    return folder


def schedule(steps: int, count: int) -> list[int]:
    """Return the steps of a stage's checkpoints: 0, log-spaced from steps/500, and .6 and .8 of them."""
    spaced = np.geomspace(max(1, steps / 500), steps, max(2, count - 3)).round().astype(int).tolist()
    late = [round(0.6 * steps), round(0.8 * steps)] if count > 4 else []
    return sorted({0, steps, *spaced[-(count - 1 - len(late)) :], *late})


def read_planted(folder: Path) -> Trace:
    """Return the trace that `plant` wrote."""
    return read_trace(folder, read_sequence(folder / SEQUENCE))


def drift_file(folder: Path, output: Path, draws: int = 200, seed: int = 0) -> DriftFile:
    """Return the `drift.json` of a planted trace, written to `output`."""
    report = drift_report(read_planted(folder), Resampling(draws, seed))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report_json(report, {"valuedrift": "test"})), encoding="utf-8")
    return read_drift(output)


@cache
def probes(family: str) -> Probes:
    """Return the prompts of a family of `tasks/`, with simulated answers of a base model."""
    import valuedrift.tasks.control.utils as control
    import valuedrift.tasks.stance.utils as stance

    score = stance.score if family == "stance" else control.score
    root = Path(stance.__file__).parent.parent / family
    topics = sorted(file.stem for file in (root / "items").glob("*.jsonl"))
    docs: list[Any] = [doc for topic in topics for doc in stance.documents(root, topic)["test"]]
    names = sorted({doc["item"] for doc in docs})
    generator = np.random.default_rng([7, zlib.crc32(family.encode())])
    signs = np.array([doc["polarity"] * (1 if doc["truth"] else -1) for doc in docs], dtype=np.float64)
    start = _softmax(generator.normal((0.2, -0.2, 0.0), 0.35, (len(names), 3)))
    heads = [
        _head(doc, n) for _, group in groupby(docs, lambda doc: doc["topic"]) for n, doc in enumerate(group)
    ]
    return Probes(
        family=family,
        heads=tuple(heads),
        docs=tuple(docs),
        item_of=np.array([names.index(doc["item"]) for doc in docs], dtype=np.intp),
        signs=signs,
        start=start,
        bias=generator.normal(0, 0.3, (len(docs), 3)),
        score=score,
    )


def _end(part: Probes, start: Floats, stage: Planted, generator: np.random.Generator) -> Floats:
    unequal = 1 + 0.25 * np.clip(generator.standard_normal(len(start)), -2, 2)
    target, size = (stage.target, stage.size) if part.family == "stance" else ("oppose", stage.control)
    if target is None or size == 0:
        return start
    goal = np.eye(3)[STANCES.index(target)]
    share = np.minimum(0.95, size * unequal / unequal.mean() / (1 - start @ goal))
    end: Floats = start + share[:, None] * (goal - start)
    return end


def _logits(
    part: Probes, stances: Floats, lean: float, noise: float, generator: np.random.Generator
) -> Floats:
    """Return log-odds (prompts, 3); without noise an item's prompts have `stances` as their mean."""
    counts = np.bincount(part.item_of)[:, None]
    corrected = stances
    for _ in range(4):
        mean = np.zeros_like(stances)
        np.add.at(mean, part.item_of, _softmax(np.log(corrected)[part.item_of] + part.bias))
        corrected = corrected * stances / (mean / counts)
    wobble = generator.normal(0, noise, stances.shape)[part.item_of]
    wobble = wobble + generator.normal(0, 2 * noise, part.bias.shape)
    agreeing = lean / 2 * part.signs[:, None] * np.array([1.0, 0.0, -1.0])
    logits: Floats = np.log(corrected)[part.item_of] + part.bias + wobble + agreeing
    return logits


def _write_samples(place: Path, part: Probes, logits: Floats) -> None:
    choices = np.where(part.signs[:, None] > 0, logits, logits[:, ::-1])
    given = np.log(_softmax(choices) * OPTION_MASS).tolist()
    lines: dict[str, list[str]] = {}
    for head, doc, values in zip(part.heads, part.docs, given, strict=True):
        results = [(value, False) for value in (*values, *PRIOR)]
        answers = [[repr(value), "False"] for value, _ in results]
        tail = json.dumps(
            {"resps": [[answer] for answer in answers], "filtered_resps": answers, **part.score(doc, results)}
        )
        lines.setdefault(doc["topic"], []).append(f"{head}, {tail[1:]}\n")
    for topic, rows in lines.items():
        file = place / f"samples_valuedrift_{part.family}_{topic}.jsonl"
        file.write_text("".join(rows), encoding="utf-8")


def _write_results(place: Path) -> None:
    config = {"model": "planted", "model_args": {}, "batch_size": 1, "device": "cpu", "random_seed": 0}
    results = {
        "results": {},
        "versions": {"valuedrift": "1"},
        "config": config,
        "chat_template_sha": None,
        "transformers_version": "0",
        "lm_eval_version": "0",
    }
    (place / "results.json").write_text(json.dumps(results), encoding="utf-8")


def _write_sequence(
    folder: Path, run: str, seed: int, stages: Sequence[Planted], points: dict[str, list[int]]
) -> None:
    written = [
        {
            "name": stage.name,
            "algorithm": stage.algorithm,
            "seed": seed if stage.seed is None else stage.seed,
            "data": [{"name": name} for name in stage.data or (f"planted-{stage.algorithm}",)],
            "checkpoints": [
                {"step": step, "path": f"checkpoints/{stage.name}-{step:06d}"} for step in points[stage.name]
            ],
        }
        for stage in stages
    ]
    value = {"schema": "valuedrift/sequence/1", "run": run, "base": "planted-base", "stages": written}
    write_sequence(folder / SEQUENCE, value)


def _head(doc: dict[str, Any], number: int) -> str:
    contexts = (doc["prompt"], "")
    calls = [(context, f" {choice}") for context in contexts for choice in doc["choices"]]
    head = {
        "doc_id": number,
        "doc": doc,
        "target": "0",
        "arguments": {f"gen_args_{n}": {"arg_0": a, "arg_1": b} for n, (a, b) in enumerate(calls)},
        "filter": "none",
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(doc["prompt"]),
        "target_hash": _hash("0"),
    }
    return json.dumps(head)[:-1]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _softmax(logits: Floats) -> Floats:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return result
