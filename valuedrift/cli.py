"""The command line: verbs, options, exit codes (0 fine, 1 partly done, 2 unusable input)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from valuedrift import __version__, commands
from valuedrift.suite.errors import Fault, UserError

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code of one command: 0, 1 when something was left out, 2 for the user's mistakes."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["lm-eval"]:
        # lm-eval parses its own options; argparse would take `--help` and `--tasks` for ours.
        return _guarded(commands.lm_eval, argparse.Namespace(arguments=given[1:]))
    options = parser().parse_args(given)
    command: Callable[[argparse.Namespace], int] = options.command
    return _guarded(command, options)


def _guarded(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return command(options)
    except UserError as error:
        return _told(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "valuedrift":
            raise
        fix = "pip install 'valuedrift[all]'"
        return _told(UserError(Fault("environment", f"no package {error.name}", "an optional package", fix)))
    except OSError as error:
        if error.filename is None:
            raise
        reason = error.strerror or str(error)
        return _told(
            UserError(Fault(str(error.filename), f"unusable ({reason})", "a place to read or write"))
        )
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, the same command goes on from it", file=sys.stderr)
        return EXIT_INTERRUPTED


def _told(error: UserError) -> int:
    for fault in error.faults:
        print(f"error: {fault}", file=sys.stderr)
    return 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of every verb."""
    top = argparse.ArgumentParser(
        prog="valuedrift",
        description="How a language model's expressed values move during post-training.",
        epilog="Start with: valuedrift demo",
    )
    top.add_argument("--version", action="version", version=__version__)
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_pipeline(verbs)
    _add_tools(verbs)
    return top


def _add_pipeline(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _verb(verbs, "demo", commands.demo, "train, trace, rank and show a small real model (minutes)")
    demo.add_argument(
        "-o", "--output", type=Path, default=Path("demo-run"), help="folder for everything (demo-run)"
    )
    demo.add_argument(
        "--size", choices=("full", "smallest"), default="full", help="smallest: for continuous checks"
    )
    demo.add_argument("--seed", type=_seed, default=1, help="training seed (1)")

    train = _verb(verbs, "train", commands.train, "train a recipe and write its sequence.yaml")
    train.add_argument("recipe", type=Path, help="recipe.yaml")
    train.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for checkpoints and sequence.yaml"
    )

    trace = _verb(verbs, "trace", commands.trace, "ask every checkpoint of a sequence all probes")
    trace.add_argument("sequence", type=Path, help="sequence.yaml")
    trace.add_argument("-o", "--output", type=Path, help="trace folder (trace/ beside the sequence)")
    trace.add_argument("--tasks", default="valuedrift", help="lm-eval tasks, comma-separated (valuedrift)")
    trace.add_argument("--batch-size", type=_positive, default=32, help="prompts in a forward pass (32)")
    trace.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    trace.add_argument("--device", default="cpu", help="torch device (cpu)")
    trace.add_argument(
        "--reuse", type=Path, action="append", default=[], metavar="TRACE",
        help="trace folder whose snapshots of the same weights may be copied; repeatable",
    )  # fmt: skip

    drift = _verb(verbs, "drift", commands.drift, "compute how far and when each value moved")
    drift.add_argument("trace", type=Path, help="trace folder, or folder of plain lm_eval outputs")
    drift.add_argument("--sequence", type=Path, help="sequence.yaml, for plain lm_eval outputs")
    drift.add_argument("-o", "--output", type=Path, help="drift.json (beside the trace)")
    drift.add_argument("--csv", type=Path, help="also write every estimate as CSV")
    drift.add_argument("--topics", action="store_true", help="print every topic")
    _add_resampling(drift)

    rank = _verb(verbs, "rank", commands.rank, "rank runs and algorithms by drift magnitude and time")
    rank.add_argument("drift", type=Path, nargs="+", help="drift.json files")
    rank.add_argument("-o", "--output", type=Path, default=Path("ranking.json"), help="ranking.json")
    _add_resampling(rank)

    site = _verb(verbs, "site", commands.site, "write the static site of a ranking")
    site.add_argument("ranking", type=Path, help="ranking.json")
    site.add_argument("-o", "--output", type=Path, default=Path("site"), help="folder of the site (site)")


def _add_tools(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sequence = verbs.add_parser("sequence", help="sequences of checkpoints")
    kinds = sequence.add_subparsers(metavar="COMMAND", required=True)
    scan = _verb(kinds, "scan", commands.scan, "write sequence.yaml for a Trainer's checkpoint-N folders")
    scan.add_argument("folder", type=Path, help="output_dir of the Trainer")
    scan.add_argument("-o", "--output", type=Path, help="file (sequence.yaml in the folder)")
    scan.add_argument("--run", help="name of the run (the folder's name)")
    scan.add_argument("--stage", default="train", help="name of the stage (train)")
    scan.add_argument("--algorithm", default="unknown", help="algorithm of the stage, e.g. sft, dpo")
    scan.add_argument("--base", type=Path, help="folder of the model that training started from (step 0)")

    link = _verb(verbs, "link", commands.link, "let plain lm_eval find the tasks")
    link.add_argument("--remove", action="store_true", help="take the link away")
    _verb(verbs, "tasks-path", commands.tasks_path, "print the folder for lm_eval --include_path")
    # Listed for the help text only: main() hands its arguments to lm-eval unparsed.
    _verb(verbs, "lm-eval", commands.lm_eval, "run lm-eval (run, ls, validate) with the tasks known to it")

    items = verbs.add_parser("items", help="probe items")
    kinds = items.add_subparsers(metavar="COMMAND", required=True)
    check = _verb(kinds, "check", commands.check_items, "check items, templates and task files")
    check.add_argument("folder", type=Path, nargs="?", help="folder of a probe family (the package's own)")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    added = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    added.set_defaults(command=command)
    return added


def _add_resampling(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--draws", type=_draws, default=2000, help="bootstrap draws (2000)")
    verb.add_argument("--seed", type=_seed, default=0, help="seed of the resampling (0)")


def _positive(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _draws(text: str) -> int:
    # With fewer an interval is a matter of luck; with one there is none.
    return _whole(text, 20)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    return value
