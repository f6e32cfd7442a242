"""Versions that every record carries."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of valuedrift, Python and the named packages, without importing them."""
    found = {"valuedrift": "", "python": platform.python_version()}
    for name in ("valuedrift", *packages):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
