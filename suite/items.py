"""Items of the probe families: what `tasks/<family>/` must hold, every fault of it at once."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuedrift.suite.documents import Document, schema_faults
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.files import parse_json, read_text, sha256_file
from valuedrift.suite.taskfiles import TEMPLATES, group_faults, task_faults, template_faults

TEXTS = ("affirmed", "negated")
"""The two polarities of an item."""
LENGTH_RATIO = (0.75, 1.33)
"""Allowed characters of the negated text for each character of the affirmed one."""

_AXES = (
    ("direction", "order", ("change", "tradition")),
    ("direction", "scope", ("individual", "collective")),
    ("truth", None, (True, False)),
)
_NEGATION = re.compile(r"\b(?:not|cannot)\b|n['\u2019]t\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """A proposition and its negation."""

    id: str
    """Unique name, e.g. `abortion-01`."""
    topic: str
    """Topic, the name of its file."""
    subissue: str
    """What it is about, e.g. `flag-burning`."""
    region: str
    """World region that it names; `any` for none."""
    affirmed: str
    """The proposition."""
    negated: str
    """The proposition with one more negation word."""
    order: str | None
    """`change` or `tradition`: what agreeing stands for; None for a control item."""
    scope: str | None
    """`individual` or `collective`; None for a control item."""
    truth: bool | None
    """Whether the proposition is true; None for a stance item."""
    provenance: str
    """Who wrote it, and when."""
    licence: str
    """SPDX name of its licence."""


def read_items(folder: Path) -> tuple[Item, ...]:
    """Return the items of a family folder by topic, in the order of the files.

    Raises UserError with every fault of every item.
    """
    rows, faults = _rows(folder)
    faults += _item_faults(rows)
    if faults:
        raise UserError(faults)
    return tuple(_item(row.value) for row in rows)


def check_folder(path: Path) -> list[Fault]:
    """Return every fault of a family folder, or of a folder that holds families; empty when all is well."""
    if _is_family(path):
        return family_faults(path)
    families = [child for child in sorted(path.iterdir()) if _is_family(child)] if path.is_dir() else []
    if not families:
        found = "no family folder" if path.is_dir() else "no such folder"
        return [Fault(str(path), found, "a family (items/*.jsonl, templates.json), or a folder of families")]
    faults = [fault for family in families for fault in family_faults(family)]
    names = [family.name for family in families if _known_version(family)]
    for file in sorted(path.glob("*.yaml")):
        faults += group_faults(file, names, lambda members: group_version(path, members))
    return faults


def family_faults(folder: Path) -> list[Fault]:
    """Return every fault of one family folder: its items, its templates and its task YAMLs."""
    rows, faults = _rows(folder)
    faults += _item_faults(rows)
    faults += template_faults(folder / TEMPLATES)
    return faults + task_faults(folder, [file.stem for file in _items_files(folder)], _known_version(folder))


def data_version(folder: Path) -> str:
    """Return the `metadata.version` of a family folder: `1-` and 8 hex digits that move with its data.

    The digits are those of `LC_ALL=C; sha256sum templates.json items/*.jsonl | sha256sum`.
    Raises UserError when a file cannot be read.
    """
    files = [folder / TEMPLATES, *_items_files(folder)]
    try:
        return _version(f"{sha256_file(file)}  {file.relative_to(folder).as_posix()}" for file in files)
    except OSError as error:
        raise UserError(Fault(str(error.filename), f"unreadable ({error.strerror})", "a file")) from error


def group_version(folder: Path, families: Iterable[str]) -> str:
    """Return the `metadata.version` of a group of whole families, made from theirs."""
    return _version(f"{family} {data_version(folder / family)}" for family in sorted(families))


def _version(lines: Iterable[str]) -> str:
    digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    return f"1-{digest[:8]}"


def _known_version(folder: Path) -> str | None:
    try:
        return data_version(folder)
    except UserError:
        return None


def _is_family(folder: Path) -> bool:
    return (folder / "items").is_dir() or (folder / TEMPLATES).is_file()


def _items_files(folder: Path) -> list[Path]:
    return sorted((folder / "items").glob("*.jsonl"))


def _rows(folder: Path) -> tuple[list[Document], list[Fault]]:
    """Return the lines that are JSON objects, each with its file and line, and the faults of each alone."""
    rows: list[Document] = []
    faults: list[Fault] = []
    files = _items_files(folder)
    if not files:
        faults.append(Fault(str(folder / "items"), "no items", "one <topic>.jsonl for each topic"))
    for file in files:
        try:
            lines = read_text(file).splitlines()
        except UserError as error:
            faults += error.faults
            continue
        for number, line in enumerate(lines, 1):
            try:
                if line.strip():
                    rows.append(Document(file, parse_json(line, file, number), {(): number}))
            except UserError as error:
                faults += error.faults
    faults += [fault for row in rows for fault in schema_faults(row, "item")]
    return [row for row in rows if isinstance(row.value, dict)], faults


def _item(value: dict[str, Any]) -> Item:
    direction = value.get("direction", {})
    plain = ("id", "topic", "subissue", "region", "affirmed", "negated", "provenance", "licence")
    return Item(
        **{key: value[key] for key in plain},
        order=direction.get("order"),
        scope=direction.get("scope"),
        truth=value.get("truth"),
    )


def _item_faults(rows: list[Document]) -> list[Fault]:
    by_file: dict[Path, list[Document]] = defaultdict(list)
    for row in rows:
        by_file[row.path].append(row)
    faults = [fault for row in rows for fault in (*_name_faults(row), *_text_faults(row))]
    faults += _kind_faults(rows)
    faults += [fault for key in (("id",), TEXTS) for fault in _duplicate_faults(rows, key)]
    faults += [fault for file, lines in by_file.items() for fault in _balance_faults(file, lines)]
    usual = Counter(len(lines) for lines in by_file.values()).most_common(1)
    return faults + [
        Fault(str(file), f"{len(lines)} items", f"{usual[0][0]}, as in the other topics")
        for file, lines in by_file.items()
        if len(lines) != usual[0][0]
    ]


def _name_faults(row: Document) -> Iterator[Fault]:
    topic = row.path.stem
    if isinstance(found := row.value.get("topic"), str) and found != topic:
        yield Fault(row.where(("topic",)), f"'{found}'", f"'{topic}', the name of the file")
    start = topic.replace("_", "-") + "-"
    if isinstance(found := row.value.get("id"), str) and not found.startswith(start):
        yield Fault(row.where(("id",)), f"'{found}'", f"an id that starts with '{start}'")


def _text_faults(row: Document) -> Iterator[Fault]:
    for key, text in row.value.items():
        if isinstance(text, str) and (
            hidden := sorted({c for c in text if unicodedata.category(c)[0] in "CZ"} - {" "})
        ):
            names = ", ".join(f"U+{ord(character):04X}" for character in hidden)
            yield Fault(
                row.where((key,)), f"invisible characters {names}", "visible characters and plain spaces"
            )
    affirmed, negated = (row.value.get(key) for key in TEXTS)
    if not (isinstance(affirmed, str) and isinstance(negated, str) and affirmed):
        return
    more = len(_NEGATION.findall(negated)) - len(_NEGATION.findall(affirmed))
    if more != 1:
        found = f"{more:+d} negation words against 'affirmed'"
        yield Fault(row.where(("negated",)), found, "exactly one more: not, cannot or n't")
    ratio = len(negated) / len(affirmed)
    if not LENGTH_RATIO[0] <= ratio <= LENGTH_RATIO[1]:
        found = f"{ratio:.2f} times the length of 'affirmed'"
        yield Fault(row.where(("negated",)), found, f"{LENGTH_RATIO[0]} to {LENGTH_RATIO[1]} times")


def _kind_faults(rows: list[Document]) -> list[Fault]:
    kinds = {kind: [row for row in rows if kind in row.value] for kind in ("direction", "truth")}
    fewer, more = sorted(kinds, key=lambda kind: len(kinds[kind]))
    return [
        Fault(row.where(()), f"an item with '{fewer}'", f"'{more}', as in the other items of the family")
        for row in kinds[fewer]
    ]


def _duplicate_faults(rows: list[Document], keys: tuple[str, ...]) -> list[Fault]:
    seen: dict[str, str] = {}
    faults = []
    for row in rows:
        for key in keys:
            value = row.value.get(key)
            # Letters and digits alone: another comma or capital does not make another text.
            if isinstance(value, str) and (plain := re.sub(r"[\W_]+", " ", value.casefold()).strip()):
                where = row.where((key,))
                if plain in seen:
                    faults.append(Fault(where, f"'{value}', which stands at {seen[plain]} too", "each once"))
                seen.setdefault(plain, where)
    return faults


def _balance_faults(file: Path, rows: list[Document]) -> Iterator[Fault]:
    for key, axis, (left, right) in _AXES:
        values = [row.value.get(key) for row in rows]
        if axis is not None:
            values = [value.get(axis) for value in values if isinstance(value, dict)]
        if values.count(left) != values.count(right):
            sides = " and ".join(f"{values.count(side)} {str(side).lower()}" for side in (left, right))
            found = f"{sides} in {key}{f'.{axis}' if axis else ''}"
            yield Fault(str(file), found, "as many of both: a model that always agrees must score 0")
