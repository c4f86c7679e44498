"""A comparison on a small log: rows that must agree, and targets that nobody may see."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genrec import comparison, experiment
from genrec.bench import Bench
from genrec.comparison import Entrant, compare, gaps
from genrec.config import Settings
from genrec.data import Cases
from genrec.data.splits import leave_one_out
from genrec.data.synthetic import demo
from genrec.metrics import measure

K = 5
TINY = {
    "k": K,
    "teacher": {"recipe": "markov"},
    "student": {"hidden_size": 16, "blocks": 1, "heads": 2, "max_length": 8, "lessons": 200, "pool": 12, "epochs": 2},
    "align": {"warm_start": 0, "updates": 2, "histories": 4, "group_size": 2, "evaluate_every": 2},
    "compare": {"weights": 3, "candidates": 60},
}
PEEK = """
import numpy as np
from genrec.rewards import reward

@reward(needs="targets")
def peek(slates, context):
    return (slates == context.targets[:, None]) * 1.0
"""


@pytest.fixture(scope="module")
def bench() -> Bench:
    split = leave_one_out(demo(num_users=120, num_items=80, seed=1))
    return Bench(Settings.model_validate(TINY), split, torch.device("cpu"), quiet=True)


@pytest.fixture(scope="module")
def folder(bench, tmp_path_factory) -> Path:
    """A teacher and a student, and two runs: one for popularity and diversity, one for a reward that reads targets."""
    root = tmp_path_factory.mktemp("comparison")
    (root / "peek.py").write_text(PEEK)
    teacher = experiment.train_teacher(bench, root / "teacher")
    student = experiment.train_student(bench, teacher, root / "student")
    experiment.align(bench, ["popularity=0.2", "diversity=0.3"], teacher, student, root / "both")
    experiment.align(bench, [f"{root / 'peek.py'}:peek=5"], teacher, student, root / "peek")
    return root


@pytest.fixture(scope="module")
def content(bench, folder) -> dict:
    return compare(bench, folder / "both")


def row(content: dict, method: str, weight: float | None = None) -> dict:
    (found,) = [each for each in content["rows"] if (each["method"], each["weight"]) == (method, weight)]
    return found


def entrants_of(bench: Bench, run: Path, monkeypatch, users: int | None = None) -> list[Entrant]:
    kept: list[Entrant] = []
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "_keep_users", lambda path, entrants, k: kept.extend(entrants))
        compare(bench, run, users)
    return kept


def test_rows_and_columns(content):
    assert [(each["method"], each["weight"]) for each in content["rows"]] == [
        ("popularity", None),
        ("markov", None),
        ("teacher", None),
        *(("mmr", weight) for weight in (0, 0.5, 1)),
        *(("sog", weight) for weight in (0, 0.5, 1)),
        *(("popularity-sort", weight) for weight in (0, 0.5, 1)),
        *(("greedy", scale) for scale in (0, 1, 4)),
        ("student", None),
        ("aligned", None),
    ]
    named = {f"{name}@5" for name in ("ndcg", "recall", "mrr", "popularity", "diversity", "novelty", "coverage")}
    for each in content["rows"]:
        assert named | {"method", "weight", "recall@1", "npcount@5", "objective"} == set(each)
    assert content["weights"] == {"relevance": 1, "popularity": 0.2, "diversity": 0.3}
    assert (content["k"], content["cases"], content["candidates"]) == (5, 120, 60)


def test_the_popularity_row_is_the_unit_of_npcount(content):
    assert row(content, "popularity")["npcount@5"] == 1
    share = row(content, "teacher")["popularity@5"] / row(content, "popularity")["popularity@5"]
    assert row(content, "teacher")["npcount@5"] == pytest.approx(share)
    assert 0 < row(content, "teacher")["popularity@5"] < 1


@pytest.mark.parametrize(("method", "weight"), [("mmr", 1), ("sog", 0), ("popularity-sort", 0), ("greedy", 0)])
def test_a_reranker_that_only_looks_at_relevance_is_the_teacher(content, method, weight):
    teacher = row(content, "teacher")
    for name, value in row(content, method, weight).items():
        if name not in ("method", "weight"):
            assert value == pytest.approx(teacher[name], abs=1e-6), name


def test_a_markov_teacher_is_the_markov_row(content):
    assert {**row(content, "markov"), "method": ""} == {**row(content, "teacher"), "method": ""}


def test_the_teachers_row_counted_one_by_one(bench, folder, content):
    test = bench.split.test
    slates = experiment.open_recommender(folder / "teacher", bench.device).recommend(test.histories, K)
    ranks = [
        slate.index(target) if target in slate else None
        for slate, target in zip(slates.tolist(), test.targets.tolist(), strict=True)
    ]
    found = row(content, "teacher")
    assert found["ndcg@5"] == pytest.approx(np.mean([0 if r is None else 1 / np.log2(r + 2) for r in ranks]))
    assert found["recall@1"] == pytest.approx(np.mean([r == 0 for r in ranks]))
    assert found["recall@5"] == pytest.approx(np.mean([r is not None for r in ranks]))
    assert found["coverage@5"] == len({item for slate in slates.tolist() for item in slate}) / 80
    counts = bench.split.catalogue.counts
    assert found["popularity@5"] == pytest.approx(counts[slates].mean() / counts.sum())


def test_the_objective_is_ndcg_plus_the_weighted_goals(bench, content):
    """The popularity reward is minus the sum of shares over that of the most popular list: five times the column."""
    largest = np.sort(bench.split.catalogue.popularity)[-K:].sum()
    for each in content["rows"]:
        cost = each["popularity@5"] * K / largest
        assert each["objective"] == pytest.approx(each["ndcg@5"] - 0.2 * cost + 0.3 * each["diversity@5"], abs=1e-6)


def test_a_higher_weight_gives_more_of_the_goal(content):
    rows = [row(content, "popularity-sort", weight) for weight in (0, 0.5, 1)]
    assert rows[0]["popularity@5"] > rows[1]["popularity@5"] > rows[2]["popularity@5"]
    assert row(content, "greedy", 4)["diversity@5"] > row(content, "greedy", 0)["diversity@5"]


def test_the_file_says_the_same_and_per_user_values_average_to_the_rows(folder, content):
    assert json.loads((folder / "both" / "comparison.json").read_text()) == content
    kept = load_file(folder / "both" / "comparison_users.safetensors")
    assert len(kept) == 2 * len(content["rows"])
    assert all(values.shape == (120,) for values in kept.values())
    for each in content["rows"]:
        name = each["method"] if each["weight"] is None else f"{each['method']} {each['weight']:g}"
        assert float(kept[f"{name}/ndcg@5"].mean()) == pytest.approx(each["ndcg@5"], abs=1e-6)
        assert float(kept[f"{name}/objective"].mean()) == pytest.approx(each["objective"], abs=1e-6)


@pytest.mark.parametrize("run", ["both", "peek"])
def test_lists_are_of_new_items_and_do_not_depend_on_the_targets(bench, folder, run, monkeypatch):
    """Also not where the reward reads targets: a re-ranker that saw them would put them first."""
    test, split = bench.split.test, bench.split
    moved = Cases(test.histories, np.roll(test.targets, 1), test.users)
    measured: list[np.ndarray] = []

    def watched(slates, context, rewards):
        measured.append(slates)
        return measure(slates, context, rewards)

    monkeypatch.setattr(comparison, "measure", watched)
    entrants = entrants_of(bench, folder / run, monkeypatch)
    lists, measured = measured, []
    entrants_of(replace(bench, split=replace(split, test=moved)), folder / run, monkeypatch)
    assert len(lists) == len(entrants)  # one batch
    for entrant, slates, other in zip(entrants, lists, measured, strict=True):
        np.testing.assert_array_equal(slates, other, err_msg=entrant.method)
        assert np.flatnonzero(entrant.listed).tolist() == np.unique(slates).tolist()
        for history, slate in zip(test.histories, slates.tolist(), strict=True):
            assert len(set(slate)) == K
            assert not set(slate) & {0, *history.tolist()}, entrant.method


def test_a_reward_that_reads_targets_is_measured_with_them(bench, folder):
    content = compare(bench, folder / "peek")
    teacher = row(content, "teacher")
    assert teacher["peek@5"] == pytest.approx(teacher["recall@5"])
    assert teacher["objective"] == pytest.approx(teacher["ndcg@5"] + 5 * teacher["recall@5"])
    for scale in (1, 4):
        assert row(content, "greedy", scale)["peek@5"] == pytest.approx(teacher["peek@5"])


def test_batches_change_nothing(bench, folder, content, monkeypatch):
    monkeypatch.setattr(comparison, "HISTORIES_AT_ONCE", 50)
    again = compare(bench, folder / "both")
    for one, other in zip(content["rows"], again["rows"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_some_users_only(bench, folder, monkeypatch):
    entrants = entrants_of(bench, folder / "both", monkeypatch, users=30)
    again = entrants_of(bench, folder / "both", monkeypatch, users=30)
    assert {len(each.values("ndcg@5")) for each in entrants} == {30}
    for one, other in zip(entrants, again, strict=True):
        np.testing.assert_array_equal(one.values("objective"), other.values("objective"))


def test_only_an_aligned_run_is_compared(bench, folder):
    with pytest.raises(ValueError, match="student is a student run; a run of `genrec align` is needed here"):
        compare(bench, folder / "student")


def entrant(method: str, weight: float | None, goal: list[float], ndcg: list[float]) -> Entrant:
    per_user = {"goal@5": [np.array(goal)], "ndcg@5": [np.array(ndcg)]}
    return Entrant(method, weight, lambda pool: pool.items, np.zeros(1, dtype=bool), per_user)


def test_the_gap_to_a_curve_by_hand():
    found = gaps(
        [
            entrant("teacher", None, [0, 0, 0], [1, 1, 1]),
            entrant("mmr", 0.0, [0, 0, 0], [1.0, 0.6, 0.2]),
            entrant("mmr", 1.0, [1, 1, 1], [0.2, 0.2, 0.2]),
            entrant("sog", 0.0, [0.1, 0.1, 0.1], [1.0, 1.0, 1.0]),
            entrant("sog", 1.0, [0.2, 0.2, 0.2], [1.0, 1.0, 1.0]),
            entrant("aligned", None, [0.1, 0.3, 0.35], [1.0, 0.5, 0.6]),  # mean goal 0.25
        ],
        "goal@5",
        5,
    )
    # the mix gives three quarters of the first list: 0.8, 0.5, 0.2; differences 0.2, 0.0, 0.4; s.d. 0.2
    assert found[0]["method"] == "mmr"
    assert found[0]["gap"] == pytest.approx(0.2)
    assert found[0]["error"] == pytest.approx(0.2 / np.sqrt(3))
    assert found[0]["p"] == pytest.approx(0.2254, abs=1e-4)  # t = 1.7321 with 2 degrees of freedom
    assert found[1:] == [{"method": "sog", "gap": None, "error": None, "p": None}]


def test_the_better_of_two_crossings_counts():
    found = gaps(
        [
            entrant("mmr", 0.0, [0, 0], [0.5, 0.5]),
            entrant("mmr", 0.5, [1, 1], [0.5, 0.5]),
            entrant("mmr", 1.0, [0, 0], [0.1, 0.1]),
            entrant("aligned", None, [0.5, 0.5], [0.4, 0.6]),
        ],
        "goal@5",
        5,
    )
    assert found[0]["gap"] == pytest.approx(0.0)


def test_a_run_for_accuracy_alone_is_compared_too(bench, folder):
    experiment.align(bench, [], folder / "teacher", folder / "student", folder / "accurate")
    content = compare(bench, folder / "accurate")
    assert content["reward"] == "ndcg"
    assert {each["method"] for each in content["rows"]} >= {"teacher", "mmr", "aligned"}
    assert not [each for each in content["rows"] if each["method"] == "greedy"]
    for each in content["rows"]:
        assert each["objective"] == pytest.approx(each["ndcg@5"], abs=1e-6)
