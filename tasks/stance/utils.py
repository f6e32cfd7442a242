"""Documents and scoring of the likelihood probes: one prompt per item x polarity x order x template.

Used by `stance/` and, through `control/utils.py`, by `control/`. Imports nothing of valuedrift, so that
the folder can be copied into lm-eval as it is.
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import datasets

POLARITIES = (("affirmed", 1), ("negated", -1))
ORDERS = ("affirm_first", "deny_first")


def load(topic: str, **_: Any) -> dict[str, datasets.Dataset]:
    """Return the `test` split of one stance topic; lm-eval passes the YAML's metadata as further keywords."""
    return documents(Path(__file__).parent, topic)


def documents(family: Path, topic: str) -> dict[str, datasets.Dataset]:
    """Return `{"test": rows}` with a row for each item, polarity, order and template of a family folder.

    Raises FileNotFoundError when `items/<topic>.jsonl` is missing.
    """
    items_file = family / "items" / f"{topic}.jsonl"
    lines = items_file.read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines if line.strip()]
    templates = json.loads((family / "templates.json").read_text(encoding="utf-8"))
    cells = itertools.product(items, POLARITIES, ORDERS, templates)
    rows = [_row(item, polarity, order, template) for item, polarity, order, template in cells]
    return {"test": datasets.Dataset.from_list(rows)}


def _row(
    item: dict[str, Any], polarity: tuple[str, int], order: str, template: dict[str, Any]
) -> dict[str, Any]:
    wording, sign = polarity
    affirm, middle, deny = template["labels"]
    first, last = (affirm, deny) if order == "affirm_first" else (deny, affirm)
    prompt = template["text"].format(first=first, middle=middle, last=last, statement=item[wording])
    return {
        "id": f"{item['id']}/{wording}/{order}/{template['id']}",
        "item": item["id"],
        "topic": item["topic"],
        "polarity": sign,
        "order": order,
        "template": template["id"],
        "truth": bool(item.get("truth", True)),
        "prompt": prompt,
        "choices": [affirm, middle, deny],
    }


def score(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Return the measures of one prompt, NaN where a log-likelihood is missing or NaN.

    `results` holds (log-likelihood in nats, is greedy) for the choices affirm, middle, deny, then for the
    same choices without a prompt (lm-eval's mutual-information requests). Probabilities are the softmax
    over the three choices. The formula of each measure stands in README.md.
    """
    given = [value for value, _ in results[:3]]
    prior = [value for value, _ in results[3:6]]
    affirm, middle, deny = _softmax(given)
    sign = doc["polarity"] if doc["truth"] else -doc["polarity"]
    support, oppose = (affirm, deny) if sign > 0 else (deny, affirm)
    first, last = (affirm, deny) if doc["order"] == "affirm_first" else (deny, affirm)
    pmi = _softmax([a - b for a, b in zip(given, prior, strict=True)])
    return {
        "support": support,
        "neutral": middle,
        "oppose": oppose,
        "stance": support - oppose,
        "acquiescence": (affirm - deny) / 2,
        "order_gap": first - last,
        "option_mass": sum(math.exp(value) for value in given),
        "entropy": -sum(p * math.log(p) if p > 0 else 0.0 * p for p in (affirm, middle, deny)),
        "pmi_stance": sign * (pmi[0] - pmi[2]),
    }


def _softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    if not math.isfinite(top) or any(math.isnan(value) for value in logits):
        return [math.nan] * len(logits)
    weights = [math.exp(value - top) for value in logits]
    return [weight / sum(weights) for weight in weights]
