"""A snapshot folder in lm-eval's format: results JSON, one sample JSONL a task, and its own record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from valuedrift.suite.files import folder_whole, read_json, sha256_file, sha256_json, write_json

SCHEMA = "valuedrift/snapshot/1"
RECORD = "snapshot.json"


def write_snapshot(folder: Path, results: dict[str, Any], key: dict[str, Any]) -> None:
    """Write lm-eval's results and samples for one checkpoint, whole or not at all.

    `key` says what the answers depend on (weights, protocol): the same key means the same bytes.
    """
    samples: dict[str, list[dict[str, Any]]] = results["samples"]
    aggregated = {name: value for name, value in results.items() if name != "samples"}
    aggregated["config"] = {"model": "hf", **key["protocol"]}
    aggregated["task_hashes"] = {task: _task_hash(rows) for task, rows in samples.items()}
    for name in ("lm_eval_version", "transformers_version"):
        aggregated[name] = key["protocol"]["versions"][name.removesuffix("_version").replace("_", "-")]
    for config in aggregated["configs"].values():
        # lm-eval notes where the YAML stood on this machine.
        config.get("metadata", {}).pop("config_source", None)
    with folder_whole(folder) as temporary:
        write_json(temporary / "results.json", aggregated)
        for task, rows in samples.items():
            text = "".join(_sample_line(row) for row in rows)
            (temporary / f"samples_{task}.jsonl").write_text(text, encoding="utf-8")
        _write_record(temporary, key)


def is_finished(folder: Path, key: dict[str, Any]) -> bool:
    """Return whether `folder` holds the whole snapshot of exactly this key."""
    if not (folder / RECORD).is_file():
        return False
    record = read_json(folder / RECORD)
    if record.get("key_sha256") != sha256_json(key):
        return False
    files = record.get("files", {})
    return all(
        (folder / name).is_file() and sha256_file(folder / name) == digest for name, digest in files.items()
    )


def copy_snapshot(source: Path, folder: Path) -> None:
    """Copy a finished snapshot, whole or not at all."""
    with folder_whole(folder) as temporary:
        shutil.copytree(source, temporary, dirs_exist_ok=True)


def _write_record(folder: Path, key: dict[str, Any]) -> None:
    files = {file.name: sha256_file(file) for file in sorted(folder.iterdir())}
    record = {"schema": SCHEMA, "key_sha256": sha256_json(key), **key, "files": files}
    write_json(folder / RECORD, record)


def _sample_line(row: dict[str, Any]) -> str:
    # The layout of lm-eval's EvaluationTracker: responses as text, arguments as numbered objects.
    line = dict(row)
    line["resps"], line["filtered_resps"] = _texts(row["resps"]), _texts(row["filtered_resps"])
    line["target"] = str(row["target"])
    line["arguments"] = {
        f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(arguments)}
        for i, arguments in enumerate(row["arguments"])
    }
    return json.dumps(line, ensure_ascii=False, default=str) + "\n"


def _texts(value: Any) -> Any:
    return [_texts(item) for item in value] if isinstance(value, list | tuple) else str(value)


def _task_hash(rows: list[dict[str, Any]]) -> str:
    from lm_eval.utils import hash_string

    joined = "".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows)
    return str(hash_string(joined))
