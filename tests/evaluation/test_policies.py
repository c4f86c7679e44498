"""Policies of many weights in a comparison: a conditioned run, and several runs as one curve."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec import report
from genrec.config.errors import RunError
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.evaluation import policies, side_effects
from genrec.evaluation.comparison import compare, compare_runs
from genrec.evaluation.exposure import measure_exposure
from genrec.evaluation.methods import Method, average_over_seeds
from genrec.evaluation.policies import AlignedRuns
from genrec.metrics.exposure import ItemCounts
from genrec.metrics.ranking import evaluate
from genrec.pipeline import list_tasks, loading, stages
from genrec.pipeline.settings import settings_of
from genrec.pipeline.workspace import Workspace
from genrec.results import Comparison, ComparisonRow
from genrec.rewards import Diversity, load_objectives

K = 4
TINY = {
    "k": K,
    "teacher": {"recipe": "markov"},
    "student": {
        "hidden_size": 16,
        "blocks": 1,
        "heads": 2,
        "max_length": 8,
        "demonstrations": 200,
        "pool": 12,
        "epochs": 2,
    },
    "align": {
        "warmup_lists": 800,
        "updates": 2,
        "histories": 4,
        "group_size": 2,
        "evaluate_every": 2,
    },
    "compare": {"weights": 3, "policy_weights": 3, "candidates": 40, "resamples": 50},
}


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    split = leave_one_out(demo(num_users=100, num_items=60, seed=1))
    return Workspace(settings_of(TINY), split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="module")
def folder(workspace, tmp_path_factory) -> Iterator[Path]:
    """One conditioned run, and two fixed weights with two seeds each.

    Tails are not limited: one update of so small a policy would not be kept.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_tasks, "TAIL_FACTOR", math.inf)
        yield _folder(workspace, tmp_path_factory)


def _folder(workspace, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("policies")
    teacher = stages.train_teacher(workspace, root / "teacher")
    student = stages.train_student(workspace, teacher, root / "student")
    stages.align(workspace, ["diversity=0:2"], teacher=teacher, student=student, out=root / "range")
    cheap = workspace.settings.align.model_copy(
        update={"warmup_lists": 0, "updates": 1, "learning_rate": 0.02}
    )
    for seed in (0, 1):
        settings = workspace.settings.model_copy(update={"seed": seed, "align": cheap})
        for weight in (0.1, 0.5):
            out = root / f"{weight}-{seed}"
            stages.align(
                replace(workspace, settings=settings),
                [f"diversity={weight}"],
                teacher=teacher,
                student=student,
                out=out,
            )
    return root


def aligned_rows(content: Comparison) -> list[ComparisonRow]:
    return [row for row in content.rows if row.method == "aligned"]


def test_a_conditioned_run_is_a_curve(workspace, folder):
    content = compare(workspace, folder / "range")
    rows = aligned_rows(content)
    assert [row.weight for row in rows] == [0, 0.5, 2]
    for row in rows:
        recommender = loading.open_recommender(
            folder / "range", workspace.device, weights={"diversity": row.weight}
        )
        found = evaluate(
            recommender,
            workspace.split.test,
            workspace.split.catalogue,
            k=K,
            rewards={"diversity": Diversity()},
        ).means
        for name in ("ndcg@4", "diversity@4", "coverage@4"):
            assert row.metrics[name] == pytest.approx(found[name], abs=1e-6)
        objective = row.metrics["ndcg@4"] + 0.5 * row.metrics["diversity@4"]  # the middle weight
        assert row.metrics["objective"] == pytest.approx(objective, abs=1e-6)
    assert rows[0].metrics["diversity@4"] < rows[2].metrics["diversity@4"]
    assert content.ranges == {"diversity": (0, 2)}
    assert content.weights == {"relevance": 1, "diversity": 0.5}
    assert (content.policy_weight, content.seeds) == (0.5, ())
    points = {each.method: each.points for each in content.hull_areas.methods}
    assert (content.hull_areas.points, points["mmr"]) == (3, 3)
    assert "aligned" not in points
    assert "aligned" not in {gap.method for gap in content.gaps}


def test_the_gap_along_the_curve_is_the_gap_at_the_middle_weight(workspace, folder):
    content = compare(workspace, folder / "range")
    middle = {gap.method: gap for gap in content.gaps_along if gap.weight == 0.5}
    reached = [gap for gap in content.gaps if gap.difference is not None]
    assert reached
    for gap in reached:
        assert middle[gap.method].difference == pytest.approx(gap.difference, abs=1e-7)
        assert middle[gap.method].error == pytest.approx(gap.error, rel=1e-5)
    assert content.side_effects[0].method == "aligned"
    assert content.side_effects[0].weight == 0.5


def test_the_policy_of_the_middle_weight_is_compared_with_the_student(workspace, folder):
    content = compare(workspace, folder / "range")
    student, warmup, aligned = content.policies
    assert student.method == "student"
    assert warmup.method == "supervised warm-up"
    assert aligned.method == "aligned"
    conditioned, origin = (
        loading.open_recommender(folder / run, workspace.device, weights=weights)
        for run, weights in (("range", {"diversity": 0.5}), ("student", None))
    )
    histories = workspace.split.test.histories
    kl, _ = side_effects.divergence(
        conditioned.policy,
        origin.policy,
        histories=histories,
        slates=conditioned.recommend(histories, K),
    )
    assert aligned.kl == pytest.approx(kl.mean(axis=0).tolist(), abs=1e-5)


def test_it_is_reported(workspace, folder):
    compare(workspace, folder / "range")
    content = Comparison.read(folder / "range")
    page = report.page(content)
    assert "Ranges of the weights of the aligned policy: diversity 0 to 2." in page
    assert "of the aligned policy at weight 0.5 minus" in page
    report.plot(content, folder / "range" / "comparison.png")
    assert report.table(content, rows_per_method=1).row_count > 5


def test_several_runs_are_one_curve_and_seeds_one_point(workspace, folder):
    names = [f"{weight}-{seed}" for weight in (0.5, 0.1) for seed in (0, 1)]
    content = compare_runs(workspace, [folder / name for name in names], out=folder / "curve")
    rows = aligned_rows(content)
    assert [row.weight for row in rows] == [0.1, 0.5]
    seeds = [(row.weight, row.seed) for row in content.seeds]
    assert seeds == [(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]
    for row, (one, other) in zip(rows, (content.seeds[:2], content.seeds[2:]), strict=True):
        for name in ("ndcg@4", "diversity@4", "coverage@4", "distinct@4"):
            mean = (one.metrics[name] + other.metrics[name]) / 2
            assert row.metrics[name] == pytest.approx(mean, abs=1e-6)
    assert content.weights["diversity"] == pytest.approx(0.2)
    one, other = (row.metrics["diversity@4"] for row in content.seeds[:2])
    assert one != other
    # the standard error of two seeds alone is half of their difference
    assert rows[0].errors["diversity@4"] >= abs(one - other) / 2
    assert Comparison.read(folder / "curve") == content
    assert "## Single seeds" in report.page(content)


def test_a_warning_names_what_a_smaller_comparison_replaces(workspace, folder, tmp_path, caplog):
    every = [folder / f"{weight}-{seed}" for weight in (0.1, 0.5) for seed in (0, 1)]
    compare_runs(workspace, every[:1], out=tmp_path, users=20)
    compare_runs(workspace, every, out=tmp_path, users=25)  # more of both
    assert "is replaced" not in caplog.text
    # without weight 0.5: its mean and its two seeds
    compare_runs(workspace, every[:2], out=tmp_path, users=20)
    (record,) = [record for record in caplog.records if "is replaced" in record.message]
    assert record.levelname == "WARNING"
    assert record.message.startswith(
        f"{tmp_path / 'comparison.json'} is replaced by a comparison without 5 of its 25 cases and"
        " 3 of the 6 points"
    )


def test_a_comparison_of_another_version_is_replaced(workspace, folder, tmp_path):
    (tmp_path / "comparison.json").write_text('{"reward": "diversity"}')
    content = compare_runs(workspace, [folder / "0.1-0"], out=tmp_path, users=20)
    assert Comparison.read(tmp_path) == content


def test_seeds_are_averaged_user_by_user_by_hand():
    def made(seed: int | None, values: list[float], listed: list[int], hashes: list[int]) -> Method:
        method = Method(
            name="aligned", weight=0.1, recommend=lambda pool: pool.items, num_items=2, seed=seed
        )
        method.per_user["ndcg@4"] = [np.array(values)]
        method.list_hashes.append(np.array(hashes))
        method.item_counts = [ItemCounts.of(np.array([[item] for item in listed]))]
        return method

    other = replace(made(None, [9, 9], [1, 2], [1, 1]), name="teacher")
    both = [made(0, [0, 1], [1, 1], [1, 1]), made(1, [1, 1], [1, 2], [1, 2])]
    teacher, mean = average_over_seeds([other, *both])
    assert teacher is other
    assert mean.values("ndcg@4").tolist() == [0.5, 1]
    assert mean.overall == {"coverage": 0.75, "distinct": 0.75}
    assert [each.seed for each in mean.members] == [0, 1]
    (exposure,) = measure_exposure(mean, 1)  # [1, 1] has Gini 1 and entropy 0, [1, 2] 0 and log 2
    assert (exposure.gini, exposure.top_share, exposure.distinct) == (0.5, 1, 1.5)
    assert exposure.entropy == pytest.approx(np.log(2) / 2)


def test_what_is_no_curve_is_refused(workspace, folder):
    with pytest.raises(RunError, match="student run; a run of `genrec align` is needed"):
        policies.read_runs(workspace, [folder / "student"])
    out = folder / "novel"
    settings = workspace.settings.model_copy(
        update={"align": workspace.settings.align.model_copy(update={"warmup_lists": 0})}
    )
    stages.align(
        replace(workspace, settings=settings),
        ["novelty=0.1"],
        student=folder / "student",
        out=out,
    )
    with pytest.raises(
        ValueError,
        match="one aligned for relevance, novelty cannot be points of one curve",
    ):
        policies.read_runs(workspace, [folder / "range", out])


def test_the_weight_of_two_ranges_is_the_share_of_the_way(workspace):
    (objective,) = load_objectives([["diversity=0:2", "novelty=1:3"]])
    aligned = AlignedRuns((), (objective,))
    ranges = {"diversity": (0, 2), "novelty": (1, 3)}
    assert aligned.joint.ranges == ranges
    weights = {"diversity": 0.5, "novelty": 1.5, "ndcg": 1}  # both at half of the way
    assert policies._label(ranges, weights) == 0.5
