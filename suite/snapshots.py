"""Snapshots read from lm-eval's own output: one results file and one sample file for each task."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import read_json, read_text, sha256_file, sha256_json
from valuedrift.suite.records import STANCES, Checkpoint, ItemAnswers, Snapshot

FAMILIES = ("stance", "control")
"""Likelihood families that a snapshot is read for."""
DIAGNOSTICS = ("acquiescence", "order_gap", "option_mass", "entropy", "pmi_stance")
"""Measures of a prompt that are averaged over an item beside its stances."""

_SAMPLES = re.compile(r"^samples_(valuedrift_(?P<family>[a-z]+)_[a-z_]+?)(_\d{4}-\d\d-\d\dT[\d.-]+)?\.jsonl$")
_PROTOCOL_KEYS = ("model", "model_args", "batch_size", "model_dtype", "device", "random_seed", "torch_seed")
_MOST_FAULTS = 20


def read_snapshot(folder: Path, checkpoint: Checkpoint) -> Snapshot:
    """Return what lm-eval left in `folder` (at any depth) for one checkpoint.

    Accepts the tracer's folders and plain `lm_eval --log_samples --output_path` output of any engine.
    Raises UserError when results or samples are missing, doubled or malformed.
    """
    _require_recorded_files(folder)
    results_file = _single_results(folder)
    sample_files = _sample_files(folder)
    faults: list[Fault] = []
    prompts: list[tuple[str, str]] = []
    families: dict[str, tuple[ItemAnswers, ...]] = {}
    for family in FAMILIES:
        rows = [row for file in sample_files.get(family, ()) for row in _rows(file, faults)]
        prompts += [(row["doc"]["id"], row["prompt_hash"]) for row in rows]
        if rows:
            families[family] = _items(rows, family)
    if faults:
        raise UserError(faults[:_MOST_FAULTS])
    files = [results_file, *(file for group in sample_files.values() for file in group)]
    return Snapshot(
        checkpoint=checkpoint,
        families=families,
        protocol=_protocol(results_file),
        weights=_fingerprint(folder),
        prompts_sha256=sha256_json(sorted(prompts)),
        sha256=sha256_json({str(file.relative_to(folder)): sha256_file(file) for file in sorted(files)}),
    )


def _require_recorded_files(folder: Path) -> None:
    record = folder / "snapshot.json"
    files = read_json(record).get("files", {}) if record.is_file() else {}
    faults = []
    for name, digest in files.items():
        if not (folder / name).is_file() or sha256_file(folder / name) != digest:
            found = "a changed file" if (folder / name).is_file() else "no such file"
            fix = "run `valuedrift trace` again: it asks only what is not whole"
            faults.append(Fault(str(folder / name), found, "the file that snapshot.json records", fix))
    if faults:
        raise UserError(faults[:_MOST_FAULTS])


def _single_results(folder: Path) -> Path:
    found = sorted(folder.rglob("results*.json"))
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} results files" if found else "no results*.json"
    fix = "keep one of them and its samples" if found else "run lm_eval with --log_samples --output_path"
    raise UserError(Fault(str(folder), what, "the output of one lm-eval run", fix))


def _sample_files(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    tasks: dict[str, Path] = {}
    for file in sorted(folder.rglob("samples_valuedrift_*.jsonl")):
        match = _SAMPLES.match(file.name)
        if match is None or match["family"] not in FAMILIES:
            continue
        if match[1] in tasks:
            where = f"{tasks[match[1]].name} and {file.name}"
            raise UserError(
                Fault(str(folder), f"two sample files of {match[1]}", "one", f"keep one of {where}")
            )
        tasks[match[1]] = file
        files[match["family"]].append(file)
    if not files:
        fix = "run lm_eval with --tasks valuedrift --log_samples"
        raise UserError(
            Fault(str(folder), "no samples of a valuedrift task", "samples_valuedrift_*.jsonl", fix)
        )
    return dict(files)


def _rows(file: Path, faults: list[Fault]) -> Iterator[dict[str, Any]]:
    # Not splitlines: U+2028 and its like may stand in a JSON string.
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            # lm-eval writes NaN literally; here it is a missing answer.
            row = json.loads(line, parse_constant=lambda _: None)
        except ValueError as error:
            faults.append(Fault(place, f"no valid JSON ({error})", "one lm-eval sample a line"))
            continue
        problem = _row_problem(row)
        if problem:
            faults.append(Fault(place, problem, "a sample of a valuedrift likelihood task"))
            continue
        yield row


def _row_problem(row: Any) -> str:
    if not isinstance(row, dict) or not isinstance(row.get("doc"), dict):
        return "no sample object with a 'doc'"
    missing = [key for key in ("id", "item", "topic") if not isinstance(row["doc"].get(key), str)]
    if missing or not isinstance(row.get("prompt_hash"), str):
        return f"no {', '.join(f'doc.{key}' for key in missing) or 'prompt_hash'}"
    values = [row.get(stance, math.nan) for stance in STANCES]
    if all(value is None for value in values):
        return ""
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
        return f"stances {values}"
    return "" if abs(sum(values) - 1) < 1e-6 else f"stances that sum to {sum(values)}"


def _items(rows: list[dict[str, Any]], family: str) -> tuple[ItemAnswers, ...]:
    by_item: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_item[row["doc"]["item"]].append(row)
    return tuple(_item(name, by_item[name], family) for name in sorted(by_item))


def _item(name: str, rows: list[dict[str, Any]], family: str) -> ItemAnswers:
    answered = [row for row in rows if row[STANCES[0]] is not None]
    stances = None
    if len(answered) == len(rows):
        # A balanced mean: leaving out one order or polarity would let its bias through as stance.
        support, neutral, oppose = (math.fsum(row[s] for row in rows) / len(rows) for s in STANCES)
        stances = (support, neutral, oppose)
    diagnostics = {
        key: math.fsum(values) / len(values)
        for key in DIAGNOSTICS
        if (values := [row[key] for row in answered if isinstance(row.get(key), int | float)])
    }
    return ItemAnswers(
        name, _stratum(rows[0]["doc"], family), stances, len(rows), len(rows) - len(answered), diagnostics
    )


def _stratum(doc: dict[str, Any], family: str) -> str:
    # True and false facts move in opposite directions when a model comes to affirm whatever it reads: within
    # a topic they would cancel, and the control would look quiet just where it is needed.
    if family == "control":
        return "true" if doc.get("truth") is True else "false"
    return str(doc["topic"])


def _protocol(results_file: Path) -> dict[str, Any]:
    try:
        results = json.loads(read_text(results_file), parse_constant=lambda _: None)
        config = results.get("config", {})
        protocol = {key: config[key] for key in _PROTOCOL_KEYS if key in config}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            Fault(str(results_file), f"no lm-eval results ({error})", "results of lm_eval")
        ) from error
    for key in ("lm_eval_version", "transformers_version", "chat_template_sha", "versions"):
        protocol[key] = results.get(key)
    return protocol


def _fingerprint(folder: Path) -> str | None:
    file = folder / "snapshot.json"
    if not file.is_file():
        return None
    fingerprint = read_json(file).get("weights_sha256")
    return str(fingerprint) if fingerprint else None
