"""A real, tiny model for everything that runs one: made on the spot, seeded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

# Before anything imports transformers or datasets: no hub is asked, no bar is drawn.
os.environ.update(
    HF_HUB_OFFLINE="1", TQDM_DISABLE="1", OMP_WAIT_POLICY="passive", TOKENIZERS_PARALLELISM="false"
)

TEXTS = [
    "Statement: A river should be kept clean. Reply: agree",
    "Answer: yes, unsure or no. Position: support, undecided or oppose. neutral disagree true unknown false",
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained Llama of half a million parameters and its tokenizer."""
    from valuedrift.runners.demo.model import new_model, train_tokenizer

    folder = tmp_path_factory.mktemp("tiny") / "base"
    tokenizer = train_tokenizer(TEXTS * 20, 400)
    new_model(tokenizer, seed=1).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def moved(tiny: Path) -> Callable[[Path, int], Path]:
    """A function that writes `tiny` with seeded noise on its weights to a folder: another checkpoint."""

    def write(folder: Path, seed: int) -> Path:
        import torch
        from safetensors.torch import load_file, save_file

        shutil.copytree(tiny, folder)
        generator = torch.Generator().manual_seed(seed)
        tensors = load_file(folder / "model.safetensors")
        noise = {name: torch.randn(t.shape, generator=generator) * 0.02 for name, t in tensors.items()}
        save_file(
            {n: t + noise[n] for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        return folder

    return write


@pytest.fixture
def run_folder(tmp_path: Path, tiny: Path, moved: Callable[[Path, int], Path]) -> Path:
    """What a Trainer leaves: checkpoint-0 to checkpoint-4, the weights moving a little each time."""
    shutil.copytree(tiny, tmp_path / "run" / "checkpoint-0")
    for step in (2, 4):
        moved(tmp_path / "run" / f"checkpoint-{step}", step)
    return tmp_path / "run"
