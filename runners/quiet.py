"""Libraries that draw bars and warn about themselves, quietened: our own bar and lines stay readable."""

from __future__ import annotations

import os
import warnings


def quiet_libraries() -> None:
    """Silence the progress bars and notices of transformers, datasets, trl and lm-eval in this process.

    Must run before tqdm is first imported: it reads its environment once. Bars that are asked for
    explicitly, as the tracer's is, stay.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # transformers 5 renames options that trl still sets.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
