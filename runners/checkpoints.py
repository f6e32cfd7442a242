"""Checkpoints on disk: what may be read, and the fingerprints that tell two apart. Nothing is executed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.suite.errors import CheckpointError, Fault
from valuedrift.suite.files import parse_json, read_text, sha256_file, sha256_json
from valuedrift.suite.records import Checkpoint

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.gguf", "*.msgpack")
"""Weight formats that are refused: they are executed on loading, or are not the trained weights."""
SHAPE_KEYS = (
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
)
"""Keys of config.json that must be the same at every checkpoint of a sequence."""


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """The files of one checkpoint, looked at without loading a tensor."""

    checkpoint: Checkpoint
    """The checkpoint."""
    model: Path
    """Folder with config.json and the model's weights."""
    adapter: Path | None
    """Folder of the LoRA adapter."""
    tokenizer: Path
    """Folder with tokenizer.json."""
    config: dict[str, Any]
    """Content of config.json."""
    weights_sha256: str
    """Hash over every weight file, the config and the adapter's config."""
    tokenizer_sha256: str
    """Hash of the tokenizer without its padding and truncation state."""


def inspect(checkpoint: Checkpoint) -> CheckpointFiles:
    """Return the files of a checkpoint.

    Raises CheckpointError with every fault: missing or empty folder, no safetensors, a truncated or damaged
    file, code to execute (`auto_map`), no tokenizer.
    """
    model = _local_folder(checkpoint)
    faults: list[Fault] = []
    config = _config(model, "config.json", faults)
    weights = _weight_files(model, "model", faults)
    adapter = checkpoint.adapter
    hashed = [("config", config), *_fingerprints(weights)]
    if adapter is not None:
        if adapter.is_dir():
            hashed.append(("adapter", _config(adapter, "adapter_config.json", faults)))
            hashed += _fingerprints(_weight_files(adapter, "adapter_model", faults))
        else:
            faults.append(Fault(str(adapter), "no such folder", f"the adapter of {checkpoint.label}"))
    folders = [place for place in (adapter, model) if place is not None]
    tokenizer = next((place for place in folders if (place / "tokenizer.json").is_file()), None)
    if tokenizer is None:
        fix = f"save the tokenizer into {model}"
        faults.append(Fault(str(model), "no tokenizer.json", "the tokenizer beside the weights", fix))
    if faults or tokenizer is None:
        raise CheckpointError(faults)
    return CheckpointFiles(
        checkpoint, model, adapter, tokenizer, config, sha256_json(hashed), _tokenizer_sha256(tokenizer)
    )


def mismatches(files: CheckpointFiles, first: CheckpointFiles) -> list[Fault]:
    """Return how a checkpoint differs in architecture or tokenizer from the first one of its sequence."""
    faults = []
    label = first.checkpoint.label
    for key in SHAPE_KEYS:
        found, expected = files.config.get(key), first.config.get(key)
        if found != expected:
            where = f"{files.model / 'config.json'} {key}"
            faults.append(Fault(where, json.dumps(found), f"{json.dumps(expected)} as at {label}"))
    if files.tokenizer_sha256 != first.tokenizer_sha256:
        where = str(files.tokenizer / "tokenizer.json")
        faults.append(Fault(where, "another tokenizer", f"that of {label}", "start a sequence of its own"))
    return faults


def _local_folder(checkpoint: Checkpoint) -> Path:
    if checkpoint.path is None:
        return _download(checkpoint)
    if not checkpoint.path.is_dir():
        raise CheckpointError(Fault(str(checkpoint.path), "no such folder", f"checkpoint {checkpoint.label}"))
    if not any(checkpoint.path.iterdir()):
        raise CheckpointError(
            Fault(str(checkpoint.path), "an empty folder", f"checkpoint {checkpoint.label}")
        )
    return checkpoint.path


def _download(checkpoint: Checkpoint) -> Path:
    from huggingface_hub import snapshot_download

    name = f"{checkpoint.hub} at revision {checkpoint.revision}"
    try:
        # Only data is fetched: no Python, no pickle.
        folder = snapshot_download(
            str(checkpoint.hub),
            revision=checkpoint.revision,
            allow_patterns=["*.safetensors", "*.json", "*.model"],
        )
    except Exception as error:
        # The hub client raises a dozen unrelated types; each means that the checkpoint is not to be had.
        found = f"not downloadable ({type(error).__name__})"
        raise CheckpointError(
            Fault(name, found, "a reachable hub id and revision", str(error)[:200])
        ) from error
    return Path(folder)


def _config(folder: Path, name: str, faults: list[Fault]) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        faults.append(Fault(str(folder), f"no {name}", "a checkpoint that save_pretrained wrote"))
        return {}
    config = parse_json(read_text(file), file)
    if not isinstance(config, dict):
        faults.append(Fault(str(file), "no JSON object", "a model configuration"))
        return {}
    if "auto_map" in config:
        fix = "convert it to an architecture of transformers"
        faults.append(Fault(f"{file} auto_map", "code to execute", "no auto_map", fix))
    return config


def _weight_files(folder: Path, stem: str, faults: list[Fault]) -> list[Path]:
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = parse_json(read_text(index), index).get("weight_map", {})
        names = sorted(set(shards.values()))
        outside = [name for name in names if Path(name).name != name]
        faults += [
            Fault(f"{index} weight_map", f"'{name}'", "a file name in the same folder") for name in outside
        ]
        files = [folder / name for name in names if name not in outside]
    else:
        files = [folder / f"{stem}.safetensors"]
    absent = [file for file in files if not file.is_file()]
    if not files or absent:
        pickles = sorted(
            file.name for pattern in PICKLES for file in folder.glob(pattern) if _is_weights(file)
        )
        fix = "save it with save_pretrained, which writes safetensors" if pickles else ""
        found = (
            f"{', '.join(pickles)}" if pickles else f"no {', '.join(file.name for file in absent) or 'shard'}"
        )
        faults.append(Fault(str(folder), found, "weights as safetensors", fix))
    return [file for file in files if file.is_file() and _readable(file, faults)]


def _is_weights(file: Path) -> bool:
    # What a Trainer leaves beside the weights is never read and no reason to refuse a checkpoint.
    return not file.name.startswith(("training_args", "optimizer", "scheduler", "rng_state", "scaler"))


def _readable(file: Path, faults: list[Fault]) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as tensors:
            return bool(tensors.keys())
    except (SafetensorError, OSError) as error:
        found = f"a truncated or damaged file ({error})"
        faults.append(Fault(str(file), found, "whole safetensors", "copy the checkpoint again"))
        return False


def _fingerprints(files: list[Path]) -> list[tuple[str, str]]:
    return [(file.name, sha256_file(file)) for file in files]


def _tokenizer_sha256(folder: Path) -> str:
    file = folder / "tokenizer.json"
    tokenizer = parse_json(read_text(file), file)
    if not isinstance(tokenizer, dict):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    # Trainers leave their last padding and truncation in the file; neither changes a probe's tokens.
    return sha256_json(
        {key: value for key, value in tokenizer.items() if key not in ("padding", "truncation")}
    )
