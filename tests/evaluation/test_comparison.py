"""A comparison on a small log: rows that must agree, and targets that no method may see."""

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from genrec.config.trust import name_code
from genrec.data import Cases
from genrec.evaluation import comparison, methods
from genrec.evaluation.comparison import compare
from genrec.evaluation.methods import Method
from genrec.metrics.ranking import evaluate, measure
from genrec.pipeline import loading
from genrec.pipeline.workspace import Workspace
from genrec.report.wording import label_of
from genrec.rerankers import Pool, Reranked, greedy, mmr
from genrec.results import Comparison
from genrec.rewards import Diversity, weighted

K = 5


@pytest.fixture(scope="module")
def content(workspace, folder) -> Comparison:
    return compare(workspace, folder / "both")


def row(content: Comparison, method: str, weight: float | None = None) -> dict[str, float]:
    """Metrics of a method at a weight."""
    (found,) = [
        each.metrics for each in content.rows if (each.method, each.weight) == (method, weight)
    ]
    return found


def measured_methods(
    workspace: Workspace, run: Path, monkeypatch, users: int | None = None
) -> list[Method]:
    """The methods of a comparison with the values of each user."""
    kept: list[Method] = []
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "_save_users", lambda path, methods, k: kept.extend(methods))
        compare(workspace, run, users=users)
    return kept


def test_rows_and_columns(content):
    assert [(each.method, each.weight) for each in content.rows] == [
        ("popularity", None),
        ("markov", None),
        ("teacher", None),
        *(("mmr", weight) for weight in (0, 0.5, 1)),
        *(("mmr-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("mmr-raw", weight) for weight in (0, 0.25, 1)),
        *(("msd", weight) for weight in (0, 0.5, 1)),
        *(("msd-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("sog", weight) for weight in (0, 0.5, 1)),
        *(("sog-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("sog-raw", weight) for weight in (0, 0.75, 1)),
        *(("dpp", weight) for weight in (0, 0.5, 1)),
        *(("dpp-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("ssd", weight) for weight in (0, 0.5, 1)),
        *(("ssd-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("steck", weight) for weight in (0, 0.5, 1)),
        *(("steck-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("steck-raw", weight) for weight in (0, 0.25, 1)),
        *(("xquad", weight) for weight in (0, 0.5, 1)),
        *(("xquad-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("popularity-sort", weight) for weight in (0, 0.5, 1)),
        *(("popularity-sort-calibrated", weight) for weight in (0, 0.5, 1)),
        *(("greedy", share) for share in (0, 0.5, 1)),
        *(("greedy-sorted", share) for share in (0, 0.5, 1)),
        ("student", None),
        ("aligned", None),
    ]
    named = {
        f"{name}@5"
        for name in (
            "ndcg",
            "recall",
            "mrr",
            "popularity",
            "diversity",
            "novelty",
            "genre_calibration",
            "serendipity",
            "coverage",
            "distinct",
        )
    }
    for each in content.rows:
        assert named | {"recall@1", "npcount@5", "objective"} == set(each.metrics)
    assert content.weights == {"relevance": 1, "popularity": 0.2, "diversity": 0.3}
    assert (content.k, content.cases, content.candidates) == (5, 120, 60)


def test_the_popularity_row_is_the_unit_of_npcount(content):
    assert row(content, "popularity")["npcount@5"] == 1
    share = row(content, "teacher")["popularity@5"] / row(content, "popularity")["popularity@5"]
    assert row(content, "teacher")["npcount@5"] == pytest.approx(share)
    assert 0 < row(content, "teacher")["popularity@5"] < 1


TOP_K = [
    *(
        ("mmr", 1),
        ("mmr-calibrated", 1),
        ("mmr-raw", 1),
        ("sog", 0),
        ("sog-calibrated", 0),
        ("sog-raw", 0),
    ),
    *(
        ("dpp", 1),
        ("dpp-calibrated", 1),
        ("popularity-sort", 0),
        ("popularity-sort-calibrated", 0),
        ("greedy", 0),
    ),
    ("greedy-sorted", 0),
    *((name, 1) for name in ("msd", "msd-calibrated", "ssd", "ssd-calibrated")),
    *((name, 1) for name in ("steck", "steck-calibrated", "steck-raw")),
    *((name, 1) for name in ("xquad", "xquad-calibrated")),
]


@pytest.mark.parametrize(("method", "weight"), TOP_K)
def test_a_reranker_that_only_looks_at_relevance_is_the_teacher(content, method, weight):
    teacher = row(content, "teacher")
    for name, value in row(content, method, weight).items():
        assert value == pytest.approx(teacher[name], abs=1e-6), name


def by_probability(pool: Pool, k: int) -> np.ndarray:
    probabilities = np.where(pool.allowed, pool.context.probability(pool.items), -np.inf)
    return mmr(Pool(pool.items, probabilities, pool.context), k, 0.5)


def test_calibrated_rows_take_probabilities_and_raw_ones_take_scores(workspace, folder, content):
    teacher = loading.calibrated(folder / "teacher", workspace)
    choices = {
        ("mmr-calibrated", 0.5): by_probability,
        ("mmr-raw", 0.25): lambda pool, k: mmr(pool, k, 0.25, normalise=False),
        ("mmr", 0.5): lambda pool, k: mmr(pool, k, 0.5),
    }
    measured = set()
    for (method, weight), rerank in choices.items():
        lists = Reranked(
            teacher,
            rerank,
            workspace.split.catalogue,
            candidates=60,
            probabilities=teacher.probabilities,
        )
        found = evaluate(
            lists,
            workspace.split.test,
            workspace.split.catalogue,
            k=K,
            rewards={"diversity": Diversity()},
        ).means
        for name in ("ndcg@5", "diversity@5", "coverage@5"):
            assert row(content, method, weight)[name] == pytest.approx(found[name], abs=1e-6)
        measured.add(round(found["diversity@5"], 6))
    assert len(measured) == 3


def test_a_markov_teacher_is_the_markov_row(content):
    assert row(content, "markov") == row(content, "teacher")


def test_the_teachers_row_counted_one_by_one(workspace, folder, content):
    test = workspace.split.test
    slates = loading.open_recommender(folder / "teacher", workspace.device).recommend(
        test.histories, K
    )
    ranks = [
        slate.index(target) if target in slate else None
        for slate, target in zip(slates.tolist(), test.targets.tolist(), strict=True)
    ]
    found = row(content, "teacher")
    assert found["ndcg@5"] == pytest.approx(
        np.mean([0 if r is None else 1 / np.log2(r + 2) for r in ranks])
    )
    assert found["recall@1"] == pytest.approx(np.mean([r == 0 for r in ranks]))
    assert found["recall@5"] == pytest.approx(np.mean([r is not None for r in ranks]))
    assert found["coverage@5"] == len({item for slate in slates.tolist() for item in slate}) / 80
    counts = workspace.split.catalogue.counts
    assert found["popularity@5"] == pytest.approx(counts[slates].mean() / counts.sum())


def test_the_objective_is_ndcg_plus_the_weighted_goals(workspace, content):
    """The popularity reward is minus the sum of shares over that of the most popular list: five
    times the column."""
    largest = np.sort(workspace.split.catalogue.popularity)[-K:].sum()
    for each in (each.metrics for each in content.rows):
        cost = each["popularity@5"] * K / largest
        assert each["objective"] == pytest.approx(
            each["ndcg@5"] - 0.2 * cost + 0.3 * each["diversity@5"], abs=1e-6
        )


def test_a_higher_weight_gives_more_of_the_goal(content):
    rows = [row(content, "popularity-sort", weight) for weight in (0, 0.5, 1)]
    assert rows[0]["popularity@5"] > rows[1]["popularity@5"] > rows[2]["popularity@5"]
    assert row(content, "greedy", 1)["diversity@5"] > row(content, "greedy", 0)["diversity@5"]
    for name in ("steck", "steck-calibrated", "steck-raw"):
        calibration = [row(content, name, weight)["genre_calibration@5"] for weight in (0, 1)]
        assert calibration[0] > calibration[1]
    pure = [
        row(content, method, 0)["diversity@5"] for method in ("mmr", "mmr-calibrated", "mmr-raw")
    ]
    assert pure == pytest.approx([pure[0]] * 3)  # the goal alone, whatever relevance is


def test_sorted_lists_of_greedy_hold_the_same_items(content):
    for share in (0, 0.5):
        plain, ordered = (row(content, method, share) for method in ("greedy", "greedy-sorted"))
        for name in ("diversity@5", "popularity@5", "recall@5", "coverage@5"):
            assert ordered[name] == pytest.approx(plain[name], abs=1e-6)
    assert ordered["mrr@5"] != pytest.approx(plain["mrr@5"], abs=1e-6)  # in another order


def test_greedy_at_one_half_maximises_the_reward_of_the_run(workspace, folder, content):
    """And at 1 the goals alone: both against greedy on that sum of rewards, whose lists are looked
    at one by one."""
    for share, specs in (
        (0.5, ["relevance", "popularity=0.2", "diversity=0.3"]),
        (1, ["popularity=2", "diversity=3"]),
    ):
        teacher = loading.calibrated(folder / "teacher", workspace)
        rerank = partial(greedy, reward=weighted(specs))
        lists = Reranked(
            teacher,
            rerank,
            workspace.split.catalogue,
            candidates=60,
            probabilities=teacher.probabilities,
        )
        found = evaluate(
            lists,
            workspace.split.test,
            workspace.split.catalogue,
            k=K,
            rewards={"diversity": Diversity()},
        ).means
        for name in ("ndcg@5", "diversity@5", "popularity@5", "coverage@5"):
            assert row(content, "greedy", share)[name] == pytest.approx(found[name], abs=1e-6)


def test_the_file_holds_the_same_and_per_user_values_average_to_the_rows(folder, content):
    assert Comparison.read(folder / "both") == content
    kept = load_file(folder / "both" / "comparison_users.safetensors")
    assert len(kept) == 2 * len(content.rows)
    assert all(values.shape == (120,) for values in kept.values())
    for each in content.rows:
        for metric in ("ndcg@5", "objective"):
            mean = float(kept[f"{label_of(each)}/{metric}"].mean())
            assert mean == pytest.approx(each.metrics[metric], abs=1e-6)


@pytest.mark.parametrize("run", ["both", "peek"])
def test_lists_are_of_new_items_and_do_not_depend_on_the_targets(
    workspace, folder, run, monkeypatch
):
    """Also not where the reward reads targets: a re-ranker that saw them would put them first."""
    name_code(str(folder / "peek.py"))
    test, split = workspace.split.test, workspace.split
    shifted = Cases(test.histories, np.roll(test.targets, 1), test.users)
    measured: list[np.ndarray] = []

    def watched(slates, context, rewards):
        measured.append(slates)
        return measure(slates, context, rewards)

    monkeypatch.setattr(methods, "measure", watched)
    found = measured_methods(workspace, folder / run, monkeypatch)
    lists, measured = measured, []
    measured_methods(
        replace(workspace, split=replace(split, test=shifted)), folder / run, monkeypatch
    )
    assert len(lists) == len(found)  # one batch
    for method, slates, other in zip(found, lists, measured, strict=True):
        np.testing.assert_array_equal(slates, other, err_msg=method.name)
        assert method.listed.tolist() == np.unique(slates).tolist()
        for history, slate in zip(test.histories, slates.tolist(), strict=True):
            assert len(set(slate)) == K
            assert not set(slate) & {0, *history.tolist()}, method.name


def test_every_row_has_the_exposure_of_its_lists(workspace, folder, content):
    """The teacher's lists counted one by one; of five positions 2, 1 and 2 are thirds."""
    lists = loading.open_recommender(folder / "teacher", workspace.device).recommend(
        workspace.split.test.histories, K
    )
    for each in content.rows:
        assert [(group.first, group.last) for group in each.exposure] == [(1, 2), (3, 3), (4, 5)]
        assert all(0 < group.top_share <= 1 for group in each.exposure)
    (teacher,) = (each for each in content.rows if each.method == "teacher")
    for group in teacher.exposure:
        slots = lists[:, group.first - 1 : group.last].ravel().tolist()
        times = sorted(Counter(slots).values(), reverse=True)
        assert group.top_share == pytest.approx(sum(times[:10]) / len(slots))
        assert group.distinct == len(times)
    popularity = content.rows[0].exposure
    assert popularity[0].top_share > teacher.exposure[0].top_share


def test_batches_change_nothing(workspace, folder, content, monkeypatch):
    monkeypatch.setattr(comparison, "BATCH_SIZE", 50)
    again = compare(workspace, folder / "both")
    for one, other in zip(content.rows, again.rows, strict=True):
        assert (one.method, one.weight) == (other.method, other.weight)
        assert one.metrics == pytest.approx(other.metrics, abs=1e-6)
        assert one.exposure == other.exposure


def test_some_users_only(workspace, folder, monkeypatch):
    found = measured_methods(workspace, folder / "both", monkeypatch, users=30)
    again = measured_methods(workspace, folder / "both", monkeypatch, users=30)
    assert {len(each.values("ndcg@5")) for each in found} == {30}
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.values("objective"), other.values("objective"))


def test_only_an_aligned_run_is_compared(workspace, folder):
    with pytest.raises(
        ValueError, match="student is a student run; a run of `genrec align` is needed here"
    ):
        compare(workspace, folder / "student")


def test_divergence_of_the_policies_is_recorded(content):
    student, aligned = content.policies
    assert (student.method, aligned.method) == ("student", "aligned")
    assert student.kl == (0,) * K
    assert len(aligned.kl) == len(aligned.entropy) == K
    assert all(0 < entropy < np.log(80) for entropy in aligned.entropy + student.entropy)


def test_rows_have_standard_errors(content, folder):
    kept = load_file(folder / "both" / "comparison_users.safetensors")
    for each in content.rows:
        values = kept[f"{label_of(each)}/ndcg@5"].double()
        assert each.errors["ndcg@5"] == pytest.approx(float(values.std() / 120**0.5), abs=1e-6)
