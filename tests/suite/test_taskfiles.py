"""Templates, task YAMLs and their versions: each way to break them is caught."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from valuedrift.suite.errors import Fault
from valuedrift.suite.items import check_folder, data_version, family_faults, group_version
from valuedrift.tasks import folder

Mutation = Callable[[Path], None]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    copy = tmp_path / "tasks"
    shutil.copytree(folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def swap(name: str, old: str, new: str) -> Mutation:
    """Replace text once in a file of the family."""

    def mutate(family: Path) -> None:
        text = (family / name).read_text("utf-8")
        assert old in text
        (family / name).write_text(text.replace(old, new, 1), "utf-8")

    return mutate


def remove(name: str) -> Mutation:
    return lambda family: (family / name).unlink()


def template(**changes: Any) -> Mutation:
    """Change keys of the second template; None removes a key."""

    def mutate(family: Path) -> None:
        templates = json.loads((family / "templates.json").read_text("utf-8"))
        value = templates[1] | changes
        templates[1] = {k: v for k, v in value.items() if v is not None}
        (family / "templates.json").write_text(json.dumps(templates), "utf-8")

    return mutate


def written(name: str, text: str) -> Mutation:
    def mutate(family: Path) -> None:
        (family / name).write_text(text, "utf-8")

    return mutate


GROUP = "valuedrift_stance.yaml"
CLIMATE = "valuedrift_stance_climate.yaml"

CASES: dict[str, tuple[Mutation, list[tuple[str, str]]]] = {
    "no task": (remove(CLIMATE), [("items/climate.jsonl", "items without a task")]),
    "no items": (
        remove("items/climate.jsonl"),
        [
            (CLIMATE, "a task without items/climate.jsonl"),
            (f"{GROUP}:6 task[2]", "'valuedrift_stance_climate'"),
        ],
    ),
    "no group": (remove(GROUP), [(GROUP, "no such file")]),
    "no settings": (remove("_stance.yaml"), [("_stance.yaml", "no such file")]),
    "stray YAML": (written("notes.yaml", "a: 1\n"), [("notes.yaml", "a YAML of another name")]),
    "broken YAML": (written(CLIMATE, "include: [\n"), [(f"{CLIMATE}:2", "no valid YAML")]),
    "unknown tag": (written(CLIMATE, "include: !lookup x\n"), [(f"{CLIMATE}:1", "no valid YAML")]),
    "list YAML": (written(CLIMATE, "- include\n"), [(CLIMATE, "no mapping")]),
    "other include": (swap(CLIMATE, "_stance", "_stances"), [(f"{CLIMATE}:1 include", "'_stances.yaml'")]),
    "other task": (
        swap(CLIMATE, "task: valuedrift_stance_climate", "task: climate"),
        [(f"{CLIMATE}:2 task", "'climate'")],
    ),
    "other data": (
        swap(CLIMATE, "topic: climate", "topic: abortion"),
        [(f"{CLIMATE}:5 dataset_kwargs.topic", "'abortion'")],
    ),
    "not in group": (
        swap(GROUP, "  - valuedrift_stance_climate\n", ""),
        [(f"{GROUP}:3 task", "no 'valuedrift_stance_climate'")],
    ),
    "group member twice": (
        swap(GROUP, "  - valuedrift_stance_climate\n", 2 * "  - valuedrift_stance_climate\n"),
        [(f"{GROUP}:7 task[3]", "twice")],
    ),
    "group of another name": (
        swap(GROUP, "group: valuedrift_stance", "group: stance"),
        [(f"{GROUP}:1 group", "'stance'")],
    ),
    "templates missing": (remove("templates.json"), [("templates.json", "no such file")]),
    "templates broken": (written("templates.json", "["), [("templates.json:1", "no valid JSON")]),
    "templates empty": (written("templates.json", "[]"), [("templates.json", "no list of templates")]),
    "template no object": (written("templates.json", "[3]"), [("templates.json [0]", "3")]),
    "template without id": (template(id=None), [("templates.json [1]", "no key 'id'")]),
    "template id twice": (template(id="agree"), [("templates.json", "id 'agree' 2 times")]),
    "template id": (template(id="A b"), [("templates.json [1].id", "'A b'")]),
    "template key": (template(label=["a"]), [("templates.json [1].label", "unknown key 'label'")]),
    "two labels": (template(labels=["yes", "no"]), [("templates.json [1].labels", "['yes', 'no']")]),
    "same labels": (template(labels=["yes", "Yes", "no"]), [("templates.json [1].labels", "'Yes'")]),
    "number labels": (template(labels=[1, 2, 3]), [("templates.json [1].labels", "[1, 2, 3]")]),
    "text no statement": (
        template(text="{first} {middle} {last}"),
        [("templates.json [1].text", "the fields")],
    ),
    "statement first": (
        template(text="{statement} {first} {middle} {last}:"),
        [("templates.json [1].text", "the fields {statement}, {first}")],
    ),
    "unknown field": (
        template(text="{first} {middle} {last} {statement} {name}"),
        [("templates.json [1].text", "{name}")],
    ),
    "lone brace": (
        template(text="{first} {middle} {last} {statement} }"),
        [("templates.json [1].text", "a brace that opens no field")],
    ),
    "space at the end": (
        template(text="{first} {middle} {last} {statement} "),
        [("templates.json [1].text", "a space at its end")],
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


def test_a_family_without_items_is_a_fault(tasks: Path) -> None:
    shutil.rmtree(tasks / "stance" / "items")
    found = [str(fault) for fault in check_folder(tasks)]
    assert any("stance/items: found no items" in text for text in found)


def test_changed_data_needs_a_new_version_in_every_yaml_that_carries_one(tasks: Path) -> None:
    swap("items/climate.jsonl", "Countries", "Most countries")(tasks / "stance")
    swap("items/climate.jsonl", "Countries", "Most countries")(tasks / "stance")
    version = data_version(tasks / "stance")
    faults = check_folder(tasks)
    assert [fault.where.split("/tasks/")[1] for fault in faults] == [
        "stance/_stance.yaml:21 metadata.version",
        "stance/valuedrift_stance.yaml:26 metadata.version",
        "valuedrift.yaml:6 metadata.version",
    ]
    assert all(f'version: "{version}"' in fault.fix for fault in faults[:2])
    old = data_version(folder() / "stance")
    for name in ("_stance.yaml", "valuedrift_stance.yaml"):
        swap(name, old, version)(tasks / "stance")
    all_old, all_new = (group_version(path, ["stance", "control"]) for path in (folder(), tasks))
    assert f'version: "{all_new}"' in faults[2].fix
    swap("valuedrift.yaml", all_old, all_new)(tasks)
    assert check_folder(tasks) == []


def test_a_version_in_a_topic_is_checked_too(tasks: Path) -> None:
    file = tasks / "stance" / CLIMATE
    file.write_text(file.read_text("utf-8") + "metadata:\n  version: 2\n", "utf-8")
    assert [fault.where.rpartition("/")[2] for fault in check_folder(tasks)] == [
        f"{CLIMATE}:7 metadata.version"
    ]


def test_the_version_can_be_made_with_sha256sum() -> None:
    command = "LC_ALL=C; sha256sum templates.json items/*.jsonl | sha256sum | cut -c1-8"
    made = subprocess.run(
        ["bash", "-c", command], cwd=folder() / "stance", capture_output=True, text=True, check=True
    )
    assert data_version(folder() / "stance") == f"1-{made.stdout.strip()}"


def test_the_version_moves_when_an_item_changes_its_file(tasks: Path) -> None:
    before = data_version(tasks / "stance")
    (tasks / "stance/items/climate.jsonl").rename(tasks / "stance/items/weather.jsonl")
    assert data_version(tasks / "stance") != before


def test_the_root_group_names_families(tasks: Path) -> None:
    swap("valuedrift.yaml", "valuedrift_stance", "valuedrift_stanse")(tasks)
    (fault,) = check_folder(tasks)
    assert fault.where.endswith("valuedrift.yaml:3 task[0]")
    assert fault.fix == "did you mean 'valuedrift_stance'?"
