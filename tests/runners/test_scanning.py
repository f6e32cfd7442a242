"""Sequences from what a Trainer leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from valuedrift.runners.scanning import Labels, scan
from valuedrift.suite.errors import UserError
from valuedrift.suite.sequences import read_sequence


def shard(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(str(folder), max_shard_size="500KB")


def adapter(base: Path, folder: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(str(base)), config).save_pretrained(str(folder))


def test_checkpoints_are_ordered_by_step_not_by_name(run_folder: Path) -> None:
    (run_folder / "checkpoint-4").rename(run_folder / "checkpoint-10")
    found = scan(run_folder, run_folder / "sequence.yaml", Labels("run", "sft", "sft"))
    assert [point.step for point in found.checkpoints] == [0, 2, 10]
    assert found == read_sequence(run_folder / "sequence.yaml")
    assert found.stages[0].algorithm == "sft"


def test_sharded_checkpoints_are_found(run_folder: Path) -> None:
    shard(run_folder / "checkpoint-2")
    assert len(list((run_folder / "checkpoint-2").glob("model-*.safetensors"))) > 1
    assert len(scan(run_folder, run_folder / "sequence.yaml", Labels("run")).checkpoints) == 3


def test_lora_checkpoints_start_from_their_base(tmp_path: Path, tiny: Path) -> None:
    for step in (5, 10):
        adapter(tiny, tmp_path / "run" / f"checkpoint-{step}")
    found = scan(tmp_path / "run", tmp_path / "run" / "sequence.yaml", Labels("run"))
    assert [(point.step, point.adapter is None) for point in found.checkpoints] == [
        (0, True),
        (5, False),
        (10, False),
    ]
    assert all(point.path is not None and point.path.resolve() == tiny for point in found.checkpoints)


def test_an_unknown_base_asks_for_the_option(tmp_path: Path, tiny: Path) -> None:
    adapter(tiny, tmp_path / "run" / "checkpoint-5")
    file = tmp_path / "run" / "checkpoint-5" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "org/far-away"}))
    with pytest.raises(
        UserError, match=r"adapter_config.json base_model_name_or_path: found 'org/far-away'.*--base"
    ):
        scan(tmp_path / "run", tmp_path / "run" / "sequence.yaml", Labels("run"))


def test_a_given_base_becomes_step_zero(run_folder: Path, tiny: Path) -> None:
    shutil.rmtree(run_folder / "checkpoint-0")
    found = scan(run_folder, run_folder / "sequence.yaml", Labels("run", base=tiny))
    assert [point.step for point in found.checkpoints] == [0, 2, 4]


def test_all_unusable_checkpoints_are_named_at_once_and_nothing_is_written(run_folder: Path) -> None:
    for step in (2, 4):
        place = run_folder / f"checkpoint-{step}"
        (place / "model.safetensors").rename(place / "pytorch_model.bin")
    with pytest.raises(UserError) as error:
        scan(run_folder, run_folder / "sequence.yaml", Labels("run"))
    assert len(error.value.faults) == 2
    assert not (run_folder / "sequence.yaml").exists()


@pytest.mark.parametrize("content", [[], ["notes"]])
def test_a_folder_without_checkpoints_is_named(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match="no checkpoint-N folder"):
        scan(tmp_path, tmp_path / "sequence.yaml", Labels("run"))
