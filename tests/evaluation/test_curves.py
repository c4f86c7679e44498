"""Gaps, areas and what else moved, on entrants written by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genrec.agents.gptrec.model import GPTRec
from genrec.data import Sequences
from genrec.evaluation import methods, side_effects
from genrec.evaluation.curves import gaps, gaps_along
from genrec.evaluation.hypervolume import areas, compare_fronts
from genrec.evaluation.methods import Entrant
from genrec.evaluation.side_effects import moved


def entrant(method: str, weight: float | None, goal: list[float], ndcg: list[float]) -> Entrant:
    per_user = {"goal@5": [np.array(goal)], "ndcg@5": [np.array(ndcg)]}
    marks = [np.arange(len(goal))]
    return Entrant(
        method, weight, lambda pool: pool.items, np.array([False, True]), None, per_user, marks
    )


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
    # the mix gives three quarters of the first list: 0.8, 0.5, 0.2; differences 0.2, 0.0, 0.4; s.d.
    # 0.2
    assert found[0]["method"] == "mmr"
    assert found[0]["gap"] == pytest.approx(0.2)
    assert found[0]["error"] == pytest.approx(0.2 / np.sqrt(3))
    assert found[0]["p"] == pytest.approx(0.2254, abs=1e-4)  # t = 1.7321 with 2 degrees of freedom
    assert found[0]["low"] < 0.2 < found[0]["high"] <= 0.4  # three cases, drawn three at a time
    nothing = dict.fromkeys(("gap", "error", "low", "high", "p"))
    assert found[1:] == [{"method": "sog", **nothing}]


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


def test_gaps_along_a_curve_count_users_and_seeds():
    mmr = [
        entrant("mmr", 0.0, [0, 0, 0], [1.0, 0.6, 0.2]),  # mean .6
        entrant("mmr", 1.0, [1, 1, 1], [0.2, 0.2, 0.2]),
    ]
    seeds = [
        entrant("aligned", 0.5, [0.25] * 3, [0.9, 0.4, 0.5]),  # mean .6, the mix has .5: +.1
        entrant("aligned", 0.5, [0.25] * 3, [1.1, 0.6, 0.7]),  # +.3
    ]
    both = replace(entrant("aligned", 0.5, [0.25] * 3, [1.0, 0.5, 0.6]), members=tuple(seeds))
    far = entrant("aligned", 2.0, [1.5] * 3, [0.1, 0.1, 0.1])
    near, out_of_reach = gaps_along([*mmr, both, far], "goal@5", 5)
    users, over_seeds = (
        0.2**2 / 3,
        0.02 / 2,
    )  # differences .2, .0, .4; seeds .1 and .3, variance .02
    assert (near["weight"], near["method"], near["gap"]) == (0.5, "mmr", pytest.approx(0.2))
    assert near["error"] == pytest.approx(np.sqrt(users + over_seeds))
    assert out_of_reach == {"weight": 2.0, "method": "mmr", "gap": None, "error": None}
    (alone, _) = gaps_along([*mmr, seeds[0], far], "goal@5", 5)
    assert (alone["gap"], alone["error"]) == (pytest.approx(0.1), pytest.approx(0.2 / np.sqrt(3)))
    assert gaps_along([*mmr, seeds[0]], "goal@5", 5) == []


def test_the_areas_by_hand():
    rows = [
        entrant("teacher", None, [0.0, 0.0], [9.0, 9.0]),  # no curve: not in the box
        entrant("mmr", 0.0, [0.0, 0.0], [1.0, 1.0]),
        entrant("mmr", 1.0, [1.0, 1.0], [0.0, 0.0]),
        entrant("sog", 0.0, [0.25, 0.25], [0.5, 0.5]),
        entrant("aligned", None, [0.5, 0.5], [0.5, 1.0]),
    ]
    found = areas(rows, "goal@5", 5, seed=0, resamples=200)
    assert (found["axes"], found["worst"], found["best"]) == (["goal@5", "ndcg@5"], [0, 0], [1, 1])
    mmr, sog, own = found["methods"]
    assert (mmr["method"], mmr["points"], mmr["area"], mmr["low"], mmr["high"]) == (
        "mmr",
        2,
        0,
        0,
        0,
    )
    assert (sog["area"], own["area"]) == (0.125, 0.375)  # .25 x .5 and .5 x .75
    assert (own["low"], own["high"]) == (0.25, 0.5)  # the one case or the other twice
    assert (sog["behind"], sog["behind_low"], sog["behind_high"]) == (0.25, 0.125, 0.375)
    assert own["behind"] is own["p"] is None
    assert sog["p"] == pytest.approx(2 * 2 / 201)  # never below 0; times 2 tests


def test_the_areas_turn_popularity_round():
    def rare(method: str, weight: float | None, popularity: float, ndcg: float) -> Entrant:
        made = entrant(method, weight, [0.0, 0.0], [ndcg, ndcg])
        return replace(
            made, per_user={**made.per_user, "popularity@5": [np.array([popularity] * 2)]}
        )

    rows = [rare("mmr", 0.0, 0.4, 1.0), rare("mmr", 1.0, 0.1, 0.0), rare("aligned", None, 0.2, 0.5)]
    found = areas(rows, "popularity@5", 5, seed=0, resamples=10)
    assert found["worst"] == pytest.approx([0.4, 0])
    assert found["best"] == pytest.approx([0.1, 1])
    assert [each["area"] for each in found["methods"]] == pytest.approx([0, 0.2 / 0.3 * 0.5])


def test_what_else_moved_by_hand():
    def with_novelty(made: Entrant, novelty: list[float]) -> Entrant:
        return replace(made, per_user={**made.per_user, "novelty@5": [np.array(novelty)]})

    level = [0.5, 0.5, 0.5]
    rows = [
        with_novelty(entrant("teacher", None, [0, 0, 0], [1, 1, 1]), [0.0, 0.0, 0.0]),
        with_novelty(entrant("mmr", 0.1, [1, 1, 1], [0, 0, 0]), [9.0, 9.0, 9.0]),
        with_novelty(entrant("mmr", 0.2, [0.4, 0.4, 0.4], [1, 1, 1]), [1.0, 2.0, 3.0]),
        with_novelty(entrant("student", None, [0, 0, 0], [0, 2, 4]), [0.0, 2.0, 1.0]),
        replace(
            with_novelty(entrant("aligned", None, level, [1, 2, 3]), [1.0, 2.0, 3.0]),
            marks=[np.array([7, 7, 8])],
        ),
    ]
    policy, mmr = moved(rows, "goal@5", ["goal@5"])
    assert (policy["method"], policy["with"], mmr["method"], mmr["weight"], mmr["with"]) == (
        *("aligned", "student"),
        *("mmr", 0.2, "teacher"),
    )
    assert set(policy["changes"]) == {"ndcg@5", "novelty@5", "coverage", "distinct"}
    assert policy["changes"]["novelty@5"]["difference"] == 1
    assert policy["changes"]["novelty@5"]["error"] == pytest.approx(1 / np.sqrt(3))
    assert policy["changes"]["distinct"] == {"difference": pytest.approx(-1 / 3)}
    # t = 2 / (1 / sqrt 3) with 2 degrees of freedom has p = .0742; four tests
    assert mmr["changes"]["novelty@5"]["p"] == pytest.approx(4 * 0.0742, abs=1e-3)


def test_divergence_from_a_student_counted_one_by_one():
    torch.manual_seed(0)
    policy, student = (
        GPTRec(7, hidden_size=8, blocks=1, heads=2, max_length=4, max_slate=4, dropout=0.0).eval()
        for _ in range(2)
    )
    with torch.no_grad():
        for each in (policy, student):
            each.lm.transformer.wte.weight.mul_(40)
    histories, slates = (
        Sequences.from_lists([[1, 2], [3], [2, 6, 4]]),
        np.array([[3, 4], [5, 1], [1, 7]]),
    )
    kl, entropy = side_effects.divergence(policy, student, histories, slates)
    for row in range(3):
        for place in range(2):
            lists = torch.from_numpy(slates[row : row + 1, None])
            p, q = (
                each.log_distribution(histories.take([row]), lists)[0, 0, place].exp().tolist()
                for each in (policy, student)
            )
            there = [(a, b) for a, b in zip(p, q, strict=True) if a > 0]
            assert len(there) == 7 - len(histories[row]) - place
            assert kl[row, place] == pytest.approx(
                sum(a * np.log(a / b) for a, b in there), abs=1e-5
            )
            assert entropy[row, place] == pytest.approx(
                -sum(a * np.log(a) for a, _ in there), abs=1e-5
            )
    assert kl.min() > 0.01
    same, _ = side_effects.divergence(policy, policy, histories, slates)
    assert same.tolist() == [[0, 0]] * 3


def test_equal_lists_have_equal_marks():
    marks = methods._marks(np.array([[1, 2, 3], [3, 2, 1], [1, 2, 3], [1, 2, 4]]))
    assert marks[0] == marks[2]
    assert len(set(marks.tolist())) == 3
    every = np.array(np.meshgrid(*[np.arange(1, 30)] * 3)).reshape(3, -1).T
    assert len(np.unique(methods._marks(every))) == len(every)


def test_shares_hold_both_ends_and_the_reward_itself():
    assert methods.shares(1, 4.0) == methods.shares(3, 4.0) == [0, 0.5, 1]
    grid = methods.shares(21, 16.0)
    assert (len(grid), grid[0], grid[-1], max(grid[:-1])) == (21, 0, 1, 0.941176)
    assert 0.5 in grid


def curve(generator: np.random.Generator, cases: int, shift: float) -> np.ndarray:
    """(cases, 3, 2) a curve of three points, its second metric raised by a shift, with noise of its
    own."""
    points = np.array([[0.0, 2.0 + shift], [1.0, 1.0 + shift], [2.0, shift]])
    return points + generator.normal(0, 1, (cases, 3, 2))


def test_areas_of_equal_systems_differ_no_more_than_promised():
    """p below .05 in about a twentieth of comparisons of two systems that are equally good."""
    generator, low = np.random.default_rng(1), 0
    for trial in range(200):
        shared = generator.normal(0, 1, (60, 1, 2))
        methods = {
            "own": curve(generator, 60, 0) + shared,
            "other": curve(generator, 60, 0) + shared,
        }
        low += compare_fronts(methods, "own", trial, 200)[1].p < 0.05
    assert 1 <= low <= 22  # 10 expected, standard deviation 3


def test_a_better_front_is_found_to_be_better():
    generator = np.random.default_rng(2)
    methods = {
        "worse": curve(generator, 400, -0.5),
        "own": curve(generator, 400, 0),
        "same": curve(generator, 400, 0),
    }
    worse, own, same = compare_fronts(methods, "own", 0, 500)
    assert [each.method for each in (worse, own, same)] == ["worse", "own", "same"]
    assert worse.behind == pytest.approx(own.area - worse.area)
    assert worse.behind > 0.1
    assert worse.p == pytest.approx(2 * 2 / 501)  # the smallest there is, times two tests
    assert worse.behind_interval[0] > 0
    assert same.p > 0.05
    assert own.interval[0] < own.area < own.interval[1]
    assert (own.behind, own.behind_interval, own.p) == (None, None, None)


def test_differences_of_areas_are_paired():
    """Two systems that differ by the same amount for every user: whoever is drawn, the difference
    stays."""
    users = np.random.default_rng(3).normal(0, 5, (50, 1, 2))
    own, floor = np.array([[[10.0, 10.0]]]) + users, np.zeros((50, 1, 2))
    found = compare_fronts({"own": own, "less": own - [0.1, 0], "floor": floor}, "own", 0, 300)
    assert np.ptp(found[1].behind_interval) < 0.2 * np.ptp(found[0].interval)
    assert found[1].p < 0.05


def test_fronts_depend_on_the_seed_only():
    methods = {
        "own": curve(np.random.default_rng(4), 30, 0),
        "other": curve(np.random.default_rng(5), 30, 0.3),
    }
    assert compare_fronts(methods, "own", 1, 100) == compare_fronts(methods, "own", 1, 100)
    assert compare_fronts(methods, "own", 1, 100) != compare_fronts(methods, "own", 2, 100)
