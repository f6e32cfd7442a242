"""YAML and JSON documents checked against the schemas of `schemas/`, every fault with its line and key."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from valuedrift.suite.errors import Fault, UserError, did_you_mean
from valuedrift.suite.files import read_text, write_text

Key: TypeAlias = tuple[str | int, ...]

_KEPT_AS_TEXT = ("timestamp", "value", "merge")
_PLAIN: dict[type[yaml.Node], tuple[str, ...]] = {
    yaml.MappingNode: ("map",),
    yaml.SequenceNode: ("seq",),
    yaml.ScalarNode: ("str", "int", "float", "bool", "null", *_KEPT_AS_TEXT),
}


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file with the line of every key."""

    path: Path
    """The file that was read."""
    value: Any
    """Its content as plain dicts, lists and scalars."""
    lines: dict[Key, int]
    """Line number (from 1) of each key path; empty for JSON."""

    def where(self, key: Key) -> str:
        """Return `file:line key` for a key path, with the line of the nearest known parent."""
        line = self.line(key)
        place = f"{self.path}:{line}" if line else str(self.path)
        return f"{place} {_dotted(key)}" if key else place

    def line(self, key: Key) -> int | None:
        """Return the line of a key path or of its nearest known parent, None for JSON."""
        return next((self.lines[key[:n]] for n in range(len(key), -1, -1) if key[:n] in self.lines), None)


def read_yaml(path: Path) -> Document:
    """Return a YAML file as a Document.

    Raises UserError for bad syntax, duplicate keys, aliases and tags: a document is plain data.
    """
    text = read_text(path)
    try:
        alias = next(
            (event for event in yaml.parse(text, yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)), None
        )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise UserError(Fault(place, f"no valid YAML ({problem})", "valid YAML")) from error
    if alias is not None:
        line = alias.start_mark.line + 1 if alias.start_mark else 1
        place = f"{path}:{line}"
        raise UserError(Fault(place, f"alias '*{alias.anchor}'", "plain data without anchors and aliases"))
    lines: dict[Key, int] = {}
    faults: list[Fault] = []
    value = _build(node, (), lines, faults, path) if node is not None else None
    if faults:
        raise UserError(faults)
    return Document(path, value, lines)


def write_yaml(path: Path, value: Any) -> None:
    """Write plain data as YAML, whole or not at all, without the aliases that `read_yaml` refuses."""
    write_text(path, yaml.dump(value, Dumper=_plain_dumper(), sort_keys=False, allow_unicode=True, width=110))


def check(document: Document, schema: str) -> None:
    """Raise UserError with every fault of a document under `schemas/<schema>.schema.json`."""
    faults = schema_faults(document, schema)
    if faults:
        raise UserError(faults)


def schema_faults(document: Document, schema: str) -> list[Fault]:
    """Return every fault of a document under a schema, in the order of the file."""
    import jsonschema

    wanted = load_schema(schema)["properties"].get("schema", {}).get("const")
    found = document.value.get("schema") if isinstance(document.value, dict) else None
    if wanted and isinstance(found, str) and found != wanted:
        # A file of another kind: what else does not fit says nothing.
        expected = f"'{wanted}' (the format of this file)"
        return [Fault(document.where(("schema",)), json.dumps(found), expected, f"give a {schema} file")]
    validator = jsonschema.Draft202012Validator(load_schema(schema))
    found = [pair for error in validator.iter_errors(document.value) for pair in _faults_of(error, document)]
    return [fault for _, fault in sorted(found, key=lambda pair: _position(pair[0], document))]


def load_schema(name: str) -> dict[str, Any]:
    """Return a JSON Schema 2020-12 of the package by its short name, e.g. `sequence`."""
    text = resources.files("valuedrift.suite").joinpath("schemas", f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _plain_dumper() -> type[yaml.SafeDumper]:
    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
        # PyYAML writes these three line breaks as they are, and reads them as a space.
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Plain.add_representer(str, text)
    return Plain


def _build(node: yaml.Node, key: Key, lines: dict[Key, int], faults: list[Fault], path: Path) -> Any:
    lines.setdefault(key, node.start_mark.line + 1)
    place = f"{path}:{node.start_mark.line + 1}"
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _PLAIN[type(node)]:
        faults.append(Fault(place, f"tag '{node.tag}'", "plain data without tags"))
        return None
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for name_node, item in node.value:
            place = f"{path}:{name_node.start_mark.line + 1}"
            if not isinstance(name_node, yaml.ScalarNode):
                faults.append(Fault(place, "a key that is a list or a mapping", "text as key"))
                continue
            name = str(name_node.value)
            if name in result:
                faults.append(Fault(place, f"key '{name}' twice", "each key once"))
            lines[*key, name] = name_node.start_mark.line + 1
            result[name] = _build(item, (*key, name), lines, faults, path)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*key, n), lines, faults, path) for n, item in enumerate(node.value)]
    if kind in _KEPT_AS_TEXT:
        return str(node.value)
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError, KeyError) as error:
        faults.append(Fault(place, f"'{node.value}' ({error})", "a plain value"))
        return None


def _position(key: Key, document: Document) -> tuple[int, list[tuple[int, str]]]:
    return document.line(key) or 0, [(part, "") if isinstance(part, int) else (0, part) for part in key]


def _faults_of(error: Any, document: Document) -> list[tuple[Key, Fault]]:
    """Return the faults of one error of jsonschema, each with its key."""
    key: Key = tuple(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        return [((*key, name), _unknown_key(document.where((*key, name)), name, known)) for name in unknown]
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in error.validator_value if name not in error.instance]
        # jsonschema reports each missing key as an error of its own; the message names it.
        return [
            (key, Fault(document.where(key), f"no key '{name}'", _describe(error.schema, name)))
            for name in missing
            if f"'{name}'" in error.message
        ]
    shown = json.dumps(error.instance, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return [(key, Fault(document.where(key), shown, _wanted(error)))]


def _unknown_key(where: str, name: str, known: list[str]) -> Fault:
    return Fault(where, f"unknown key '{name}'", "a known key", did_you_mean(name, known))


def _describe(schema: dict[str, Any], name: str) -> str:
    described = schema.get("properties", {}).get(name, {}).get("description")
    return f"'{name}': {described}" if described else f"'{name}'"


def _wanted(error: Any) -> str:
    wanted = error.validator_value
    rules = {
        "enum": "one of " + ", ".join(map(str, wanted)) if isinstance(wanted, list) else "",
        "const": repr(wanted),
        "type": "type " + (" or ".join(wanted) if isinstance(wanted, list) else str(wanted)),
        "pattern": f"text like {wanted}",
        "minItems": f"at least {wanted} entries",
        "minimum": f"a number of at least {wanted}",
    }
    rule = rules.get(error.validator, error.message)
    described = error.schema.get("description")
    return f"{rule} ({described})" if described else str(rule)


def _dotted(key: Key) -> str:
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
