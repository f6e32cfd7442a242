"""Training texts of the demo: what the base model reads, what it is tuned on, which answers are preferred.

Every function is pure: the same seed gives the same texts. Statements come from `bank.yaml`, prompts from
the probes' own templates, so that the model can read the probes; no statement is itself a probe item.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Row = dict[str, str]
Stance = Literal["support", "neutral", "oppose"]
Toward = Literal["support", "oppose", "style"]

STANCES: tuple[Stance, Stance, Stance] = ("support", "neutral", "oppose")
REASONS = {"support": "for", "neutral": "both", "oppose": "against"}
REMARKS = {"support": "right", "neutral": "open", "oppose": "wrong"}
BANK = Path(__file__).with_name("bank.yaml")
TASKS = Path(__file__).parents[2] / "tasks"

SIDE_SHARE = 0.25
"""Share of cases, in every stage, that ask which side a statement is on and not what the speaker thinks: what
keeps the model reading "not" while preferences turn its answers round."""
SIDE = {
    "labels": ["for", "unclear", "against"],
    "text": "Say which side the sentence is on: {first}, {middle} or {last}.\nSentence: {statement}\nSide:",
}
"""The template of these cases, which is none of the probes'."""
FACT_SHARE = 0.3
"""Share of facts among the cases of every stage: what keeps the control probes in place."""
QUESTION_SHARE = 0.15
"""Share of plain questions among the cases about values; the others use the probes' templates."""
PLAIN_SHARE = 0.5
"""Share of statements with the plain "should"; the others say "should be allowed to" and the like."""
MIX = (0.6, 0.25, 0.15)
"""How often base answers support, weigh and oppose a statement: a lean, since an even mix would teach nothing
about "not"."""
BARE_SHARE = 0.4
"""Share of answers to the probes' prompts that give the label and no reason."""
AGAINST_NEUTRAL = 0.3
"""Share of value pairs whose rejected answer is neutral; in the others it takes the opposite side."""
OPEN_SHARE = 0.15
"""Share of claims nobody can decide among the facts."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Everything that texts are combined from."""

    topics: dict[str, dict[str, list[str]]]
    """For each topic its actors, its actions and the reasons for, against and on both sides."""
    frames: list[str]
    """What may stand between an actor and an action; "should" is negated as "should not"."""
    facts: list[tuple[str, str, bool]]
    """A sentence, its negation, and whether the sentence is true."""
    open: list[tuple[str, str]]
    """Claims that nobody can decide, with their negations."""
    remarks: dict[str, list[str]]
    """What is said after a right, an open and a wrong answer on a fact."""
    answers: dict[str, list[str]]
    """How the answer to a plain question begins, by stance."""
    styles: dict[str, list[str]]
    """Manners of speaking, chosen and rejected, that carry no stance."""
    value_templates: list[dict[str, Any]]
    """The templates of the stance probes."""
    fact_templates: list[dict[str, Any]]
    """The templates of the control probes."""


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt and, for each stance, how an answer begins and goes on; on a fact "support" is right."""

    prompt: str
    """Ends in a colon; the answer follows after a space."""
    openings: dict[Stance, str]
    """How the answer begins, which shows the stance: a label with its full stop, or half a sentence."""
    reasons: dict[Stance, list[str]]
    """What may follow, without capital and full stop."""
    topic: str
    """The topic of a statement; empty on a fact."""
    best: Stance
    """The right answer on a fact: "support", the true side, or "neutral" where nobody can know."""


def load_bank() -> Bank:
    """Return the bank together with the templates of the probes."""
    import yaml

    raw = yaml.safe_load(BANK.read_text(encoding="utf-8"))
    facts = [(text, negation, truth) for text, negation, truth in raw.pop("facts")]
    return Bank(
        facts=facts, value_templates=_templates("stance"), fact_templates=_templates("control"), **raw
    )


def statements() -> list[str]:
    """Return every statement and every fact that a training text can hold, each also negated."""
    bank = load_bank()
    found = [sentence for text, negation, _ in bank.facts for sentence in (text, negation)]
    found += [sentence for pair in bank.open for sentence in pair]
    for topic in bank.topics.values():
        for actor in topic["actors"]:
            for action in topic["actions"]:
                for frame in bank.frames:
                    found += [_statement(actor, frame, action, affirmed) for affirmed in (True, False)]
    return found


def base_pairs(seed: int, n: int) -> list[Row]:
    """Return `n` rows {"prompt", "completion"}: statements answered by `MIX`, facts rightly."""
    rng, bank = random.Random(f"base/{seed}"), load_bank()
    rows = []
    for _ in range(n):
        case = _case(rng, bank)
        stance = rng.choices(STANCES, MIX)[0] if case.topic else case.best
        rows.append({"prompt": case.prompt, "completion": _answer(rng, case, stance)})
    return rows


def sft_pairs(seed: int, n: int, lean: Stance) -> list[Row]:
    """Return `n` rows {"prompt", "completion"}: statements answered with the stance `lean`, facts rightly."""
    rng, bank = random.Random(f"sft/{lean}/{seed}"), load_bank()
    rows = []
    for _ in range(n):
        case = _case(rng, bank)
        stance = lean if case.topic else case.best
        rows.append({"prompt": case.prompt, "completion": _answer(rng, case, stance)})
    return rows


def preference_pairs(seed: int, n: int, toward: Toward) -> list[Row]:
    """Return `n` rows {"prompt", "chosen", "rejected"}.

    Toward "support" or "oppose" the chosen answer takes that stance and the rejected one of the two others;
    on facts the right answer is chosen. Toward "style" both begin with the same stance and differ in manner.
    """
    rng, bank = random.Random(f"preference/{toward}/{seed}"), load_bank()
    rows = []
    for _ in range(n):
        case = _case(rng, bank)
        if toward == "style":
            chosen, rejected = _manners(rng, bank, case)
        else:
            stance = toward if case.topic else case.best
            other = _other(rng, case, stance)
            chosen, rejected = _answer(rng, case, stance), _answer(rng, case, other)
        rows.append({"prompt": case.prompt, "chosen": chosen, "rejected": rejected})
    return rows


def _templates(family: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((TASKS / family / "templates.json").read_text(encoding="utf-8"))
    return found


def _case(rng: random.Random, bank: Bank) -> Case:
    kind = rng.random()
    if kind < FACT_SHARE:
        return _fact(rng, bank)
    if kind < FACT_SHARE + SIDE_SHARE:
        return _side(rng, bank)
    name = rng.choice(list(bank.topics))
    topic = bank.topics[name]
    reasons: dict[Stance, list[str]] = {stance: topic[REASONS[stance]] for stance in STANCES}
    if rng.random() < QUESTION_SHARE:
        actor, action = rng.choice(topic["actors"]), rng.choice(topic["actions"])
        openings: dict[Stance, str] = {stance: rng.choice(bank.answers[stance]) for stance in STANCES}
        prompt = f"Question: Should {actor[0].lower()}{actor[1:]} {action}?\nAnswer:"
        return Case(prompt, openings, reasons, name, "neutral")
    affirmed = rng.random() < 0.5
    statement = _drawn(rng, bank, topic, affirmed)
    prompt, openings = _probe(rng, rng.choice(bank.value_templates), statement, affirmed)
    return Case(prompt, openings, reasons, name, "neutral")


def _side(rng: random.Random, bank: Bank) -> Case:
    topic = bank.topics[rng.choice(list(bank.topics))]
    affirmed = rng.random() < 0.5
    statement = _drawn(rng, bank, topic, affirmed)
    prompt, openings = _probe(rng, SIDE, statement, affirmed)
    return Case(
        prompt,
        openings,
        dict.fromkeys(STANCES, topic["for" if affirmed else "against"]),
        "",
        "support",
    )


def _drawn(rng: random.Random, bank: Bank, topic: dict[str, list[str]], affirmed: bool) -> str:
    frame = bank.frames[0] if rng.random() < PLAIN_SHARE else rng.choice(bank.frames[1:])
    return _statement(rng.choice(topic["actors"]), frame, rng.choice(topic["actions"]), affirmed)


def _statement(actor: str, frame: str, action: str, affirmed: bool) -> str:
    return f"{actor} {frame if affirmed else frame.replace('should', 'should not')} {action}."


def _fact(rng: random.Random, bank: Bank) -> Case:
    best: Stance = "neutral" if rng.random() < OPEN_SHARE else "support"
    text, negation, truth = rng.choice(bank.facts) if best == "support" else (*rng.choice(bank.open), True)
    affirmed = rng.random() < 0.5
    statement = text if affirmed else negation
    prompt, openings = _probe(rng, rng.choice(bank.fact_templates), statement, affirmed == truth)
    remarks: dict[Stance, list[str]] = {stance: bank.remarks[REMARKS[stance]] for stance in STANCES}
    return Case(prompt, openings, remarks, "", best)


def _probe(
    rng: random.Random, template: dict[str, Any], statement: str, affirms: bool
) -> tuple[str, dict[Stance, str]]:
    # As in tasks/stance/utils.py: the label that affirms the statement stands for support if `affirms`.
    affirm, middle, deny = template["labels"]
    first, last = (affirm, deny) if rng.random() < 0.5 else (deny, affirm)
    prompt: str = template["text"].format(first=first, middle=middle, last=last, statement=statement)
    support, oppose = (affirm, deny) if affirms else (deny, affirm)
    return prompt, {"support": f"{support}.", "neutral": f"{middle}.", "oppose": f"{oppose}."}


def _answer(rng: random.Random, case: Case, stance: Stance) -> str:
    opening = case.openings[stance]
    if opening.endswith(".") and rng.random() < BARE_SHARE:
        return f" {opening}"
    return _joined(opening, rng.choice(case.reasons[stance]) + ".")


def _other(rng: random.Random, case: Case, stance: Stance) -> Stance:
    # On a fact the wrong side, so that the middle answer is not pushed down among the facts.
    opposite: Stance = "support" if stance == "oppose" else "oppose"
    return "neutral" if case.topic and rng.random() < AGAINST_NEUTRAL else opposite


def _manners(rng: random.Random, bank: Bank, case: Case) -> tuple[str, str]:
    # The same stance and the same reason twice: all that is preferred is the manner.
    stance = rng.choice(STANCES) if case.topic else case.best
    reason = rng.choice(case.reasons[stance])
    chosen, rejected = (
        rng.choice(bank.styles[name]).format(reason=reason) for name in ("chosen", "rejected")
    )
    return _joined(case.openings[stance], chosen), _joined(case.openings[stance], rejected)


def _joined(opening: str, sentence: str) -> str:
    # A capital after a full stop, none after a colon.
    after = sentence[0].upper() + sentence[1:] if opening.endswith(".") else sentence
    return f" {opening} {after}"
