"""One TRL trainer for each algorithm, set up for a recipe's stage."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from tqdm import tqdm

from valuedrift.runners.recipes import StageRecipe, read_rows

LORA_ALPHA = 2
"""Scale of an adapter, as a multiple of its rank."""


def fit(model: Any, tokenizer: Any, stage: StageRecipe, seed: int, output: Path) -> None:
    """Train `model` for a stage and save `checkpoint-N` at each scheduled step after 0 below `output`.

    Everything random comes from `seed`.
    """
    import datasets
    import transformers

    transformers.set_seed(seed)
    rows = datasets.Dataset.from_list(read_rows(stage))
    builder = {"pretrain": _sft, "sft": _sft, "dpo": _dpo, "simpo": _simpo}[stage.algorithm]
    model.train()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    trainer = builder(model, tokenizer, stage, rows, _arguments(stage, seed, output))
    # Its closing line of metrics would stand between ours.
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(_saver(stage, tokenizer, output))
    trainer.train()


def _arguments(stage: StageRecipe, seed: int, output: Path) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    arguments: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": stage.steps,
        "per_device_train_batch_size": stage.batch_size,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": stage.scheduler,
        "warmup_steps": stage.warmup_steps,
        "weight_decay": stage.weight_decay,
        "max_length": stage.max_length,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": not cuda,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": cuda,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return arguments


def _sft(model: Any, tokenizer: Any, stage: StageRecipe, rows: Any, arguments: dict[str, Any]) -> Any:
    trl = import_module("trl")
    config = trl.SFTConfig(**arguments)
    return trl.SFTTrainer(
        model=model, args=config, train_dataset=rows, processing_class=tokenizer, **_lora(stage)
    )


def _dpo(model: Any, tokenizer: Any, stage: StageRecipe, rows: Any, arguments: dict[str, Any]) -> Any:
    trl = import_module("trl")
    config = trl.DPOConfig(beta=stage.beta, **arguments)
    return trl.DPOTrainer(
        model=model, args=config, train_dataset=rows, processing_class=tokenizer, **_lora(stage)
    )


def _simpo(model: Any, tokenizer: Any, stage: StageRecipe, rows: Any, arguments: dict[str, Any]) -> Any:
    cpo = import_module("trl.experimental.cpo")
    config = cpo.CPOConfig(
        loss_type="simpo",
        cpo_alpha=0.0,
        beta=stage.beta,
        simpo_gamma=stage.gamma,
        remove_unused_columns=False,
        **arguments,
    )
    return cpo.CPOTrainer(
        model=model, args=config, train_dataset=rows, processing_class=tokenizer, **_lora(stage)
    )


def _lora(stage: StageRecipe) -> dict[str, Any]:
    if stage.lora_r is None:
        return {}
    import peft

    config = peft.LoraConfig(
        r=stage.lora_r,
        lora_alpha=LORA_ALPHA * stage.lora_r,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return {"peft_config": config}


def _saver(stage: StageRecipe, tokenizer: Any, output: Path) -> Any:
    import transformers

    # Disabled unless standard error is a terminal.
    bar = tqdm(total=stage.steps, desc=stage.name, unit="step", disable=None, dynamic_ncols=True)

    class Saver(transformers.TrainerCallback):  # type: ignore[misc,name-defined,unused-ignore]
        """Saves at the scheduled steps: safetensors only, no optimizer, no pickled arguments."""

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """Leave the bar as it is."""
            bar.close()

        def on_step_end(self, *given: Any, **kwargs: Any) -> None:
            """Save when the step is on the schedule."""
            bar.update(1)
            step = given[1].global_step
            if step in stage.checkpoints:
                folder = output / f"checkpoint-{step}"
                kwargs["model"].save_pretrained(str(folder))
                tokenizer.save_pretrained(str(folder))

    return Saver()
