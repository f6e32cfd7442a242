"""What each verb of the command line does: read files, call one module, write files, print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from valuedrift.runners.quiet import quiet_libraries
from valuedrift.suite.errors import Fault, UserError


def trace(options: argparse.Namespace) -> int:
    """Ask every checkpoint of a sequence; 1 when some could not be asked."""
    quiet_libraries()
    from valuedrift.runners.tracing import Settings
    from valuedrift.runners.tracing import trace as run
    from valuedrift.suite.sequences import read_sequence
    from valuedrift.tasks import folder

    names = tuple(filter(None, options.tasks.split(",")))
    _require_tasks_and_traces(names, options.reuse)
    settings = Settings(names, options.batch_size, options.dtype, options.device)
    sequence = read_sequence(options.sequence)
    output = options.output or options.sequence.parent / "trace"
    outcomes = run(sequence, output, folder(), settings, options.reuse)
    for outcome in outcomes:
        if outcome.how == "failed":
            print(f"failed: {outcome.checkpoint.label}: {outcome.reason}", file=sys.stderr)
    counts = {
        how: sum(outcome.how == how for outcome in outcomes) for how in ("asked", "kept", "reused", "failed")
    }
    print(f"{output}: " + ", ".join(f"{count} {how}" for how, count in counts.items() if count))
    return 1 if counts["failed"] else 0


def _require_tasks_and_traces(tasks: tuple[str, ...], reused: list[Path]) -> None:
    faults = [
        Fault(f"--reuse {folder}", "no such folder", "a trace folder")
        for folder in reused
        if not folder.is_dir()
    ]
    if not tasks:
        faults.append(Fault("--tasks", "no name", "lm-eval tasks, comma-separated"))
    if faults:
        raise UserError(faults)


def drift(options: argparse.Namespace) -> int:
    """Compute the drift of a trace; 1 when some checkpoint of the sequence has no snapshot."""
    from valuedrift.suite.files import write_json, write_text
    from valuedrift.suite.magnitude import Resampling
    from valuedrift.suite.report_files import report_csv, report_json
    from valuedrift.suite.reports import drift_report
    from valuedrift.suite.sequences import read_sequence
    from valuedrift.suite.traces import read_trace
    from valuedrift.suite.versions import versions
    from valuedrift.tables import drift_table

    output = options.output or options.trace.parent / "drift.json"
    if options.csv and options.csv.resolve() == output.resolve():
        raise UserError(Fault("--csv", f"{options.csv}, which is drift.json's own", "another file"))
    sequence = read_sequence(options.sequence) if options.sequence else None
    found = read_trace(options.trace, sequence)
    report = drift_report(found, Resampling(options.draws, options.seed))
    write_json(output, report_json(report, versions("numpy", "scipy")))
    if options.csv:
        write_text(options.csv, report_csv(report))
    items = len(report.panels["stance"].items)
    print(f"{found.sequence.run}: {len(found.snapshots)} checkpoints, {items} items")
    print(drift_table(report, options.topics))
    print(f"written: {output}" + (f", {options.csv}" if options.csv else ""))
    for failure in found.failures:
        print(f"not measured: {failure.checkpoint.label}: {failure.reason}", file=sys.stderr)
    return 1 if found.failures else 0


def rank(options: argparse.Namespace) -> int:
    """Rank drift files."""
    from valuedrift.leaderboard.ranking import rank as run
    from valuedrift.leaderboard.ranking import ranking_json
    from valuedrift.suite.files import write_json
    from valuedrift.suite.magnitude import Resampling
    from valuedrift.suite.report_files import read_drift
    from valuedrift.suite.versions import versions
    from valuedrift.tables import algorithm_table, ranking_table

    ranking = run([read_drift(path) for path in options.drift], Resampling(options.draws, options.seed))
    write_json(options.output, ranking_json(ranking, options.output, versions("numpy", "scipy")))
    print(ranking_table(ranking))
    smallest, items = ranking.detectable, ranking.draws.items
    print(f"\nSmallest D told from 0 with power .8 (median): {smallest:.3f}, {items} items;")
    print("held against the control's floor, a drift must be larger.")
    print("Drift has no good direction; stages whose ranks overlap are not distinguishable.\n")
    print(algorithm_table(ranking))
    print(f"written: {options.output}")
    return 0


def site(options: argparse.Namespace) -> int:
    """Write the static site of a ranking."""
    from valuedrift.leaderboard.site import build_site

    page = build_site(options.ranking, options.output)
    print(f"open {page}")
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a recipe."""
    quiet_libraries()
    from valuedrift.runners.training import train as run

    sequence = run(options.recipe, options.output)
    print(f"{sequence.file}: {len(sequence.checkpoints)} checkpoints")
    return 0


def demo(options: argparse.Namespace) -> int:
    """Train, trace, rank and show a small real model."""
    quiet_libraries()
    from valuedrift.demo import run

    return run(options.output, options.size, options.seed)


def scan(options: argparse.Namespace) -> int:
    """Write the sequence of a Trainer's output folder."""
    from valuedrift.runners.scanning import Labels
    from valuedrift.runners.scanning import scan as run

    output = options.output or options.folder / "sequence.yaml"
    name = options.run or options.folder.resolve().name
    sequence = run(options.folder, output, Labels(name, options.stage, options.algorithm, options.base))
    steps = ", ".join(str(point.step) for point in sequence.checkpoints)
    print(f"{output}: {len(sequence.checkpoints)} checkpoints, steps {steps}")
    return 0


def link(options: argparse.Namespace) -> int:
    """Make plain `lm_eval --tasks valuedrift` work, or undo it."""
    from valuedrift.runners.link import link as make
    from valuedrift.runners.link import unlink
    from valuedrift.tasks import folder

    print(unlink() if options.remove else make(folder()))
    return 0


def tasks_path(_: argparse.Namespace) -> int:
    """Print the folder for lm-eval's --include_path."""
    from valuedrift.tasks import folder

    print(folder())
    return 0


def lm_eval(options: argparse.Namespace) -> int:
    """Run lm-eval with our tasks known to it."""
    from valuedrift.runners.lmeval import run
    from valuedrift.tasks import folder

    return run(options.arguments, folder())


def check_items(options: argparse.Namespace) -> int:
    """Check probe folders; every fault is an error."""
    from valuedrift.suite.items import check_folder
    from valuedrift.tasks import folder

    place: Path = options.folder or folder()
    faults = check_folder(place)
    if faults:
        raise UserError(faults)
    print(f"{place}: no faults")
    return 0
