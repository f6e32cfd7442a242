"""Asking one model all probes through lm-eval's own tasks and evaluator."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.suite.errors import Fault, UserError, did_you_mean
from valuedrift.suite.files import sha256_json

SEED = 1234
"""Seed of lm-eval's generators; likelihood probes draw nothing."""


@dataclass(frozen=True, slots=True)
class Probes:
    """lm-eval tasks, built once for all checkpoints."""

    names: tuple[str, ...]
    """Names as the user gave them."""
    tasks: dict[str, Any]
    """What lm-eval's TaskManager.load returned."""
    prompts: int
    """Number of documents over all tasks."""
    sha256: str
    """Hash over every document of every task."""


def load_probes(names: tuple[str, ...], folder: Path) -> Probes:
    """Return the tasks of the given names, from our folder or, for other names, lm-eval's own.

    Raises UserError for an unknown name.
    """
    from lm_eval.tasks import TaskManager

    # lm-eval warns at every task with items of its own, and indexing its 14,000 tasks takes ten seconds.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=[str(folder)], include_defaults=False)
    known = list(manager.all_tasks)
    if any(name not in known and not name.startswith("valuedrift") for name in names):
        manager = TaskManager(include_path=[str(folder)])
    unknown = [name for name in names if name not in manager.task_index]
    if unknown:
        raise UserError(
            Fault(
                "--tasks",
                f"unknown task '{name}'",
                "a task of valuedrift or lm-eval",
                did_you_mean(name, known),
            )
            for name in unknown
        )
    loaded = manager.load(list(names))
    documents = {name: list(task.eval_docs) for name, task in loaded["tasks"].items()}
    return Probes(names, loaded, sum(map(len, documents.values())), sha256_json(documents))


def ask(
    model: Any, tokenizer: Any, probes: Probes, batch_size: int, on_prompts: Callable[[int], None]
) -> dict[str, Any]:
    """Return lm-eval's results and samples of one model; `on_prompts` hears how many more were scored."""
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
    forward = lm._model_call

    def counted(inputs: Any, *arguments: Any, **keywords: Any) -> Any:
        on_prompts(int(inputs.shape[0]))
        return forward(inputs, *arguments, **keywords)

    lm._model_call = counted
    # The progress bar is over the whole trace, not one of lm-eval's for each checkpoint.
    lm.loglikelihood = functools.partial(lm.loglikelihood, disable_tqdm=True)
    # One draw: zero would drop the standard error of a mean, more cost seconds; our intervals are drift's.
    results: dict[str, Any] = evaluate(lm=lm, task_dict=probes.tasks, bootstrap_iters=1, log_samples=True)
    return results
