"""The items of this repository pass their check, and each way to break them is caught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from valuedrift.suite.documents import load_schema
from valuedrift.suite.errors import Fault, UserError
from valuedrift.suite.items import check_folder, family_faults, read_items
from valuedrift.tasks import folder

Mutation = Callable[[Path], None]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    copy = tmp_path / "tasks"
    shutil.copytree(folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def line(topic: str, number: int, /, **changes: Any) -> Mutation:
    """Change keys of one item; None removes a key."""

    def mutate(family: Path) -> None:
        file = family / "items" / f"{topic}.jsonl"
        lines = file.read_text("utf-8").splitlines()
        value = json.loads(lines[number - 1]) | changes
        lines[number - 1] = json.dumps({k: v for k, v in value.items() if v is not None})
        file.write_text("\n".join(lines) + "\n", "utf-8")

    return mutate


def raw(topic: str, number: int, text: str | None) -> Mutation:
    """Put text in the place of one line; None removes the line."""

    def mutate(family: Path) -> None:
        file = family / "items" / f"{topic}.jsonl"
        lines = file.read_text("utf-8").splitlines()
        lines[number - 1 : number] = [] if text is None else [text]
        file.write_text("\n".join(lines) + "\n", "utf-8")

    return mutate


def swap(name: str, old: str, new: str) -> Mutation:
    """Replace text once in a file of the family."""

    def mutate(family: Path) -> None:
        text = (family / name).read_text("utf-8")
        assert old in text
        (family / name).write_text(text.replace(old, new, 1), "utf-8")

    return mutate


UNBALANCED = [
    ("items/climate.jsonl", "1 change and 2 tradition in direction.order"),
    ("items/climate.jsonl", "1 individual and 2 collective in direction.scope"),
]
SHORT = "Flags should burn in all squares."

CASES: dict[str, tuple[Mutation, list[tuple[str, str]]]] = {
    "broken JSON": (
        raw("climate", 4, "{"),
        [("climate.jsonl:4", "no valid JSON"), *UNBALANCED, ("items/climate.jsonl", "3 items")],
    ),
    "NaN": (
        raw("climate", 4, '{"id": NaN}'),
        [("climate.jsonl:4", "NaN"), *UNBALANCED, ("items/climate.jsonl", "3 items")],
    ),
    "no object": (
        raw("climate", 4, "[]"),
        [("climate.jsonl:4", "[]"), *UNBALANCED, ("items/climate.jsonl", "3 items")],
    ),
    "missing line": (raw("climate", 4, None), [*UNBALANCED, ("items/climate.jsonl", "3 items")]),
    "blank line": (swap("items/climate.jsonl", "\n", "\n\n"), []),
    "unknown key": (line("climate", 1, negatd="x"), [("climate.jsonl:1 negatd", "unknown key 'negatd'")]),
    "missing key": (line("climate", 2, region=None), [("climate.jsonl:2", "no key 'region'")]),
    "wrong type": (line("climate", 3, subissue=7), [("climate.jsonl:3 subissue", "7")]),
    "unknown region": (line("climate", 1, region="europa"), [("climate.jsonl:1 region", '"europa"')]),
    "unknown licence": (line("climate", 1, licence="MIT"), [("climate.jsonl:1 licence", '"MIT"')]),
    "unknown direction": (
        line("climate", 1, direction={"order": "changes", "scope": "collective"}),
        [
            ("climate.jsonl:1 direction.order", '"changes"'),
            ("items/climate.jsonl", "1 change and 2 tradition in direction.order"),
        ],
    ),
    "no direction": (
        line("climate", 4, direction=None),
        [("climate.jsonl:4", "no key 'direction'"), *UNBALANCED],
    ),
    "fact among stances": (
        line("climate", 4, direction=None, truth=True),
        [
            ("climate.jsonl:4", "an item with 'truth'"),
            *UNBALANCED,
            ("items/climate.jsonl", "1 true and 0 false in truth"),
        ],
    ),
    "direction and truth": (
        line("climate", 1, truth=False),
        [
            ("climate.jsonl:1 direction", '{"order": "change"'),
            ("climate.jsonl:1", "an item with 'truth'"),
            ("items/climate.jsonl", "0 true and 1 false in truth"),
        ],
    ),
    "no canary": (line("climate", 1, canary=None), [("climate.jsonl:1", "no key 'canary'")]),
    "other canary": (line("climate", 1, canary="x"), [("climate.jsonl:1 canary", '"x"')]),
    "other topic": (line("climate", 1, topic="abortion"), [("climate.jsonl:1 topic", "'abortion'")]),
    "other id": (
        line("speech_state", 1, id="speech_state-01"),
        [
            ("speech_state.jsonl:1 id", '"speech_state-01"'),
            ("speech_state.jsonl:1 id", "'speech_state-01'"),
        ],
    ),
    "id of another topic": (
        line("speech_state", 1, id="abortion-09"),
        [("speech_state.jsonl:1 id", "'abortion-09'")],
    ),
    "id twice": (line("climate", 2, id="climate-01"), [("climate.jsonl:2 id", "which stands at")]),
    "text twice": (
        line(
            "climate",
            2,
            affirmed="burning, the national flag should be a CRIME.",
            negated="Burning the national flag should not be a crime.",
        ),
        [
            ("speech_state.jsonl:3 affirmed", "which stands at"),
            ("speech_state.jsonl:3 negated", "which stands at"),
        ],
    ),
    "no negation": (
        line("climate", 1, affirmed=SHORT, negated=SHORT.replace("in", "on")),
        [("climate.jsonl:1 negated", "+0 negation words")],
    ),
    "two negations": (
        swap(
            "items/climate.jsonl",
            "should not close coal plants early",
            "should not and can't close coal plants",
        ),
        [("climate.jsonl:1 negated", "+2 negation words")],
    ),
    "negated twice": (
        line(
            "climate",
            1,
            affirmed=SHORT.replace("should", "should not"),
            negated=SHORT.replace("should", "cannot"),
        ),
        [("climate.jsonl:1 negated", "+0 negation words")],
    ),
    "too long": (
        line(
            "climate",
            1,
            affirmed=SHORT,
            negated="Flags should not burn in all the squares of the whole wide town.",
        ),
        [("climate.jsonl:1 negated", "times the length of 'affirmed'")],
    ),
    "too short": (
        line(
            "climate",
            1,
            affirmed="Large flags should burn in all the squares of a town.",
            negated="Flags should not burn in squares.",
        ),
        [("climate.jsonl:1 negated", "times the length of 'affirmed'")],
    ),
    "few words": (
        line("climate", 1, affirmed="Flags should burn there.", negated="Flags should not burn there."),
        [("climate.jsonl:1 affirmed", '"Flags'), ("climate.jsonl:1 negated", '"Flags')],
    ),
    "bidi": (
        line("climate", 1, subissue="coal", provenance="me \u202eem"),
        [("climate.jsonl:1 provenance", "invisible characters U+202E")],
    ),
    "zero width": (
        swap("items/climate.jsonl", "should close", "sho\\u200buld close"),
        [("climate.jsonl:1 affirmed", "invisible characters U+200B")],
    ),
    "tab": (
        swap("items/climate.jsonl", '"licence":', '"provenance":"a\\tb","licence":'),
        [("climate.jsonl:1 provenance", "invisible characters U+0009")],
    ),
    "unbalanced order": (
        line("climate", 1, direction={"order": "tradition", "scope": "collective"}),
        [("items/climate.jsonl", "1 change and 3 tradition in direction.order")],
    ),
    "unbalanced scope": (
        line("climate", 1, direction={"order": "change", "scope": "individual"}),
        [("items/climate.jsonl", "3 individual and 1 collective in direction.scope")],
    ),
}


def matches(fault: Fault, where: str, found: str) -> bool:
    return fault.where.endswith(where) and found in fault.found


@pytest.mark.parametrize("name", CASES)
def test_each_mutation_gives_its_faults_and_no_others(tasks: Path, name: str) -> None:
    mutate, expected = CASES[name]
    mutate(tasks / "stance")
    faults = family_faults(tasks / "stance")
    others = [fault for fault in faults if "metadata.version" not in fault.where]
    assert len(others) == len(expected), "\n".join(map(str, others))
    for where, found in expected:
        assert any(matches(fault, where, found) for fault in others), "\n".join(map(str, others))


def test_the_items_of_this_repository_have_no_fault() -> None:
    assert check_folder(folder()) == []


def test_a_family_folder_is_checked_alone() -> None:
    assert check_folder(folder() / "control") == []


def test_truths_must_balance(tasks: Path) -> None:
    line("climate", 1, truth=False)(tasks / "control")
    found = [fault.found for fault in family_faults(tasks / "control")]
    assert "0 true and 2 false in truth" in found


@pytest.mark.parametrize(("name", "found"), [("", "no family folder"), ("gone", "no such folder")])
def test_a_folder_without_families_is_a_fault(tmp_path: Path, name: str, found: str) -> None:
    (fault,) = check_folder(tmp_path / name)
    assert fault.found == found


def test_all_faults_of_a_folder_come_at_once(tasks: Path) -> None:
    for name in ("unknown key", "id twice"):
        CASES[name][0](tasks / "stance")
    swap("templates.json", '"unsure"', '"yes"')(tasks / "stance")
    swap("valuedrift_stance_climate.yaml", "_stance", "_stances")(tasks / "stance")
    line("abortion", 1, region="mars")(tasks / "control")
    places = " ".join(fault.where for fault in check_folder(tasks))
    for place in (
        "negatd",
        "labels",
        "include",
        "climate.jsonl:2 id",
        "control/items/abortion.jsonl:1 region",
    ):
        assert place in places


def test_items_are_read_as_records() -> None:
    items = read_items(folder() / "stance")
    assert len(items) == 44
    assert (items[0].id, items[0].order, items[0].scope, items[0].truth) == (
        "abortion-01",
        "change",
        "individual",
        None,
    )
    facts = read_items(folder() / "control")
    assert len(facts) == 22
    assert (facts[0].order, facts[0].truth) == (None, True)


def test_items_with_faults_are_not_read(tasks: Path) -> None:
    CASES["two negations"][0](tasks / "stance")
    with pytest.raises(UserError, match="2 negation words"):
        read_items(tasks / "stance")


def test_the_schema_is_closed_and_described() -> None:
    from jsonschema import Draft202012Validator

    schema = load_schema("item")
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert all({"title", "description"} <= set(value) for value in schema["properties"].values())
