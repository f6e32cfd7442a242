"""Loading a checkpoint for evaluation: safetensors only, nothing executed, nothing missing, no NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valuedrift.runners.checkpoints import CheckpointFiles
from valuedrift.suite.errors import CheckpointError, Fault, UserError

DTYPES = ("float32", "bfloat16", "float16")
"""Precisions that a checkpoint can be evaluated in."""


def load_model(files: CheckpointFiles, dtype: str, device: str) -> tuple[Any, Any]:
    """Return (model, tokenizer) of a checkpoint in evaluation mode, its adapter merged.

    Raises CheckpointError when a tensor is missing, unexpected, of another shape, NaN or infinite, and
    UserError when the device cannot take it.
    """
    torch, transformers = _packages()
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            str(files.model),
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            # Reported below by name; without it the error only points at a log.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        if files.adapter is not None:
            model = _with_adapter(model, files.adapter)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(files.tokenizer), trust_remote_code=False, local_files_only=True
        )
    except UserError:
        raise
    except Exception as error:
        # Loading runs through three libraries that raise whatever they like; each means: not this checkpoint.
        place = str(files.adapter or files.model)
        found = f"a checkpoint that does not load ({type(error).__name__}: {str(error)[:200]})"
        raise CheckpointError(Fault(place, found, "a model of transformers")) from error
    _require_complete(info, files)
    _require_finite(model, files, torch)
    try:
        return model.eval().to(device), tokenizer
    except (RuntimeError, AssertionError) as error:
        # torch says so in either way: no such device, none in this machine, or its memory is full.
        reason = str(error).split("\n", maxsplit=1)[0][:200]
        raise UserError(Fault("--device", f"'{device}' ({reason})", "a device with room for it")) from error


def _packages() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        fix = "pip install 'valuedrift[trace]'"
        raise UserError(
            Fault("environment", f"no package {error.name}", "torch and transformers", fix)
        ) from error
    return torch, transformers


def _with_adapter(model: Any, adapter: Path) -> Any:
    import peft
    from safetensors import safe_open

    # The base is the sequence's: the path inside adapter_config.json is that of the machine that trained it.
    adapted = peft.PeftModel.from_pretrained(model, str(adapter))
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="numpy") as tensors:
        saved = set(tensors.keys())
    expected = set(peft.get_peft_model_state_dict(adapted))
    if saved != expected:
        # peft loads what fits and leaves the rest as it was initialised.
        shown = ", ".join(sorted(saved ^ expected)[:3])
        fault = Fault(str(adapter), f"tensors that do not fit: {shown}", "the tensors of adapter_config.json")
        raise CheckpointError(fault)
    return adapted.merge_and_unload()


def _require_complete(info: dict[str, Any], files: CheckpointFiles) -> None:
    words = {
        "missing_keys": "no tensor",
        "unexpected_keys": "unknown tensor",
        "mismatched_keys": "other shape of",
    }
    faults = []
    for kind, word in words.items():
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in info.get(kind, ()))
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            faults.append(
                Fault(str(files.model), f"{word} {shown}", "exactly the tensors of the architecture")
            )
    if faults:
        raise CheckpointError(faults)


def _require_finite(model: Any, files: CheckpointFiles, torch: Any) -> None:
    broken = [name for name, tensor in model.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        shown = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        fix = "training diverged here: take an earlier checkpoint"
        raise CheckpointError(
            Fault(str(files.model), f"NaN or infinite weights in {shown}", "finite weights", fix)
        )
