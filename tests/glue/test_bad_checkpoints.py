"""Checkpoints that cannot be used: named in one line, left out of the trace, and the others kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TEXTS
from tests.glue.conftest import Fails, names
from valuedrift.suite.files import read_json

TASK = "valuedrift_stance_climate"


def fill_with_nan(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, folder / "model.safetensors")


def cut_in_half(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def make_wider(folder: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def give_another_tokenizer(folder: Path) -> None:
    from valuedrift.runners.demo.model import train_tokenizer

    train_tokenizer(["Other words altogether.", *TEXTS] * 20, 400).save_pretrained(str(folder))


BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (shutil.rmtree, "", "no such folder"),
    "truncated": (cut_in_half, "/model.safetensors", "truncated or damaged"),
    "NaN": (fill_with_nan, "", "NaN or infinite weights in "),
    "another architecture": (make_wider, "/config.json hidden_size", "32, expected "),
    "another tokenizer": (give_another_tokenizer, "/tokenizer.json", "another tokenizer"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_is_left_out_and_the_others_are_kept(
    fails: Fails, capsys: pytest.CaptureFixture[str], sequence: Path, kind: str
) -> None:
    damage, where, found = BROKEN[kind]
    place = sequence.parent / "checkpoint-2"
    damage(place)
    (line,) = fails("trace", sequence, "--tasks", TASK, code=1, word="failed: sft-000002: ")
    assert f"{place}{where}: found " in line
    assert found in line
    trace = sequence.parent / "trace"
    assert names(trace) == {"sft-000000", "sft-000004", "trace.json"}
    assert [row["status"] for row in read_json(trace / "trace.json")["snapshots"]] == ["ok", "failed", "ok"]
    (later,) = fails("drift", trace, "--draws", 50, code=1, word="not measured: sft-000002: ")
    assert found in later
    assert [point["step"] for point in read_json(trace.parent / "drift.json")["checkpoints"]] == [0, 4]


def test_a_truncated_checkpoint_stops_a_scan(fails: Fails, run_folder: Path) -> None:
    cut_in_half(run_folder / "checkpoint-2")
    (line,) = fails("sequence", "scan", run_folder)
    assert line.startswith(f"error: {run_folder / 'checkpoint-2' / 'model.safetensors'}: found a truncated")
    assert names(run_folder) == {"checkpoint-0", "checkpoint-2", "checkpoint-4"}


def test_standard_error_of_a_real_process_holds_that_line_alone(sequence: Path) -> None:
    fill_with_nan(sequence.parent / "checkpoint-2")
    command = [sys.executable, "-m", "valuedrift", "trace", str(sequence), "--tasks", TASK]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("failed: sft-000002: ")
    assert ran.stdout == f"{sequence.parent / 'trace'}: 2 asked, 1 failed\n"
