"""The demo: a small real model trained, traced, ranked and shown; what came out is checked, not arranged."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valuedrift import commands
from valuedrift.runners.demo.plan import RUNS, SIZES, Plan, prepare
from valuedrift.suite.files import read_json

SFT_EARLY = 0.25
"""Share of the SFT stage by which half of its drift must have happened to be called early."""


def run(output: Path, size: str, seed: int) -> int:
    """Return 0 when the known result was seen, 1 when some part of it was not; everything is below `output`."""
    plan = SIZES[size]
    seconds: dict[str, float] = {}
    with _phase("texts and tokenizer", seconds):
        recipes = prepare(output, plan, seed)
    with _phase("training", seconds):
        for name in ("base", "sft", *RUNS):
            _call(commands.train, recipe=recipes[name], output=output / "runs" / name)
    with _phase("tracing", seconds):
        for name in RUNS:
            _trace(output, name, plan)
    with _phase("drift, ranking, site", seconds):
        for name in RUNS:
            _drift(output, name)
        _rank(output)
    findings = list(_findings([read_json(_file(output, name)) for name in RUNS]))
    print("\nWhat is known of post-training, looked for in the numbers above:")
    for seen, text in findings:
        print(f"  {'seen' if seen else 'NOT SEEN'}: {text}")
    print("\nSeconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    print(f"Together {sum(seconds.values()):.0f} s. Open {(output / 'site' / 'index.html').resolve()}")
    return 0 if all(seen for seen, _ in findings) else 1


def _findings(reports: list[dict[str, Any]]) -> Iterator[tuple[bool, str]]:
    last = {report["run"]: report["spans"][-2] for report in reports}
    sft = reports[0]["spans"][0]
    moved, t50 = sft["values"]["D"], sft["timing"]["t50"]
    early = sft["verdict"] == "drift" and t50["value"] is not None and t50["high"] < SFT_EARLY
    when = "never" if t50["value"] is None else f"after {t50['value']:.0%} of its steps"
    yield early, f"SFT sets the stance early (D {moved['value']:.3f}, half of it {when})"
    for algorithm in ("dpo", "simpo"):
        toward, away = (last[f"{algorithm}-{side}"]["values"]["valence"] for side in ("support", "oppose"))
        text = f"support {toward['value']:+.3f}, oppose {away['value']:+.3f} in support - oppose"
        yield toward["low"] > 0 > away["high"], f"switched pairs move {algorithm.upper()} apart ({text})"
    style = last["dpo-style"]
    size, floor = style["values"]["D"]["value"], style["floor"]
    quiet = style["verdict"].startswith("within noise floor")
    yield quiet, f"pairs that differ in style only stay in the noise floor (D {size:.3f}, floor {floor:.3f})"


def _trace(output: Path, name: str, plan: Plan) -> None:
    earlier = [output / "runs" / other / "trace" for other in RUNS[: RUNS.index(name)]]
    sequence = output / "runs" / name / "sequence.yaml"
    options = {"tasks": "valuedrift", "batch_size": plan.batch_size, "dtype": "float32", "device": "cpu"}
    _call(commands.trace, sequence=sequence, output=None, reuse=earlier, **options)


def _drift(output: Path, name: str) -> None:
    options = {"sequence": None, "csv": None, "topics": False, "draws": 2000, "seed": 0}
    _call(commands.drift, trace=output / "runs" / name / "trace", output=_file(output, name), **options)


def _rank(output: Path) -> None:
    ranking = output / "ranking.json"
    _call(commands.rank, drift=[_file(output, name) for name in RUNS], output=ranking, draws=2000, seed=0)
    _call(commands.site, ranking=ranking, output=output / "site")


def _file(output: Path, name: str) -> Path:
    return output / "runs" / name / "drift.json"


def _call(command: Any, **options: Any) -> None:
    # The same functions that the verbs call, so that the demo shows what a user's own commands do.
    command(argparse.Namespace(**options))


@contextmanager
def _phase(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"== {name}", flush=True)
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start
    sys.stdout.flush()
