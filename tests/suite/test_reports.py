"""Planted drift is claimed, noise and drift of the control are not, and stages start where they should."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.planted import Planted, plant, read_planted
from valuedrift.suite.errors import UserError
from valuedrift.suite.magnitude import Resampling
from valuedrift.suite.records import Checkpoint, ItemAnswers, Panel, Sequence, Snapshot, Stage, Trace
from valuedrift.suite.reports import (
    TOTAL,
    DriftReport,
    SpanDrift,
    diagnostics,
    drift_report,
    identity,
    spans,
    trajectory,
)

Floats = NDArray[np.float64]
FEW = Resampling(200, 0)
TOPICS = tuple(f"t{n:02}" for n in range(11) for _ in range(4))
VALUES = np.array([0.12, -0.04, -0.08])


def answers(generator: np.random.Generator, items: int, drifts: list[Floats], noise: float = 0.03) -> Floats:
    """Return stances (checkpoints, items, 3): one start for each item, then drift and noise."""
    start = generator.dirichlet((8, 8, 8), items)
    wobble = generator.normal(0, noise, (len(drifts), items, 3))
    moved: Floats = start + np.array(drifts)[:, None] + wobble - wobble.mean(axis=-1, keepdims=True)
    return moved


def make_trace(labels: list[str], families: dict[str, Floats], topics: tuple[str, ...] = TOPICS) -> Trace:
    """Return a trace of `stage-step` labels; NaN stances are missing answers."""
    points = [
        Checkpoint(label.partition("-")[0], int(label.partition("-")[2]), Path("x")) for label in labels
    ]
    names = dict.fromkeys(point.stage for point in points)
    stages = tuple(
        Stage(name, name, ("d",), 1, tuple(point for point in points if point.stage == name))
        for name in names
    )
    snapshots = tuple(
        Snapshot(
            point,
            {family: items(values[k], topics) for family, values in families.items()},
            {},
            None,
            "0" * 64,
            "0" * 64,
        )
        for k, point in enumerate(points)
    )
    return Trace(Sequence("run", "base", stages, Path("sequence.yaml"), "0" * 64), snapshots, ())


def items(values: Floats, topics: tuple[str, ...]) -> tuple[ItemAnswers, ...]:
    return tuple(
        ItemAnswers(f"{topic}-{n:03}", topic, None if np.isnan(row).any() else (row[0], row[1], row[2]), 1, 0)
        for n, (row, topic) in enumerate(zip(values.tolist(), topics, strict=False))
    )


def drift_of(report: DriftReport, name: str) -> SpanDrift:
    (found,) = (drift for drift in report.spans if drift.span.name == name)
    return found


def two_points(seed: int, values: Floats, control: Floats | None) -> SpanDrift:
    """Return the drift between two checkpoints of 16 items and 12 facts, in few topics to be quick."""
    generator = np.random.default_rng(seed)
    families = {"stance": answers(generator, 16, [0 * values, values])}
    if control is not None:
        families["control"] = answers(generator, 12, [0 * control, control])
    return drift_of(drift_report(make_trace(["sft-0", "sft-10"], families), FEW), "sft")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> DriftReport:
    """A stage that moves support up by .1, then one that moves nothing."""
    stages = [Planted("sft", "sft", 200, "support", 0.1, half=0.3), Planted("dpo", "dpo", 100)]
    place = plant(tmp_path_factory.mktemp("planted"), stages, checkpoints=9, noise=0.02)
    return drift_report(read_planted(place), FEW)


def test_planted_drift_is_claimed_with_its_size_and_time(planted: DriftReport) -> None:
    drift = drift_of(planted, "sft")
    assert drift.verdict == "drift"
    assert drift.values.signed["support"].value == pytest.approx(0.1, abs=0.01)
    assert drift.values.debiased.value == pytest.approx(0.1, abs=0.01)
    assert drift.values.p_value == pytest.approx(1 / 201)
    assert drift.timing is not None
    assert drift.timing.t50.value == pytest.approx(0.3, rel=0.1)
    assert drift.control is not None
    assert drift.adjusted is not None
    assert drift.adjusted.value == pytest.approx(
        (drift.values.debiased.value or 0) - (drift.control.debiased.value or 0)
    )


def test_a_stage_without_planted_drift_is_within_the_noise_floor(planted: DriftReport) -> None:
    drift = drift_of(planted, "dpo")
    assert drift.verdict.startswith("within noise floor")
    assert abs(drift.values.debiased.value or 0) < 0.01
    assert drift.timing is not None
    assert drift.timing.t50.value is None


def test_the_total_goes_from_the_first_to_the_last_snapshot_and_has_no_time(planted: DriftReport) -> None:
    drift = drift_of(planted, TOTAL)
    assert planted.spans[-1] is drift
    assert (drift.span.positions[0], drift.span.positions[-1]) == (0, len(planted.trace.snapshots) - 1)
    assert drift.timing is None
    gap = planted.panels["stance"].stances[-1] - planted.panels["stance"].stances[0]
    assert drift.values.signed["support"].value == pytest.approx(gap.mean(axis=0)[0])
    sums = [drift_of(planted, name).values.signed["support"].value or 0 for name in ("sft", "dpo")]
    assert drift.values.signed["support"].value == pytest.approx(sum(sums))


def test_every_topic_has_its_own_drift(planted: DriftReport) -> None:
    drift = drift_of(planted, "sft")
    panel = planted.panels["stance"]
    assert tuple(drift.topics) == panel.topic_names
    chosen = [topic == "climate" for topic in panel.topics]
    last = drift.span.positions[-1]
    gap = (panel.stances[last] - panel.stances[0])[chosen].mean(axis=0)
    moved, times = drift.topics["climate"]
    assert [e.value for e in moved.signed.values()] == pytest.approx(gap.tolist())
    assert (moved.tv.n, times is not None) == (4, True)
    means = [topic.signed["support"].value or 0 for topic, _ in drift.topics.values()]
    assert np.mean(means) == pytest.approx(drift.values.signed["support"].value)


def test_a_run_that_only_learns_to_agree_moves_no_stance(tmp_path: Path) -> None:
    plant(tmp_path, [Planted("sft", "sft", 100, acquiescence=1.0)], checkpoints=3)
    trace = read_planted(tmp_path)
    drift = drift_of(drift_report(trace, FEW), "sft")
    before, after = (
        diagnostics(snapshot, "stance") for snapshot in (trace.snapshots[0], trace.snapshots[-1])
    )
    assert after["acquiescence"] - before["acquiescence"] > 0.1
    assert abs(drift.values.valence.value or 0) < 0.01
    assert drift.verdict != "drift"


def test_drift_of_the_control_as_large_as_that_of_the_values_is_not_claimed(tmp_path: Path) -> None:
    plant(tmp_path, [Planted("sft", "sft", 100, "support", 0.1, control=0.1)], checkpoints=3)
    drift = drift_of(drift_report(read_planted(tmp_path), FEW), "sft")
    assert drift.values.p_value < 0.05
    assert (drift.values.debiased.value or 0) > 0.08
    assert drift.verdict.startswith("within noise floor: D ")


def test_without_drift_few_runs_are_claimed_and_with_drift_all() -> None:
    still = [two_points(seed, 0 * VALUES, 0 * VALUES).verdict == "drift" for seed in range(60)]
    moving = [two_points(seed, VALUES, 0 * VALUES).verdict == "drift" for seed in range(10)]
    assert np.mean(still) <= 0.05
    assert all(moving)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_difference_to_the_control_that_may_be_zero_is_not_claimed(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Items that scatter widely and facts that do not: D is over the floor, its interval reaches 0.
    families = {
        "stance": answers(generator, 44, [0 * VALUES, 0.4 * VALUES], noise=0.06),
        "control": answers(generator, 22, [0 * VALUES, 0 * VALUES], noise=0.02),
    }
    drift = drift_of(drift_report(make_trace(["sft-0", "sft-10"], families), FEW), "sft")
    assert drift.floor is not None
    assert (drift.values.debiased.value or 0) > drift.floor
    assert drift.values.p_value < 0.05
    assert drift.verdict == "within noise floor: interval of D less control includes 0"


def test_drift_that_cancels_over_topics_is_not_claimed_for_the_run() -> None:
    generator = np.random.default_rng(0)
    turned = np.array([1.0 if int(topic[1:]) % 2 else -1.0 for topic in TOPICS])[:40]
    values = answers(generator, 40, [0 * VALUES, 0 * VALUES])
    values[1] += turned[:, None] * VALUES
    control = answers(generator, 22, [0 * VALUES, 0 * VALUES])
    trace = make_trace(["sft-0", "sft-10"], {"stance": values, "control": control})
    drift = drift_of(drift_report(trace, FEW), "sft")
    assert drift.floor is not None
    assert drift.adjusted is not None
    assert (drift.values.debiased.value or 0) > drift.floor
    assert (drift.adjusted.low or 0) > 0
    assert drift.verdict == f"within noise floor: sign-flip p = {drift.values.p_value:.3f}"
    assert all(moved.p_value < 0.05 for moved, _ in drift.topics.values())


def test_without_a_control_family_nothing_is_claimed() -> None:
    drift = two_points(0, VALUES, None)
    assert drift.verdict == "not claimed: no control family"
    assert (drift.control, drift.adjusted, drift.floor) == (None, None, None)
    assert drift.values.p_value < 0.05


def test_the_floor_is_the_one_sided_limit_of_the_control() -> None:
    drift = two_points(0, VALUES, 0 * VALUES)
    assert drift.control is not None
    control = drift.control.debiased
    assert control.value is not None
    assert control.high is not None
    assert drift.floor == pytest.approx(control.value + 0.83923 * (control.high - control.value), rel=1e-4)


def still(labels: list[str]) -> Trace:
    return make_trace(labels, {"stance": np.full((len(labels), 44, 3), 1 / 3)})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["sft-0", "sft-10"], {"sft": ((0, 1), (0, 10))}),
        (["sft-0", "sft-10", "dpo-5"], {"sft": ((0, 1), (0, 10)), "dpo": ((1, 2), (0, 5))}),
        (["sft-0", "sft-10", "dpo-0", "dpo-5"], {"sft": ((0, 1), (0, 10)), "dpo": ((2, 3), (0, 5))}),
        (["sft-0", "dpo-5", "dpo-9"], {"dpo": ((0, 1, 2), (0, 5, 9))}),
        (["sft-0", "dpo-5", "ppo-7"], {"dpo": ((0, 1), (0, 5)), "ppo": ((1, 2), (0, 7))}),
        (["sft-3", "sft-10"], {"sft": ((0, 1), (3, 10))}),
        (["sft-0", "dpo-0"], {}),
    ],
)
def test_a_stage_without_step_0_starts_from_the_last_snapshot_before_it(
    labels: list[str], expected: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    *stages, total = spans(still(labels))
    assert {span.name: (span.positions, span.steps) for span in stages} == expected
    assert (total.name, total.positions) == (TOTAL, tuple(range(len(labels))))


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ({"dpo-000005"}, {"sft": (0, 1), "ppo": (2, 3)}),  # the whole stage before
        ({"sft-000010"}, {"ppo": (1, 2, 3)}),  # the end of the stage before
        ({"sft-000000"}, {"dpo": (0, 1), "ppo": (1, 2, 3)}),
    ],
)
def test_a_stage_does_not_answer_for_what_was_not_measured_before_it(
    failed: set[str], expected: dict[str, tuple[int, ...]]
) -> None:
    whole = still(["sft-0", "sft-10", "dpo-5", "ppo-7", "ppo-9"])
    measured = tuple(snapshot for snapshot in whole.snapshots if snapshot.checkpoint.label not in failed)
    *stages, total = spans(replace(whole, snapshots=measured))
    assert {span.name: span.positions for span in stages} == expected
    assert total.positions == (0, 1, 2, 3)


def test_a_stage_that_starts_from_the_one_before_it_is_measured_from_there() -> None:
    generator = np.random.default_rng(2)
    values = answers(generator, 44, [0 * VALUES, VALUES, 3 * VALUES])
    report = drift_report(make_trace(["sft-0", "sft-10", "dpo-5"], {"stance": values}), FEW)
    expected = (values[2] - values[1]).mean(axis=0)
    assert drift_of(report, "dpo").values.signed["support"].value == pytest.approx(expected[0])


def test_a_topic_with_one_complete_item_is_left_out_and_its_items_named() -> None:
    values = answers(np.random.default_rng(0), 44, [0 * VALUES, VALUES])
    values[1, 1:4] = np.nan  # three of the four items of t00
    values[0, 4] = np.nan  # one of t01
    report = drift_report(make_trace(["sft-0", "sft-10"], {"stance": values}), FEW)
    panel = report.panels["stance"]
    assert panel.topic_names == tuple(f"t{n:02}" for n in range(1, 11))
    assert panel.dropped == ("t00-000", "t00-001", "t00-002", "t00-003", "t01-004")
    assert panel.stances.shape == (2, 39, 3)


def test_a_control_without_two_complete_items_in_a_topic_is_no_control() -> None:
    values = answers(np.random.default_rng(0), 44, [0 * VALUES, VALUES])
    control = np.full((2, 22, 3), np.nan)
    control[:, ::4] = 1 / 3
    report = drift_report(make_trace(["sft-0", "sft-10"], {"stance": values, "control": control}), FEW)
    assert set(report.panels) == {"stance"}
    assert drift_of(report, "sft").verdict == "not claimed: no control family"


def test_what_cannot_be_reported_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"without valuedrift_stance samples.*--tasks valuedrift"):
        drift_report(make_trace(["sft-0", "sft-10"], {"control": np.full((2, 22, 3), 1 / 3)}), FEW)
    values = np.full((2, 44, 3), np.nan)
    values[:, ::4] = 1 / 3
    with pytest.raises(UserError, match="no topic with two fully answered items"):
        drift_report(make_trace(["sft-0", "sft-10"], {"stance": values}), FEW)


def test_a_trajectory_has_the_mean_of_every_checkpoint_within_its_interval(planted: DriftReport) -> None:
    panel = planted.panels["stance"]
    rows = trajectory(panel, FEW)
    assert set(rows) == {"overall", *panel.topic_names}
    support = np.array(rows["overall"]["support"])
    assert support.shape == (len(panel.stances), 3)
    np.testing.assert_allclose(support[:, 0], panel.stances.mean(axis=1)[:, 0])
    assert np.all((support[:, 1] < support[:, 0]) & (support[:, 0] < support[:, 2]))
    chosen = [topic == "climate" for topic in panel.topics]
    climate = np.array(rows["climate"]["oppose"])
    np.testing.assert_allclose(climate[:, 0], panel.stances[:, chosen].mean(axis=1)[:, 2])


def test_diagnostics_are_means_over_items_and_leave_out_what_is_missing() -> None:
    answers = (
        ItemAnswers("a-1", "a", None, 1, 1, {}),
        ItemAnswers("a-2", "a", None, 1, 0, {"entropy": 1.0, "order_gap": 0.5}),
        ItemAnswers("a-3", "a", None, 1, 0, {"entropy": 2.0}),
    )
    snapshot = Snapshot(Checkpoint("sft", 0, None), {"stance": answers}, {}, None, "", "")
    assert diagnostics(snapshot, "stance") == {"entropy": 1.5, "order_gap": 0.5}
    assert diagnostics(snapshot, "control") == {}


def test_the_identity_is_that_of_training_and_answers_and_not_of_the_run() -> None:
    first = still(["sft-0", "sft-10", "dpo-5"])
    span = spans(first)[0]
    panel = Panel(("a",), ("a",), np.full((3, 1, 3), 1 / 3))
    longer = Panel(("a",), ("a",), np.concatenate([panel.stances[:2], np.ones((5, 1, 3))]))
    other = Panel(("a",), ("a",), panel.stances + np.array([1e-9, 0, -1e-9]))
    base = identity(span, {"stance": panel})
    assert identity(span, {"stance": longer}) == base
    assert identity(span, {"stance": other}) != base
    assert identity(span, {"stance": panel, "control": panel}) != base
    assert identity(spans(first)[1], {"stance": panel}) != base
    for stage in (
        replace(span.stage, seed=2),
        replace(span.stage, data=("e",)),
        replace(span.stage, algorithm="ppo"),
    ):
        assert identity(replace(span, stage=stage), {"stance": panel}) != base
    assert identity(replace(span, steps=(0, 11)), {"stance": panel}) != base
    assert identity(replace(span, name="renamed"), {"stance": panel}) == base
