"""Policies of many weights in a comparison: a conditioned run, and several runs as one curve."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genrec import report
from genrec.config.errors import RunError
from genrec.config.reading import Settings
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.evaluation import methods, policies, side_effects
from genrec.evaluation.comparison import compare, compare_runs
from genrec.metrics.ranking import evaluate
from genrec.pipeline import loading, stages
from genrec.pipeline.workspace import Workspace
from genrec.rewards import Diversity
from genrec.training.run_directory import read_json

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
    return Workspace(Settings.model_validate(TINY), split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="module")
def folder(workspace, tmp_path_factory) -> Path:
    """One conditioned run, and two fixed weights with two seeds each."""
    root = tmp_path_factory.mktemp("policies")
    teacher = stages.train_teacher(workspace, root / "teacher")
    student = stages.train_student(workspace, teacher, root / "student")
    stages.align(workspace, ["diversity=0:2"], teacher, student, root / "range")
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
                teacher,
                student,
                out,
            )
    return root


def aligned_rows(content: dict) -> list[dict]:
    return [row for row in content["rows"] if row["method"] == "aligned"]


def test_a_conditioned_run_is_a_curve(workspace, folder):
    content = compare(workspace, folder / "range")
    rows = aligned_rows(content)
    assert [row["weight"] for row in rows] == [0, 0.5, 2]
    for row in rows:
        writer = loading.open_recommender(
            folder / "range", workspace.device, weights={"diversity": row["weight"]}
        )
        found = evaluate(
            writer,
            workspace.split.test,
            workspace.split.catalogue,
            k=K,
            rewards={"diversity": Diversity()},
        ).means
        for name in ("ndcg@4", "diversity@4", "coverage@4"):
            assert row[name] == pytest.approx(found[name], abs=1e-6)
        assert row["objective"] == pytest.approx(
            row["ndcg@4"] + 0.5 * row["diversity@4"], abs=1e-6
        )  # the middle weight
    assert rows[0]["diversity@4"] < rows[2]["diversity@4"]
    assert (content["ranges"], content["weights"]) == (
        {"diversity": [0, 2]},
        {"relevance": 1, "diversity": 0.5},
    )
    assert (content["policy_weight"], content["seeds"]) == (0.5, [])
    areas = {each["method"]: each for each in content["areas"]["methods"]}
    assert (areas["aligned"]["points"], areas["mmr"]["points"]) == (3, 3)
    assert "aligned" not in {gap["method"] for gap in content["gaps"]}
    middle = {gap["method"]: gap for gap in content["gaps_along"] if gap["weight"] == 0.5}
    reached = [gap for gap in content["gaps"] if gap["gap"] is not None]
    assert reached
    for gap in reached:
        assert middle[gap["method"]]["gap"] == pytest.approx(gap["gap"], abs=1e-7)
        assert middle[gap["method"]]["error"] == pytest.approx(gap["error"], rel=1e-5)
    assert (content["moved"][0]["method"], content["moved"][0]["weight"]) == ("aligned", 0.5)
    student, warm, aligned = content["policies"]
    assert (student["method"], warm["method"], aligned["method"]) == (
        "student",
        "supervised warm-up",
        "aligned",
    )
    told, origin = (
        loading.open_recommender(folder / run, workspace.device, weights=weights)
        for run, weights in (("range", {"diversity": 0.5}), ("student", None))
    )
    histories = workspace.split.test.histories
    kl, _ = side_effects.divergence(
        told.policy, origin.policy, histories, told.recommend(histories, K)
    )
    assert aligned["kl"] == pytest.approx(kl.mean(axis=0).tolist(), abs=1e-5)


def test_it_is_reported(workspace, folder):
    content = report.read(folder / "range")
    page = report.page(content)
    assert "The weights of the aligned policy: diversity from 0 to 2" in page
    assert "of the aligned policy at weight 0.5 minus" in page
    report.plot(content, folder / "range" / "comparison.png")
    assert report.table(content, rows_per_method=1).row_count > 5


def test_several_runs_are_one_curve_and_seeds_one_point(workspace, folder):
    names = [f"{weight}-{seed}" for weight in (0.5, 0.1) for seed in (0, 1)]
    content = compare_runs(workspace, [folder / name for name in names], folder)
    rows = aligned_rows(content)
    assert [row["weight"] for row in rows] == [0.1, 0.5]
    assert [(row["weight"], row["seed"]) for row in content["seeds"]] == [
        (0.1, 0),
        (0.1, 1),
        (0.5, 0),
        (0.5, 1),
    ]
    for row, (one, other) in zip(rows, (content["seeds"][:2], content["seeds"][2:]), strict=True):
        for name in ("ndcg@4", "diversity@4", "coverage@4", "distinct@4"):
            assert row[name] == pytest.approx((one[name] + other[name]) / 2, abs=1e-6)
    assert content["weights"]["diversity"] == pytest.approx(0.2)
    errors = dict(
        zip(
            [(row["method"], row["weight"]) for row in content["rows"]],
            content["errors"],
            strict=True,
        )
    )
    one, other = (row["diversity@4"] for row in content["seeds"][:2])
    assert one != other
    assert (
        errors["aligned", 0.1]["diversity@4"] >= abs(one - other) / 2
    )  # the standard error of two seeds alone
    assert read_json(folder / "comparison.json") == content
    assert "Seed by seed" in report.page(report.read(folder))


def test_a_comparison_that_replaces_a_larger_one_says_what_is_lost(
    workspace, folder, tmp_path, capsys
):
    every = [folder / f"{weight}-{seed}" for weight in (0.1, 0.5) for seed in (0, 1)]
    compare_runs(workspace, every[:1], tmp_path, users=20)
    compare_runs(workspace, every, tmp_path, users=25)  # more of both
    assert "is replaced" not in capsys.readouterr().err
    compare_runs(
        workspace, every[:2], tmp_path, users=20
    )  # without weight 0.5: its mean and its two seeds
    said = capsys.readouterr().err
    assert (
        f"{tmp_path / 'comparison.json'} is replaced by a comparison without 5 of its 25 cases and"
        " 3 of the 6" in said
    )


def test_seeds_are_averaged_user_by_user_by_hand():
    def made(
        seed: int, values: list[float], listed: list[bool], marks: list[int]
    ) -> methods.Entrant:
        return methods.Entrant(
            "aligned", 0.1, lambda pool: pool.items, np.array(listed), None, {"ndcg@4": [np.array(values)]},
            [np.array(marks)], seed,
        )  # fmt: skip

    other = replace(made(0, [9, 9], [False, True, True], [1, 1]), method="teacher", seed=None)
    both = [
        made(0, [0, 1], [False, True, False], [1, 1]),
        made(1, [1, 1], [False, True, True], [1, 2]),
    ]
    teacher, mean = methods.over_seeds([other, *both])
    assert teacher is other
    assert mean.values("ndcg@4").tolist() == [0.5, 1]
    assert mean.overall == {"coverage": 0.75, "distinct": 0.75}
    assert [each.seed for each in mean.members] == [0, 1]


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
        folder / "teacher",
        folder / "student",
        out,
    )
    with pytest.raises(
        ValueError,
        match="a run for relevance, diversity and one for relevance, novelty are no points",
    ):
        policies.read_runs(workspace, [folder / "range", out])


def test_two_ranges_go_from_all_low_to_all_high(workspace, folder):
    both = policies.Aligned((), (("diversity=0:2", "novelty=1:3"),))
    assert both.is_curve
    assert (
        policies._label(
            {"diversity": (0, 2), "novelty": (1, 3)}, {"diversity": 0.5, "novelty": 1.5, "ndcg": 1}
        )
        == 0.5
    )
