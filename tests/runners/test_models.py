"""Loading weights: complete, finite, of the right shape, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from valuedrift.runners.checkpoints import inspect
from valuedrift.runners.models import load_model
from valuedrift.suite.errors import CheckpointError
from valuedrift.suite.records import Checkpoint


@pytest.fixture
def folder(tmp_path: Path, tiny: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint-4"))


def load(path: Path, adapter: Path | None = None) -> object:
    return load_model(inspect(Checkpoint("sft", 4, path, adapter=adapter)), "float32", "cpu")[0]


def change(folder: Path, how: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.0.mlp.up_proj.weight"
    if how == "missing":
        del tensors[name]
    elif how == "nan":
        tensors[name][0, 0] = torch.nan
    elif how == "unexpected":
        tensors["model.layers.9.extra"] = torch.zeros(2)
    else:
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no tensor model.layers.0.mlp.up_proj.weight"),
        ("unexpected", "unknown tensor model.layers.9.extra"),
        ("nan", "NaN or infinite weights in model.layers.0.mlp.up_proj.weight"),
        ("shape", "other shape of model.layers.0.mlp.up_proj.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(folder: Path, how: str, message: str) -> None:
    change(folder, how)
    with pytest.raises(CheckpointError, match=message) as error:
        load(folder)
    assert str(folder) in str(error.value)


def test_an_adapter_is_applied_to_the_base_of_the_sequence(tmp_path: Path, tiny: Path) -> None:
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(str(tiny))
    config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = peft.get_peft_model(base, config)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    written = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    # A path that does not exist here, as in an adapter that was trained on another machine.
    written["base_model_name_or_path"] = "elsewhere/model"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(written))
    tokens = torch.tensor([[5, 6, 7]])
    loaded = load(tiny, tmp_path / "adapter")
    with torch.no_grad():
        expected, found, plain = adapted(tokens).logits, loaded(tokens).logits, load(tiny)(tokens).logits  # type: ignore[operator]
    assert torch.allclose(expected, found, atol=1e-4)
    assert not torch.allclose(expected, plain, atol=1e-2)
