"""Files written whole or not at all, and the hashes that records carry."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from valuedrift.suite.errors import Fault, UserError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename.

    Raises UserError when the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON with a final newline; NaN and infinities become null."""
    write_text(path, dump_json(value) + "\n")


def dump_json(value: Any, indent: int | None = 1) -> str:
    """Return strict JSON text, the same for the same value; NaN and infinities become null."""
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    # A stance vector belongs on one line: arrays of numbers are joined, nothing that holds a string is.
    # The line break keeps a text such as "[ 1 ]" as it is: within a JSON string there is none.
    return re.sub(r"\[\n\s*([^\[\]{}\"]*?)\n\s*\]", lambda match: f"[{' '.join(match[1].split())}]", text)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises UserError when the file is missing or is not strict UTF-8 JSON.
    """
    return parse_json(read_text(path), path)


def parse_json(text: str, path: Path, line: int | None = None) -> Any:
    """Return the value of JSON text that came from `path`; NaN and infinities are refused."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite_number)
    except (ValueError, RecursionError) as error:
        place = f"{path}:{line if line is not None else getattr(error, 'lineno', 1)}"
        raise UserError(Fault(place, f"no valid JSON ({error})", "strict JSON")) from error


def read_text(path: Path) -> str:
    """Return a file's UTF-8 text; raises UserError when it is missing, unreadable or not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(Fault(str(path), "no such file", "a file that is there", "check the path")) from error
    except IsADirectoryError as error:
        raise UserError(Fault(str(path), "a folder", "a file", "name the file in it")) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Fault(str(path), f"unreadable ({error})", "UTF-8 text")) from error


def remove_leftovers(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files and folders that a killed writer of `names` left in `folder`."""
    for name in names:
        for leftover in folder.glob(f".{name}.*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of `path` when the block ends well, else vanishes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            _sync(file)
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a value's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(_finite(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite_number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(
        Fault(str(path), f"cannot be written ({reason})", "a writable place", "choose another --output")
    )
