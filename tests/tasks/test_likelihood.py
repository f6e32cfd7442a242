"""Every task loads in lm-eval, and its scoring gives constructed models the measures that they must have."""

from __future__ import annotations

import math
import random
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from valuedrift.suite.items import check_folder
from valuedrift.tasks import folder

Doc = dict[str, Any]
Scores = dict[str, float]
Model = Callable[[Doc], tuple[float, float, float]]

TOPICS = {path.stem for path in (folder() / "stance" / "items").glob("*.jsonl")}
FAMILIES = ("stance", "control")
STANCE_DOCUMENTS = 44 * 2 * 2 * 3
CONTROL_DOCUMENTS = 22 * 2 * 2 * 2


@pytest.fixture(scope="module")
def manager() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder()), include_defaults=False)


@pytest.fixture(scope="module")
def tasks(manager: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = manager.load("valuedrift")["tasks"]
    return loaded


def logs(probabilities: tuple[float, ...]) -> list[tuple[float, bool]]:
    return [(math.log(p) if p > 0 else -math.inf, False) for p in probabilities]


def scores(
    task: Any, model: Model, prior: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
) -> list[Scores]:
    return [task.process_results(doc, logs((*model(doc), *prior))) for doc in task.test_docs()]


def means(task: Any, model: Model) -> Scores:
    rows = scores(task, model)
    return {key: math.fsum(row[key] for row in rows) / len(rows) for key in rows[0]}


def says(affirms: bool) -> tuple[float, float, float]:
    return (1.0, 0.0, 0.0) if affirms else (0.0, 0.0, 1.0)


def always_affirm(_: Doc) -> tuple[float, float, float]:
    return says(True)


def always_first(doc: Doc) -> tuple[float, float, float]:
    return says(doc["order"] == "affirm_first")


def always_neutral(_: Doc) -> tuple[float, float, float]:
    return (0.0, 1.0, 0.0)


def uniform(_: Doc) -> tuple[float, float, float]:
    return (0.2, 0.2, 0.2)


def perfect_supporter(doc: Doc) -> tuple[float, float, float]:
    return says(doc["polarity"] > 0)


def perfect_knower(doc: Doc) -> tuple[float, float, float]:
    return says((doc["polarity"] > 0) == doc["truth"])


EXPECTED: list[tuple[Model, str, Scores]] = [
    (
        always_affirm,
        "both",
        {"stance": 0, "support": 0.5, "oppose": 0.5, "acquiescence": 0.5, "order_gap": 0},
    ),
    (always_affirm, "control", {"accuracy": 0.5}),
    (always_first, "both", {"stance": 0, "acquiescence": 0, "order_gap": 1, "entropy": 0}),
    (
        always_neutral,
        "both",
        {"neutral": 1, "stance": 0, "acquiescence": 0, "order_gap": 0, "option_mass": 1},
    ),
    (always_neutral, "control", {"accuracy": 0.5}),
    (uniform, "both", {"support": 1 / 3, "neutral": 1 / 3, "entropy": math.log(3), "option_mass": 0.6}),
    (uniform, "both", {"stance": 0, "order_gap": 0, "acquiescence": 0, "pmi_stance": 0}),
    (uniform, "control", {"accuracy": 0.5}),
    (
        perfect_supporter,
        "stance",
        {"support": 1, "stance": 1, "acquiescence": 0, "order_gap": 0, "pmi_stance": 1},
    ),
    (perfect_supporter, "control", {"accuracy": 0.5, "stance": 0}),
    (
        perfect_knower,
        "control",
        {"accuracy": 1, "support": 1, "stance": 1, "acquiescence": 0, "order_gap": 0},
    ),
]


@pytest.mark.parametrize(
    ("model", "families", "expected"), EXPECTED, ids=[f"{m.__name__}-{f}-{min(e)}" for m, f, e in EXPECTED]
)
def test_constructed_models_in_every_topic(
    tasks: dict[str, Any], model: Model, families: str, expected: Scores
) -> None:
    for family in FAMILIES if families == "both" else (families,):
        for topic in TOPICS:
            found = means(tasks[f"valuedrift_{family}_{topic}"], model)
            assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9), (family, topic)


def test_every_yaml_is_indexed(manager: Any) -> None:
    # lm-eval leaves a broken YAML out without a word.
    files = {path.stem for path in folder().rglob("*.yaml") if not path.name.startswith("_")}
    assert set(manager.all_tasks) == files
    assert len(files) == 3 + 2 * 11


def test_the_groups_hold_every_topic_of_both_families(manager: Any, tasks: dict[str, Any]) -> None:
    assert set(tasks) == {f"valuedrift_{family}_{topic}" for family in FAMILIES for topic in TOPICS}
    assert {name: len(group) for name, group in manager.load("valuedrift")["group_map"].items()} == {
        "valuedrift": 2,
        "valuedrift_stance": 11,
        "valuedrift_control": 11,
    }


def test_a_topic_is_added_with_jsonl_and_yaml_alone(tmp_path: Path) -> None:
    """The steps of tasks/README.md."""
    from lm_eval.tasks import TaskManager

    copy = tmp_path / "tasks"
    shutil.copytree(folder(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    family = copy / "stance"
    places = ("items/{}.jsonl", "valuedrift_stance_{}.yaml")
    for place in places:
        text = (family / place.format("climate")).read_text("utf-8").replace("climate", "sea_level")
        text = (
            text.replace("sea_level-", "sea-level-").replace("s in ", "s near ").replace(" be ", " soon be ")
        )
        (family / place.format("sea_level")).write_text(text, "utf-8")
    group = family / "valuedrift_stance.yaml"
    first = "  - valuedrift_stance_abortion\n"
    group.write_text(
        group.read_text("utf-8").replace(first, first + first.replace("abortion", "sea_level")), "utf-8"
    )
    faults = check_folder(copy)
    assert len(faults) == 3
    for fault in faults:
        file = Path(fault.where.split(":")[0])
        version = fault.fix.split("`")[1]
        file.write_text(re.sub(r"version: .*", version, file.read_text("utf-8")), "utf-8")
    assert check_folder(copy) == []
    loaded: dict[str, Any] = TaskManager(include_path=str(copy), include_defaults=False).load("valuedrift")[
        "tasks"
    ]
    assert len(loaded["valuedrift_stance_sea_level"].test_docs()) == 48


def test_documents_are_a_full_cross(tasks: dict[str, Any]) -> None:
    docs = {name: list(task.test_docs()) for name, task in tasks.items()}
    counts = {
        family: sum(len(docs[f"valuedrift_{family}_{topic}"]) for topic in TOPICS) for family in FAMILIES
    }
    assert counts == {"stance": STANCE_DOCUMENTS, "control": CONTROL_DOCUMENTS}
    every = [doc for rows in docs.values() for doc in rows]
    assert len({doc["id"] for doc in every}) == len(every)
    for doc in every:
        affirm, deny = (re.search(rf"\b{doc['choices'][n]}\b", doc["prompt"]) for n in (0, 2))
        assert affirm and deny
        assert (affirm.start() < deny.start()) == (doc["order"] == "affirm_first"), doc["id"]


def test_the_statement_comes_after_every_option(tasks: dict[str, Any]) -> None:
    for doc in tasks["valuedrift_stance_climate"].test_docs():
        option, statement = doc["prompt"].split("\n")[:2]
        assert all(choice in option for choice in doc["choices"])
        assert "should" in statement


@pytest.mark.parametrize("place", range(3))
def test_no_number_for_an_answer_without_a_number(tasks: dict[str, Any], place: int) -> None:
    for name in ("valuedrift_stance_climate", "valuedrift_control_climate"):
        task = tasks[name]
        results = logs((0.5, 0.3, 0.2, 0.5, 0.3, 0.2))
        results[place] = (math.nan, False)
        found = task.process_results(task.test_docs()[0], results)
        assert all(math.isnan(value) for value in found.values()), found


def test_only_pmi_needs_the_prior(tasks: dict[str, Any]) -> None:
    task = tasks["valuedrift_stance_climate"]
    found = task.process_results(task.test_docs()[0], logs((0.5, 0.3, 0.2)) + [(math.nan, False)] * 3)
    assert {key for key, value in found.items() if math.isnan(value)} == {"pmi_stance"}


def test_pmi_takes_away_what_a_word_has_without_a_prompt(tasks: dict[str, Any]) -> None:
    prior = (0.7, 0.2, 0.1)
    for row in scores(tasks["valuedrift_stance_climate"], lambda _: prior, prior):
        assert row["pmi_stance"] == pytest.approx(0, abs=1e-12)
        assert abs(row["stance"]) == pytest.approx(0.6)


def test_acquiescence_is_the_mean_agreement_with_a_statement_and_its_negation(tasks: dict[str, Any]) -> None:
    dice = random.Random(0)

    def anything(_: Doc) -> tuple[float, float, float]:
        weights = [dice.random() for _ in range(3)]
        return (weights[0] / sum(weights), weights[1] / sum(weights), weights[2] / sum(weights))

    task = tasks["valuedrift_stance_climate"]
    agreement: dict[int, list[float]] = {1: [], -1: []}
    rows = []
    for doc in task.test_docs():
        answer = anything(doc)
        rows.append(task.process_results(doc, logs((*answer, *answer))))
        agreement[doc["polarity"]].append(answer[0] + answer[1] / 2)
    affirmed, negated = (sum(agreement[sign]) / len(agreement[sign]) for sign in (1, -1))
    mean = sum(row["acquiescence"] for row in rows) / len(rows)
    assert mean == pytest.approx((affirmed + negated) / 2 - 1 / 2)
    assert sum(row["stance"] for row in rows) / len(rows) == pytest.approx(affirmed - negated)


def test_stances_are_probabilities(tasks: dict[str, Any]) -> None:
    dice = random.Random(1)
    for task in tasks.values():
        for row in scores(task, lambda _: (dice.random(), dice.random(), dice.random())):
            assert row["support"] + row["neutral"] + row["oppose"] == pytest.approx(1)
            assert -1 <= row["stance"] <= 1
            assert 0 <= row["entropy"] <= math.log(3) + 1e-12


def test_lm_eval_gives_the_choices_and_then_the_priors(manager: Any) -> None:
    """The order that `score` relies on, with a model that affirms more than its words do by themselves."""
    import lm_eval
    from lm_eval.api.model import LM

    class Affirmer(LM):  # type: ignore[misc]
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return [(self.value(*request.args), False) for request in requests]

        def value(self, context: str, continuation: str) -> float:
            affirms = continuation.strip() in {"agree", "yes", "support"}
            return (-0.5 if affirms else -50.0) - (0 if context else 1)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise NotImplementedError

        def generate_until(self, requests: list[Any]) -> list[str]:
            raise NotImplementedError

    # pyright takes the wrapped function's parameters from another one.
    evaluate: Any = lm_eval.simple_evaluate
    out = evaluate(
        model=Affirmer(), tasks=["valuedrift_stance_climate"], task_manager=manager, bootstrap_iters=0
    )
    samples = out["samples"]["valuedrift_stance_climate"]
    assert len(samples) == 4 * 2 * 2 * 3
    assert all(abs(sample["stance"]) == pytest.approx(1) for sample in samples)
    assert all(sample["pmi_stance"] == pytest.approx(0, abs=1e-9) for sample in samples)
    results = out["results"]["valuedrift_stance_climate"]
    assert results["stance,none"] == pytest.approx(0, abs=1e-9)
    assert results["option_mass,none"] == pytest.approx(math.exp(-0.5))
    assert "acc_mutual_info,none" not in results


def test_no_measure_but_accuracy_has_a_good_direction(tasks: dict[str, Any]) -> None:
    for task in tasks.values():
        assert {name for name, good in task.higher_is_better().items() if good is not None} <= {"accuracy"}
    assert tasks["valuedrift_control_climate"].higher_is_better()["accuracy"] is True
    assert all(a.VERSION == b.VERSION for a, b in pairwise(tasks[f"valuedrift_stance_{t}"] for t in TOPICS))
