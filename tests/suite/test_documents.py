"""Documents are plain data, and every fault of one is told at once, with its line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from valuedrift.suite.documents import Document, check, load_schema, read_yaml, schema_faults, write_yaml
from valuedrift.suite.errors import Fault, UserError

# Line breaks of Unicode, and the signs that mean something in YAML.
AWKWARD = "\x85\u2028\u2029\ufeff\r\n\t \xa0ab:#-?[]{}'\"\\&*!|>%@`0x1e.=<~,\x7f\x1b\u200b"
TEXTS = st.text() | st.text(st.sampled_from(AWKWARD), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)
GOOD = """\
schema: valuedrift/sequence/1
run: a
base: b
stages:
- name: sft
  algorithm: sft
  checkpoints:
  - {step: 0, path: x}
"""


def document(folder: Path, text: str) -> Document:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    return read_yaml(file)


def faults(folder: Path, text: str) -> list[str]:
    """Return the faults of a text as lines, without the folder."""
    found: tuple[Fault, ...] = ()
    try:
        check(document(folder, text), "sequence")
    except UserError as error:
        found = error.faults
    return [str(fault).removeprefix(f"{folder}/") for fault in found]


def test_a_good_document_has_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "x.yaml:3: found key 'a' twice"),
        ("a: 1\nb:\n  c: 1\n  'c': 2\n", "x.yaml:4: found key 'c' twice"),
        ("a: &x [1]\nb: *x\n", "x.yaml:2: found alias '*x'"),
        ("a: 1\nb: !env HOME\n", "x.yaml:2: found tag '!env'"),
        ("a: 1\nb: !env {c: 1}\n", "x.yaml:2: found tag '!env'"),
        ("b: !env [1]\n", "x.yaml:1: found tag '!env'"),
        ("b: !!python/object/apply:os.getcwd []\n", "x.yaml:1: found tag "),
        ("b: !!binary aGk=\n", "x.yaml:1: found tag "),
        ("b: !!set {x, y}\n", "x.yaml:1: found tag "),
        ("a: 1\n? [b, c]\n: 2\n", "x.yaml:2: found a key that is a list or a mapping"),
        ("a: !!int x\n", "x.yaml:1: found 'x'"),
        ("a: !!bool x\n", "x.yaml:1: found 'x'"),
        ("a: 1\nb: [1,\n", "x.yaml:3: found no valid YAML"),
        ("a: 1\nb: c: d\n", "x.yaml:2: found no valid YAML"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: found no valid YAML"),
        ("a: *gone\n", "x.yaml:1: found no valid YAML"),
        ("a: \x07\n", "x.yaml: found no valid YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(tmp_path, text)
    assert found.startswith(fault)


def test_every_fault_of_the_syntax_tree_is_told_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, "a: !x 1\na: 2\nb: {c: !y 1, c: 2}\n")
    assert [line.partition(",")[0] for line in found] == [
        "x.yaml:1: found tag '!x'",
        "x.yaml:2: found key 'a' twice",
        "x.yaml:3: found tag '!y'",
        "x.yaml:3: found key 'c' twice",
    ]


def test_a_wrong_key_is_told_with_its_line_and_the_nearest_known_key(tmp_path: Path) -> None:
    text = GOOD.replace("algorithm:", "algoritm:")
    assert faults(tmp_path, text) == [
        "x.yaml:5 stages[0]: found no key 'algorithm', "
        "expected 'algorithm': lower-case name such as sft, dpo, simpo, ppo, pretrain",
        "x.yaml:6 stages[0].algoritm: found unknown key 'algoritm', expected a known key; "
        "did you mean 'algorithm'?",
    ]


def test_a_key_unlike_any_other_gets_the_list_of_known_keys(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, GOOD + "zzz: 1\n")
    assert found.startswith("x.yaml:9 zzz: found unknown key 'zzz'")
    assert found.endswith("known: base, made_by, recipe_sha256, run, schema, stages")


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    points = "".join(f"  - {{step: {n}, path: x}}\n" for n in range(1, 12))
    text = (GOOD + points).replace("step: 2,", "step: two,").replace("step: 10,", "step: -10,")
    text = text.replace("run: a", "run: a b") + "extra: 1\n"
    assert [line.partition(": found")[0] for line in faults(tmp_path, text)] == [
        "x.yaml:2 run",
        "x.yaml:10 stages[0].checkpoints[2].step",
        "x.yaml:18 stages[0].checkpoints[10].step",
        "x.yaml:20 extra",
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("valuedrift/sequence/1", "valuedrift/sequence/9", "expected 'valuedrift/sequence/1' (the format"),
        ("run: a", "run: 7", "found 7, expected type string (name of the run"),
        ("run: a", "run: '*'", 'found "*", expected text like ^[A-Za-z0-9]'),
        ("step: 0", "step: -1", "found -1, expected a number of at least 0"),
        ("\n  - {step: 0, path: x}", " []", "expected at least 1 entries"),
        ("run: a", "run: " + 80 * "ab ", 'found "' + 18 * "ab " + "ab..., expected"),
    ],
)
def test_a_fault_says_what_was_found_and_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    (found,) = faults(tmp_path, GOOD.replace(old, new))
    assert expected in found


def test_an_empty_document_is_told_by_its_file(tmp_path: Path) -> None:
    assert faults(tmp_path, "# nothing\n") == [
        "x.yaml: found null, expected type object (" + DESCRIPTION + ")"
    ]


DESCRIPTION = str(load_schema("sequence")["description"])


def test_a_json_document_is_told_by_key_without_lines() -> None:
    value = {"schema": "valuedrift/sequence/1", "run": "a", "base": "", "stages": []}
    found = schema_faults(Document(Path("x.json"), value, {}), "sequence")
    assert [fault.where for fault in found] == ["x.json base", "x.json stages"]


def test_the_line_of_a_key_is_that_of_its_nearest_known_parent(tmp_path: Path) -> None:
    read = document(tmp_path, GOOD)
    assert read.where(("stages", 0, "checkpoints", 0, "gone")).endswith(
        "x.yaml:8 stages[0].checkpoints[0].gone"
    )
    assert read.where(()).endswith("x.yaml:1")
    assert Document(Path("x"), {}, {}).line(("a",)) is None


def test_scalars_have_their_yaml_types_and_dates_stay_text(tmp_path: Path) -> None:
    text = "{a: 1, b: 1.5, c: true, d: null, e: '1', f: 2026-01-01, 7: x, g: =, h: 0x10}"
    assert document(tmp_path, text).value == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "1",
        "f": "2026-01-01",
        "7": "x",
        "g": "=",
        "h": 16,
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(VALUES)
@example("a\x85b\u2028c\u2029d")
def test_yaml_comes_back_as_it_was(tmp_path: Path, value: Any) -> None:
    write_yaml(tmp_path / "x.yaml", value)
    assert read_yaml(tmp_path / "x.yaml").value == value


def test_shared_objects_are_written_twice_without_an_alias(tmp_path: Path) -> None:
    shared = {"path": ["x"]}
    write_yaml(tmp_path / "x.yaml", {"a": shared, "b": [shared, shared["path"]]})
    text = (tmp_path / "x.yaml").read_text("utf-8")
    assert "&" not in text
    assert "*" not in text
    assert read_yaml(tmp_path / "x.yaml").value == {"a": shared, "b": [shared, ["x"]]}


def test_yaml_keeps_the_order_of_keys_and_letters_of_all_languages(tmp_path: Path) -> None:
    write_yaml(tmp_path / "x.yaml", {"b": "é", "a": 1})
    assert (tmp_path / "x.yaml").read_text("utf-8") == "b: é\na: 1\n"


@pytest.mark.parametrize("name", ["drift", "item", "ranking", "recipe", "sequence", "trace"])
def test_every_schema_is_valid_and_closed_at_the_top(name: str) -> None:
    from jsonschema import Draft202012Validator

    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
