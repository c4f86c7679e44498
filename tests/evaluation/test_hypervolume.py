"""Hypervolumes and their tests, on methods written by hand and on random curves."""

import numpy as np
import pytest

from genrec.evaluation.hypervolume import compare_hypervolumes, measure_hypervolumes


def test_hypervolumes_by_hand(made):
    rows = [
        made("teacher", None, [0.0, 0.0], [9.0, 9.0]),  # no curve: not in the box
        made("mmr", 0.0, [0.0, 0.0], [1.0, 1.0]),
        made("mmr", 1.0, [1.0, 1.0], [0.0, 0.0]),
        made("sog", 0.0, [0.25, 0.25], [0.5, 0.5]),
        made("aligned", None, [0.5, 0.5], [0.5, 1.0]),
    ]
    found = measure_hypervolumes(rows, "goal@5", k=5, seed=0, resamples=200)
    assert (found.axes, found.worst, found.best) == (("goal@5", "ndcg@5"), (0, 0), (1, 1))
    mmr, sog, own = found.methods
    assert (mmr.method, mmr.points, mmr.area, mmr.low, mmr.high) == ("mmr", 2, 0, 0, 0)
    assert (sog.area, own.area) == (0.125, 0.375)  # .25 x .5 and .5 x .75
    assert (own.low, own.high) == (0.25, 0.5)  # the one user or the other twice
    assert (sog.difference, sog.difference_low, sog.difference_high) == (0.25, 0.125, 0.375)
    assert own.difference is own.p is None
    assert sog.p == pytest.approx(2 * 2 / 201)  # never below 0; times 2 tests


def test_the_box_is_reversed_where_less_is_better(made):
    def rare(method: str, weight: float | None, popularity: float, ndcg: float):
        return made(method, weight, [0.0, 0.0], [ndcg, ndcg], popularity=[popularity] * 2)

    rows = [rare("mmr", 0.0, 0.4, 1.0), rare("mmr", 1.0, 0.1, 0.0), rare("aligned", None, 0.2, 0.5)]
    found = measure_hypervolumes(rows, "popularity@5", k=5, seed=0, resamples=10)
    assert found.worst == pytest.approx([0.4, 0])
    assert found.best == pytest.approx([0.1, 1])
    assert [each.area for each in found.methods] == pytest.approx([0, 0.2 / 0.3 * 0.5])


def curve(generator: np.random.Generator, users: int, shift: float) -> np.ndarray:
    """(users, 3, 2) a curve of three points, its second metric raised by a shift, with noise."""
    points = np.array([[0.0, 2.0 + shift], [1.0, 1.0 + shift], [2.0, shift]])
    return points + generator.normal(0, 1, (users, 3, 2))


def test_equal_systems_are_rarely_significantly_different():
    """p below .05 in about a twentieth of comparisons of two systems that are equally good."""
    generator, significant = np.random.default_rng(1), 0
    for trial in range(200):
        shared = generator.normal(0, 1, (60, 1, 2))
        points = {
            "own": curve(generator, 60, 0) + shared,
            "other": curve(generator, 60, 0) + shared,
        }
        found = compare_hypervolumes(points, "own", seed=trial, resamples=200)
        significant += found[1].p < 0.05
    assert 1 <= significant <= 22  # 10 expected, standard deviation 3


def test_a_better_curve_is_found_to_be_better():
    generator = np.random.default_rng(2)
    points = {
        "worse": curve(generator, 400, -0.5),
        "own": curve(generator, 400, 0),
        "same": curve(generator, 400, 0),
    }
    worse, own, same = compare_hypervolumes(points, "own", seed=0, resamples=500)
    assert [each.method for each in (worse, own, same)] == ["worse", "own", "same"]
    assert worse.difference == pytest.approx(own.area - worse.area)
    assert worse.difference > 0.1
    assert worse.p == pytest.approx(2 * 2 / 501)  # the smallest there is, times two tests
    assert worse.difference_low > 0
    assert same.p > 0.05
    assert own.low < own.area < own.high
    assert (own.difference, own.difference_low, own.difference_high, own.p) == (None,) * 4


def test_differences_of_hypervolumes_are_paired():
    """Two systems that differ by the same amount for every user: the difference has no variance."""
    users = np.random.default_rng(3).normal(0, 5, (50, 1, 2))
    own, floor = np.array([[[10.0, 10.0]]]) + users, np.zeros((50, 1, 2))
    points = {"own": own, "less": own - [0.1, 0], "floor": floor}
    found = compare_hypervolumes(points, "own", seed=0, resamples=300)
    paired = found[1].difference_high - found[1].difference_low
    assert paired < 0.2 * (found[0].high - found[0].low)
    assert found[1].p < 0.05


def test_intervals_depend_on_the_seed_only():
    points = {
        "own": curve(np.random.default_rng(4), 30, 0),
        "other": curve(np.random.default_rng(5), 30, 0.3),
    }

    def found(seed: int):
        return compare_hypervolumes(points, "own", seed=seed, resamples=100)

    assert found(1) == found(1)
    assert found(1) != found(2)
