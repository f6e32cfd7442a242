"""What stands beside the items of a probe family: `templates.json` and lm-eval's task YAMLs, checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from valuedrift.suite.documents import Document, Key
from valuedrift.suite.errors import Fault, UserError, did_you_mean
from valuedrift.suite.files import read_json, read_text

TEMPLATES = "templates.json"
"""File name of a family's templates."""

_KEYS = ("id", "labels", "text")
# In this order: scoring takes {first} for the option listed first, and what changes comes last.
_FIELDS = ("first", "middle", "last", "statement")


def template_faults(path: Path) -> list[Fault]:
    """Return every fault of a `templates.json`."""
    try:
        document = Document(path, read_json(path), {})
    except UserError as error:
        return list(error.faults)
    templates = document.value
    if not isinstance(templates, list) or not templates:
        return [Fault(str(path), "no list of templates", "a list of objects with id, labels and text")]
    faults = [fault for n, value in enumerate(templates) for fault in _template(document, n, value)]
    names = Counter(str(value.get("id")) for value in templates if isinstance(value, dict))
    return faults + [
        Fault(str(path), f"id '{name}' {n} times", "each once") for name, n in names.items() if n > 1
    ]


def task_faults(folder: Path, topics: Iterable[str], version: str | None) -> list[Fault]:
    """Return every fault of a family's task YAMLs, for the topics that have items.

    `version` is the `metadata.version` that they must carry; None leaves it unchecked.
    """
    family = folder.resolve().name
    common, group = f"_{family}", f"valuedrift_{family}"
    tasks = {f"{group}_{topic}": topic for topic in sorted(topics)}
    files = {file.stem: file for file in sorted(folder.glob("*.yaml"))}
    faults = [_absent(folder, name, tasks.get(name)) for name in (common, group, *tasks) if name not in files]
    for name, file in files.items():
        if name not in {common, group, *tasks}:
            faults.append(_spare(file, group, tasks))
            continue
        document = _read(file, faults)
        if document is None:
            continue
        if name in tasks:
            for key, wanted in _settings(common, name, tasks[name]).items():
                faults += _unlike(document, key, wanted)
        if name == group:
            faults += [*_unlike(document, ("group",), group), *_member_faults(document, tasks, complete=True)]
        if name not in tasks or _at(document, ("metadata",)) is not None:
            faults += _version_faults(document, version)
    return faults


def group_faults(file: Path, families: Iterable[str], version: Callable[[list[str]], str]) -> list[Fault]:
    """Return every fault of a group of families; `version` tells its `metadata.version` from their names."""
    faults: list[Fault] = []
    document = _read(file, faults)
    if document is None:
        return faults
    groups = {f"valuedrift_{family}": family for family in families}
    faults += [*_unlike(document, ("group",), file.stem), *_member_faults(document, groups, complete=False)]
    if not faults:
        faults += _version_faults(document, version([groups[name] for name in document.value["task"]]))
    return faults


def _template(document: Document, n: int, value: Any) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(document.where((n,)), f"{value!r}", "an object with id, labels and text")
        return
    for key in sorted(set(value) - set(_KEYS)):
        yield Fault(document.where((n, key)), f"unknown key '{key}'", "a known key", did_you_mean(key, _KEYS))
    for key in _KEYS:
        if key not in value:
            yield Fault(document.where((n,)), f"no key '{key}'", f"'{key}'")
        elif problem := {"id": _id_problem, "labels": _labels_problem, "text": _text_problem}[key](
            value[key]
        ):
            yield Fault(document.where((n, key)), *problem)


def _id_problem(name: Any) -> tuple[str, str] | None:
    fine = isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", name)
    return None if fine else (f"{name!r}", "a lower-case word")


def _labels_problem(labels: Any) -> tuple[str, str] | None:
    words = labels if isinstance(labels, list) and all(isinstance(word, str) for word in labels) else []
    fine = (
        all(word and word == word.strip() for word in words) and len({word.casefold() for word in words}) == 3
    )
    return None if fine and len(words) == 3 else (f"{labels!r}", "3 distinct words: affirm, middle, deny")


def _text_problem(text: Any) -> tuple[str, str] | None:
    expected = "a prompt with {first}, {middle}, {last}, then {statement}, each once, and no space at its end"
    if not isinstance(text, str):
        return f"{text!r}", expected
    try:
        fields = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        return f"a brace that opens no field ({error})", expected
    if fields != [(name, "", None) for name in _FIELDS]:
        return f"the fields {', '.join(f'{{{name}}}' for name, *_ in fields) or '(none)'}", expected
    return None if text == text.rstrip() else ("a space at its end", expected)


def _absent(folder: Path, name: str, topic: str | None) -> Fault:
    if topic is None:
        return Fault(str(folder / f"{name}.yaml"), "no such file", "the settings of the family, or its group")
    where = str(folder / "items" / f"{topic}.jsonl")
    return Fault(
        where, "items without a task", f"{name}.yaml", "copy another topic's YAML and change the names"
    )


def _spare(file: Path, group: str, tasks: dict[str, str]) -> Fault:
    start, _, topic = file.stem.partition(f"{group}_")
    if start or not topic:
        return Fault(
            str(file), "a YAML of another name", f"_<family>.yaml, {group}.yaml or {group}_<topic>.yaml"
        )
    near = did_you_mean(topic, tasks.values())
    return Fault(str(file), f"a task without items/{topic}.jsonl", "the items of its topic", near)


def _settings(common: str, name: str, topic: str) -> dict[Key, str]:
    return {("include",): f"{common}.yaml", ("task",): name, ("dataset_kwargs", "topic"): topic}


def _member_faults(document: Document, known: dict[str, str], *, complete: bool) -> Iterator[Fault]:
    members = document.value.get("task")
    if not isinstance(members, list):
        yield Fault(document.where(("task",)), f"{members!r}", "the list of the group's tasks")
        return
    for n, name in enumerate(members):
        if name not in known:
            yield Fault(
                document.where(("task", n)), f"'{name}'", "a known task", did_you_mean(str(name), known)
            )
        elif name in members[:n]:
            yield Fault(document.where(("task", n)), f"'{name}' twice", "each task once")
    for name in known if complete else ():
        if name not in members:
            yield Fault(
                document.where(("task",)), f"no '{name}'", "every topic of the family", f"add `- {name}`"
            )


def _version_faults(document: Document, version: str | None) -> list[Fault]:
    fix = f'the data or the hash changed: write `version: "{version}"`'
    return [] if version is None else _unlike(document, ("metadata", "version"), version, fix)


def _unlike(document: Document, key: Key, wanted: str, fix: str = "") -> list[Fault]:
    found = _at(document, key)
    return [] if found == wanted else [Fault(document.where(key), f"{found!r}", f"'{wanted}'", fix)]


def _at(document: Document, key: Key) -> Any:
    value = document.value
    for part in key:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _read(path: Path, faults: list[Fault]) -> Document | None:
    """Return a task YAML, its `!function` names as text; None, with the fault added, when it is broken.

    lm-eval leaves a broken YAML out without a word, and its tasks with it.
    """

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda _, node: node.value)
    lines: dict[Key, int] = {}
    try:
        loader = Loader(read_text(path))
        node = loader.get_single_node()
        value = loader.construct_document(node) if node is not None else None
    except UserError as error:
        faults += error.faults
        return None
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        faults.append(
            Fault(f"{path}:{mark.line + 1}" if mark else str(path), f"no valid YAML ({problem})", "a task")
        )
        return None
    if node is None or not isinstance(value, dict):
        faults.append(Fault(str(path), "no mapping", "a task or group of lm-eval"))
        return None
    _number(node, (), lines)
    return Document(path, value, lines)


def _number(node: yaml.Node, key: Key, lines: dict[Key, int]) -> None:
    lines.setdefault(key, node.start_mark.line + 1)
    if len(key) == 2:
        return
    if isinstance(node, yaml.MappingNode):
        for name, item in node.value:
            lines[*key, str(name.value)] = name.start_mark.line + 1
            _number(item, (*key, str(name.value)), lines)
    elif isinstance(node, yaml.SequenceNode):
        for n, item in enumerate(node.value):
            _number(item, (*key, n), lines)
