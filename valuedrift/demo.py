"""The demo: a small real model trained, traced, ranked and shown; what came out is checked, not arranged."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tqdm import tqdm

from valuedrift import commands
from valuedrift.runners.demo.plan import PROMPTS, RUNS, SIZES, prepare
from valuedrift.runners.quiet import quiet_libraries
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import read_json

SFT_EARLY = 0.25
"""Share of the SFT stage by which half of its drift must have happened to be called early."""


def run(output: Path, size: str, seed: int) -> int:
    """Return 0 when the known result was seen, 1 when part of it was not; everything is below `output`."""
    seconds: dict[str, float] = {}
    with _phase("texts and tokenizer", seconds):
        recipes = prepare(output, SIZES[size], seed)
    with _workers(output / "log.txt") as workers:
        with _phase("training", seconds):
            _finish(_submit_training(workers, output, recipes))
        with _phase("tracing", seconds):
            _finish([workers.submit(_trace, output, name) for name in RUNS])
    with _phase("drift, ranking, site", seconds):
        with (output / "log.txt").open("a", encoding="utf-8") as log, redirect_stdout(log):
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


def _submit_training(workers: Executor, output: Path, recipes: dict[str, Path]) -> list[Future[None]]:
    for name in ("base", "sft"):
        # Each starts from what the one before it ends with.
        workers.submit(_train, recipes[name], output / "runs" / name).result()
    shared = workers.submit(_trace, output, "sft")
    return [shared, *(workers.submit(_train, recipes[name], output / "runs" / name) for name in RUNS)]


@contextmanager
def _workers(log: Path) -> Iterator[Executor]:
    # Two processes of one thread each: a model of this size does not fill two threads.
    context = multiprocessing.get_context("spawn")
    with (
        _environment(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive"),
        ProcessPoolExecutor(2, mp_context=context, initializer=_write_to, initargs=(log,)) as workers,
    ):
        yield workers


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _write_to(log: Path) -> None:
    # The workers' lines would run into each other; they are for whoever looks for a fault.
    quiet_libraries()
    sys.stdout = sys.stderr = log.open("a", encoding="utf-8", buffering=1)


def _finish(futures: list[Future[None]]) -> None:
    # Disabled unless standard error is a terminal.
    for future in tqdm(
        as_completed(futures), total=len(futures), unit="run", disable=None, dynamic_ncols=True
    ):
        future.result()


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


def _train(recipe: Path, output: Path) -> None:
    _call(commands.train, recipe=recipe, output=output)


def _trace(output: Path, name: str) -> None:
    folder = output / "runs" / name
    reuse = [] if name == "sft" else [output / "runs" / "sft" / "trace"]
    options = {"tasks": "valuedrift", "batch_size": PROMPTS, "dtype": "float32", "device": "cpu"}
    _call(commands.trace, sequence=folder / "sequence.yaml", output=None, reuse=reuse, **options)


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
    if command(argparse.Namespace(**options)) != 0:
        where = str(options.get("sequence") or options.get("trace") or command.__name__)
        raise UserError(
            Fault(where, "a step that was done in part", "all of it", "see log.txt in the demo's folder")
        )


@contextmanager
def _phase(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"== {name}", flush=True)
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start
    sys.stdout.flush()
