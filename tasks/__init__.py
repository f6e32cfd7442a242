"""lm-eval task folders of valuedrift: YAML, items, scoring; nothing here imports the rest of the package."""

from pathlib import Path


def folder() -> Path:
    """Return the absolute folder that lm-eval scans, for ``--include_path``."""
    return Path(__file__).resolve().parent
