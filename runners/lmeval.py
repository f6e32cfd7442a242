"""lm-eval's own command line, run in this process with our tasks in its reach."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import yaml

from valuedrift.runners.link import is_linked
from valuedrift.suite.errors import Fault, UserError

_WITH_TASKS = ("run", "ls", "validate")


def run(arguments: list[str], tasks: Path) -> int:
    """Run `lm_eval <arguments>` so that it finds the tasks of a folder; its exit code.

    Adds `--include_path <tasks>`, unless the user gave one or the tasks are linked into lm-eval.
    Raises UserError for `--use_cache` and when lm-eval is not installed; lm-eval's own exceptions pass.
    """
    options = _options(arguments)
    if options.use_cache:
        raise UserError(_cache_fault(str(options.use_cache)))
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(Fault("lm_eval", "not installed", "lm-eval 0.4.13 or newer", "pip install lm-eval"))
    if _takes_tasks(arguments) and not options.include_path and not is_linked(tasks):
        arguments = [*arguments, "--include_path", str(tasks.resolve())]
    return _call(arguments)


def _options(arguments: list[str]) -> argparse.Namespace:
    """Return `use_cache` and `include_path` from the command line, or else from the file of `--config`."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--use_cache", "-c")
    parser.add_argument("--include_path")
    parser.add_argument("--config", "-C")
    # lm-eval's flags that can stand before another letter, as in `-sc cache`.
    for flag in "swx":
        parser.add_argument(f"-{flag}", action="store_true")
    try:
        options, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        # An option without its value: lm-eval says so itself.
        return argparse.Namespace(use_cache=None, include_path=None)
    config = _config(Path(options.config)) if options.config else {}
    options.use_cache = options.use_cache or config.get("use_cache")
    options.include_path = options.include_path or config.get("include_path")
    return options


def _config(path: Path) -> dict[str, object]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        # lm-eval reads the same file next and says what is wrong with it.
        return {}
    return value if isinstance(value, dict) else {}


def _takes_tasks(arguments: list[str]) -> bool:
    # lm-eval reads two or more words without a command as `run`, and answers a single one with its help.
    return len(arguments) > 1 and (arguments[0] in _WITH_TASKS or arguments[0].startswith("-"))


def _cache_fault(path: str) -> Fault:
    reason = (
        "lm-eval's cache is not keyed by the model: the second checkpoint would get the first one's answers"
    )
    return Fault("lm_eval --use_cache", f"'{path}'", f"no cache ({reason})", "leave --use_cache out")


def _call(arguments: list[str]) -> int:
    from lm_eval.__main__ import cli_evaluate

    before = sys.argv
    sys.argv = ["lm_eval", *arguments]
    try:
        cli_evaluate()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    finally:
        sys.argv = before
    return 0
