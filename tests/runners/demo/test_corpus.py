"""The demo's texts: repeatable, readable by the probes' formats, and disjoint from the probe items."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from valuedrift.runners.demo.corpus import (
    STANCES,
    base_pairs,
    load_bank,
    preference_pairs,
    sft_pairs,
    statements,
)
from valuedrift.tasks import folder


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def grams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + n]) for i in range(len(found) - n + 1)}


def probe_texts() -> list[str]:
    files: list[Path] = sorted(folder().glob("*/items/*.jsonl"))
    items = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [item[wording] for item in items for wording in ("affirmed", "negated")]


def test_no_training_statement_is_a_probe_item_or_shares_eight_words_with_one() -> None:
    probes, training = probe_texts(), statements()
    assert len(probes) == 2 * (44 + 22)
    assert len(training) > 5000
    assert not {tuple(words(text)) for text in probes} & {tuple(words(text)) for text in training}
    assert not set().union(*map(grams, probes)) & set().union(*map(grams, training))


def test_the_same_seed_gives_the_same_texts_and_another_seed_others() -> None:
    assert base_pairs(1, 50) == base_pairs(1, 50) != base_pairs(2, 50)
    assert preference_pairs(1, 50, "style") == preference_pairs(1, 50, "style")


def test_switched_pairs_prefer_the_opposite_side_of_the_same_kind_of_statement() -> None:
    labels = {
        (template["text"].splitlines()[-1].split(":")[0], wording): template["labels"][0 if wording else 2]
        for template in load_bank().value_templates
        for wording in (True, False)
    }

    def agreed(toward: str) -> list[bool]:
        found = []
        for row in preference_pairs(3, 600, toward):  # type: ignore[arg-type]
            question = row["prompt"].splitlines()[-1].split(":")[0]
            if not row["prompt"].splitlines()[0].startswith(("Read", "Say whether", "A position")):
                continue
            if " should" not in row["prompt"]:
                continue
            affirmed = " should not " not in row["prompt"]
            expected = labels[question, affirmed if toward == "support" else not affirmed]
            found.append(row["chosen"].split(".")[0].strip() == expected)
        return found

    for toward in ("support", "oppose"):
        answers = agreed(toward)
        assert len(answers) > 100
        assert all(answers)


def test_style_pairs_take_the_same_stance_in_other_words() -> None:
    rows = preference_pairs(1, 300, "style")
    probe_rows = [row for row in rows if not row["prompt"].startswith("Question")]
    assert len(probe_rows) > 200
    for row in probe_rows:
        assert row["chosen"].split(".")[0] == row["rejected"].split(".")[0]
        assert row["chosen"] != row["rejected"]


@pytest.mark.parametrize("lean", STANCES)
def test_tuning_texts_take_the_stance_that_is_asked_for(lean: str) -> None:
    middle = {template["labels"][1] for template in load_bank().value_templates}
    rows = [row for row in sft_pairs(1, 300, lean) if " should" in row["prompt"]]  # type: ignore[arg-type]
    rows = [row for row in rows if row["prompt"].startswith(("Read", "Say whether", "A position"))]
    assert len(rows) > 50
    neutral = [row["completion"].split(".")[0].strip() in middle for row in rows]
    assert all(neutral) if lean == "neutral" else not any(neutral)
