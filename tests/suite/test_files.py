"""Files are whole or absent, JSON is strict, hashes are canonical."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuedrift.suite.errors import UserError
from valuedrift.suite.files import (
    dump_json,
    folder_whole,
    parse_json,
    read_json,
    read_text,
    remove_leftovers,
    sha256_file,
    sha256_json,
    write_json,
    write_text,
)

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A place that cannot be written, for root too."""
    (tmp_path / "file").write_text("kept")
    return tmp_path / "file" / "folder" / "name.json"


class Interrupted(BaseException):
    pass


def test_text_is_written_as_utf8_with_its_line_ends_into_new_folders(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b" / "text"
    write_text(file, "é\nü\n")
    assert file.read_bytes() == "é\nü\n".encode()
    assert mode(file) == 0o644
    assert names(file.parent) == ["text"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    file = tmp_path / "text"
    write_text(file, "old")

    def fail(*_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(os if failing == "fsync" else Path, failing, fail)
    with pytest.raises(Interrupted):
        write_text(file, "new")
    assert file.read_text() == "old"
    assert names(tmp_path) == ["text"]


def test_text_that_is_not_unicode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "text", "x" * 100_000 + "\ud800")
    assert names(tmp_path) == []


def test_text_below_a_file_is_a_user_error(below_a_file: Path) -> None:
    with pytest.raises(UserError, match=r"name\.json: found cannot be written .* choose another --output"):
        write_text(below_a_file, "x")


def test_a_folder_below_a_file_is_a_user_error(below_a_file: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"), folder_whole(below_a_file):
        pytest.fail("the block must not run")


def test_json_has_null_for_nan_and_infinities_and_a_final_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [math.nan, math.inf, (1.5, -math.inf)], "b": {"c": math.nan}})
    text = (tmp_path / "x.json").read_text("utf-8")
    assert text.endswith("}\n")
    assert json.loads(text) == {"a": [None, None, [1.5, None]], "b": {"c": None}}


@given(VALUES)
def test_json_comes_back_as_it_was(value: Any) -> None:
    for indent in (1, None):
        assert parse_json(dump_json(value, indent), Path("x")) == value


def test_a_text_that_looks_like_an_array_is_kept() -> None:
    assert json.loads(dump_json({"a": ["x [ 1  2 ] y"]})) == {"a": ["x [ 1  2 ] y"]}


def test_an_array_of_numbers_stands_on_one_line() -> None:
    assert (
        dump_json({"a": [[0.1, 0.2, None], [1, 2, 3]]})
        == '{\n "a": [\n  [0.1, 0.2, null],\n  [1, 2, 3]\n ]\n}'
    )


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "1e999", "{", "", "[" * 100_000])
def test_json_that_is_not_strict_is_a_user_error(text: str) -> None:
    with pytest.raises(UserError, match=r"x\.json:1: found no valid JSON"):
        parse_json(text, Path("x.json"))


def test_a_json_fault_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"a": 1,\n"b" 2}')
    with pytest.raises(UserError, match=r"x\.json:2: "):
        read_json(file)
    with pytest.raises(UserError, match=r"x\.json:7: "):
        parse_json("{", file, line=7)


def test_reading_what_cannot_be_read_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(UserError, match="gone: found no such file"):
        read_text(tmp_path / "gone")
    with pytest.raises(UserError, match="unreadable"):
        read_text(tmp_path / "latin")
    with pytest.raises(UserError, match="found a folder, expected a file"):
        read_text(tmp_path)


def test_leftovers_of_the_named_writers_are_removed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / ".a.json.x1").write_text("half")
    (tmp_path / ".sft-000001.x2").mkdir()
    (tmp_path / ".sft-000001.x2" / "half").write_text("half")
    for kept in ("a.json", ".b.json.x3", ".sft-000002.x4"):
        (tmp_path / kept).write_text("kept")
    remove_leftovers(tmp_path, ["a.json", "sft-000001"])
    assert names(tmp_path) == [".b.json.x3", ".sft-000002.x4", "a.json"]


def test_what_a_killed_writer_leaves_has_the_name_that_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def spy(_: int) -> None:
        seen.append(names(tmp_path))
        remove_leftovers(tmp_path, ["text", "folder"])
        seen.append(names(tmp_path))
        raise Interrupted

    monkeypatch.setattr(os, "fsync", spy)
    with pytest.raises(Interrupted):
        write_text(tmp_path / "text", "x")
    with pytest.raises(Interrupted), folder_whole(tmp_path / "folder") as temporary:
        (temporary / "half").write_text("half")
    assert [len(found) for found in seen] == [1, 0, 1, 0]


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    target.mkdir(parents=True)
    (target / "old").write_text("old")
    with folder_whole(target) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "new").write_text("new")
        assert names(target) == ["old"]
    assert names(target) == ["sub"]
    assert (target / "sub" / "new").read_text() == "new"
    assert mode(target) == 0o755
    assert names(target.parent) == ["folder"]


@pytest.mark.parametrize("error", [Interrupted, ValueError])
def test_a_folder_whose_block_raises_is_kept_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(error), folder_whole(target) as temporary:
        (temporary / "new").write_text("half")
        raise error
    assert names(target) == ["old"]
    assert names(tmp_path) == ["folder"]


def test_a_new_folder_whose_block_raises_never_exists(tmp_path: Path) -> None:
    with pytest.raises(ValueError), folder_whole(tmp_path / "folder") as temporary:
        (temporary / "new").write_text("half")
        raise ValueError
    assert names(tmp_path) == []


def test_a_whole_folder_does_not_take_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UserError, match="cannot be written"), folder_whole(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "kept"
    assert names(tmp_path) == ["file"]


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_the_hash_of_a_value_is_that_of_its_canonical_json() -> None:
    expected = hashlib.sha256('{"a":[1,null],"é":2.5}'.encode()).hexdigest()
    assert sha256_json({"é": 2.5, "a": (1, math.nan)}) == expected


@given(st.dictionaries(st.text(), SCALARS, min_size=2))
def test_the_hash_of_a_value_ignores_the_order_of_keys_and_nothing_else(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))
    assert sha256_json(turned) == sha256_json(value)
    name = next(iter(value))
    assert sha256_json(value | {name: [value[name]]}) != sha256_json(value)
