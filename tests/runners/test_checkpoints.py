"""What a checkpoint folder must be before anything of it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from valuedrift.runners.checkpoints import inspect, mismatches
from valuedrift.suite.errors import CheckpointError
from valuedrift.suite.records import Checkpoint


def point(path: Path, adapter: Path | None = None) -> Checkpoint:
    return Checkpoint(stage="sft", step=4, path=path, adapter=adapter)


@pytest.fixture
def folder(tmp_path: Path, tiny: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint-4"))


def faults_of(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        inspect(point(path))
    return str(error.value)


def test_a_whole_checkpoint_has_the_same_fingerprint_wherever_it_stands(folder: Path, tiny: Path) -> None:
    assert inspect(point(folder)).weights_sha256 == inspect(point(tiny)).weights_sha256


def test_a_changed_weight_changes_the_fingerprint(
    tmp_path: Path, tiny: Path, moved: Callable[[Path, int], Path]
) -> None:
    assert inspect(point(moved(tmp_path / "a", 1))).weights_sha256 != inspect(point(tiny)).weights_sha256


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'}: found no such folder" in faults_of(tmp_path / "gone")


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "found an empty folder" in faults_of(tmp_path / "empty")


def test_a_truncated_file_is_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    assert f"{file}: found a truncated or damaged file" in faults_of(folder)


def test_pickled_weights_are_refused_and_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    message = faults_of(folder)
    assert "found pytorch_model.bin, expected weights as safetensors" in message
    assert "save_pretrained" in message


def test_what_a_trainer_leaves_beside_the_weights_is_ignored(folder: Path) -> None:
    for name in ("training_args.bin", "optimizer.pt", "rng_state.pth"):
        (folder / name).write_bytes(b"pickle")
    assert inspect(point(folder)).model == folder


def test_code_to_execute_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    assert "config.json auto_map: found code to execute" in faults_of(folder)


def test_every_fault_of_a_folder_is_told_at_once(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").unlink()
    message = faults_of(folder)
    assert "no config.json" in message
    assert "no tokenizer.json" in message


def test_a_missing_shard_is_named(folder: Path) -> None:
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors").rename(folder / names["a"])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert "no model-00002-of-00002.safetensors" in faults_of(folder)


def test_an_index_that_points_outside_its_folder_is_refused(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    assert "found '../model.safetensors', expected a file name in the same folder" in faults_of(folder)


def test_another_architecture_is_named_by_its_key(folder: Path, tiny: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    (fault,) = mismatches(inspect(point(folder)), inspect(point(tiny)))
    assert fault.where == f"{folder / 'config.json'} num_hidden_layers"
    assert fault.found == "3"


def test_another_tokenizer_is_named_and_padding_state_is_not(folder: Path, tiny: Path) -> None:
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    file.write_text(json.dumps({**tokenizer, "truncation": {"max_length": 3}}))
    assert mismatches(inspect(point(folder)), inspect(point(tiny))) == []
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    file.write_text(json.dumps(tokenizer))
    (fault,) = mismatches(inspect(point(folder)), inspect(point(tiny)))
    assert fault.found == "another tokenizer"
