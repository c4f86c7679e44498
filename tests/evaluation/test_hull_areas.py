"""Areas under hulls and their tests, on methods written by hand and on random curves."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.evaluation.hull_areas import compare_hull_areas, measure_hull_areas
from genrec.results import HullArea


def test_areas_by_hand(made):
    """The policy reaches goals 0 to 2, MMR 1 to 3.

    On 1 to 2 the policy's hull falls from .8 to .4 and has mean .6. MMR's is the line from (1, .6)
    to (3, 0), since (2, .1) lies below it: .6 to .3 with mean .45. At 1 SOG has .5, the policy .8.
    """
    rows = [
        made("teacher", None, [9.0, 9.0], [9.0, 9.0]),  # no curve
        made("mmr", 0.0, [1.0, 1.0], [0.6, 0.6]),
        made("mmr", 0.5, [2.0, 2.0], [0.1, 0.1]),
        made("mmr", 1.0, [3.0, 3.0], [0.0, 0.0]),
        made("sog", 0.5, [1.0, 1.0], [0.5, 0.5]),
        made("dpp", 0.0, [7.0, 7.0], [1.0, 1.0]),
        made("aligned", 0.0, [0.0, 0.0], [1.0, 0.8]),
        made("aligned", 1.0, [1.0, 1.0], [0.9, 0.7]),
        made("aligned", 2.0, [2.0, 2.0], [0.5, 0.3]),
    ]
    found = measure_hull_areas(rows, "goal@5", k=5, seed=0, resamples=400)
    assert (found.axes, found.points) == (("goal@5", "ndcg@5"), 3)
    mmr, sog, dpp = found.methods
    assert (mmr.method, mmr.points, mmr.common_range) == ("mmr", 3, (1, 2))
    assert (mmr.policy_area, mmr.area) == (pytest.approx(0.6), pytest.approx(0.45))
    assert mmr.difference == pytest.approx(0.15)
    # the one user or the other twice: the policy .7 or .5
    assert (mmr.low, mmr.high) == (pytest.approx(0.05), pytest.approx(0.25))
    assert mmr.p == pytest.approx(2 * 2 / 401)  # never below 0; times 2 tests
    assert (sog.points, sog.common_range) == (1, (1, 1))
    assert (sog.policy_area, sog.area) == (pytest.approx(0.8), pytest.approx(0.5))
    assert dpp == HullArea(method="dpp", points=1)  # beyond the policy's reach


def test_a_policy_of_one_point_is_compared_at_its_goal(made):
    rows = [
        made("mmr", 0.0, [0.0, 0.0], [1.0, 1.0]),
        made("mmr", 1.0, [4.0, 4.0], [0.0, 0.0]),
        made("aligned", None, [1.0, 1.0], [0.5, 0.5]),
    ]
    (mmr,) = measure_hull_areas(rows, "goal@5", k=5, seed=0, resamples=10).methods
    assert (mmr.common_range, mmr.policy_area, mmr.area) == ((1, 1), 0.5, 0.75)


def test_the_goal_is_reversed_where_less_is_better(made):
    def rare(method: str, weight: float, popularity: float, ndcg: float):
        return made(method, weight, [0.0, 0.0], [ndcg, ndcg], popularity=[popularity] * 2)

    rows = [
        rare("mmr", 0.0, 0.5, 1.0),
        rare("mmr", 1.0, 0.1, 0.0),
        rare("aligned", 0.0, 0.4, 0.8),
        rare("aligned", 1.0, 0.2, 0.8),
    ]
    (mmr,) = measure_hull_areas(rows, "popularity@5", k=5, seed=0, resamples=10).methods
    assert mmr.common_range == pytest.approx((0.2, 0.4))
    assert (mmr.policy_area, mmr.area) == (pytest.approx(0.8), pytest.approx(0.5))


def test_more_points_on_the_same_line_do_not_add_area():
    """A staircase has more area with more points; mixing users reaches the line between two."""
    ends, line = np.array([[0.0, 1.0], [1.0, 0.0]]), np.linspace([0.0, 1.0], [1.0, 0.0], 21)
    curves = {
        name: [np.tile(point, (3, 1, 1)) for point in points]
        for name, points in (("own", ends), ("fine", line))
    }
    (found,) = compare_hull_areas(curves, "own", seed=0, resamples=10)
    assert (found.policy_area, found.area) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.difference == pytest.approx(0)


def curve(generator: np.random.Generator, users: int, shift: float) -> list[np.ndarray]:
    """A curve of three points, its second metric raised by a shift, with noise."""
    points = [[0.0, 2.0 + shift], [1.0, 1.0 + shift], [2.0, shift]]
    return [np.array(point) + generator.normal(0, 1, (users, 1, 2)) for point in points]


def test_equal_systems_are_rarely_significantly_different():
    """p below .05 in about a twentieth of comparisons of two systems that are equally good."""
    generator, significant = np.random.default_rng(1), 0
    for trial in range(200):
        shared = generator.normal(0, 1, (60, 1, 2))
        curves = {
            name: [shared + values for values in curve(generator, 60, 0)]
            for name in ("own", "other")
        }
        (found,) = compare_hull_areas(curves, "own", seed=trial, resamples=200)
        significant += found.p < 0.05
    assert 1 <= significant <= 22  # 10 expected, standard deviation 3


def test_a_better_curve_is_found_to_be_better():
    generator = np.random.default_rng(2)
    curves = {
        "worse": curve(generator, 400, -0.5),
        "own": curve(generator, 400, 0),
        "same": curve(generator, 400, 0),
    }
    worse, same = compare_hull_areas(curves, "own", seed=0, resamples=500)
    assert [each.method for each in (worse, same)] == ["worse", "same"]
    assert worse.difference == pytest.approx(worse.policy_area - worse.area)
    assert worse.difference == pytest.approx(0.5, abs=0.3)  # three standard deviations
    assert worse.p == pytest.approx(2 * 2 / 501)  # the smallest there is, times two tests
    assert 0 < worse.low < worse.difference < worse.high
    assert same.p > 0.05
    assert same.low < 0 < same.high


def test_differences_are_paired():
    """Two systems that differ by the same amount for every user: the difference has no variance."""
    users = np.random.default_rng(3).normal(0, 5, (50, 1, 2)) * [0, 1]
    own = [np.array([[[x, 3 - x]]]) + users for x in (0.0, 2.0)]
    curves = {"own": own, "less": [values - [0, 0.25] for values in own]}
    (found,) = compare_hull_areas(curves, "own", seed=0, resamples=300)
    assert (found.low, found.difference, found.high) == pytest.approx((0.25,) * 3)


def test_intervals_depend_on_the_seed_only():
    curves = {
        "own": curve(np.random.default_rng(4), 30, 0),
        "other": curve(np.random.default_rng(5), 30, 0.3),
    }

    def found(seed: int):
        return compare_hull_areas(curves, "own", seed=seed, resamples=100)

    assert found(1) == found(1)
    assert found(1) != found(2)


def test_seeds_are_resampled_inside_the_users(made):
    """Users do not differ, so that all variance is that of two seeds, which lie .2 apart.

    Both are drawn with probability 1/2, one of them twice with 1/4 each: the difference is then 0,
    -.1 or +.1. Both points of the policy draw the same seeds.
    """
    mmr = [made("mmr", 0.0, [0.0, 0.0], [0.5, 0.5]), made("mmr", 1.0, [1.0, 1.0], [0.5, 0.5])]
    rows = list(mmr)
    for weight, goal in ((0.0, 0.0), (1.0, 1.0)):
        members = [made("aligned", weight, [goal] * 2, [ndcg] * 2) for ndcg in (0.4, 0.6)]
        mean = made("aligned", weight, [goal] * 2, [0.5, 0.5])
        rows.append(replace(mean, members=tuple(members)))
    (found,) = measure_hull_areas(rows, "goal@5", k=5, seed=0, resamples=400).methods
    assert found.difference == pytest.approx(0)
    assert (found.low, found.high) == (pytest.approx(-0.1), pytest.approx(0.1))
    alone = [replace(row, members=()) for row in rows]
    (users_only,) = measure_hull_areas(alone, "goal@5", k=5, seed=0, resamples=400).methods
    assert (users_only.low, users_only.high) == (pytest.approx(0), pytest.approx(0))


def test_resamples_in_which_the_ranges_part_count_too():
    """Ranges that touch at the mean: a resample compares the ends that face each other."""
    goal = np.array([-1.0, 1.0] * 20)
    own = [np.stack([goal, np.ones(40)], axis=1)[:, None]]
    other = [np.tile(point, (40, 1, 1)) for point in ([0.0, 0.25], [1.0, 0.0])]
    (found,) = compare_hull_areas({"own": own, "other": other}, "own", seed=0, resamples=200)
    assert found.common_range == (0, 0)
    assert found.difference == pytest.approx(0.75)
    assert found.low == pytest.approx(0.75)  # where the policy's goal is below 0
    assert 0.75 < found.high < 1
