"""Gaps to the curves of re-rankers, on methods written by hand."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.evaluation.curves import gaps, gaps_along
from genrec.results import Gap, GapAtWeight


def test_the_gap_to_a_curve_by_hand(made):
    found = gaps(
        [
            made("teacher", None, [0, 0, 0], [1, 1, 1]),
            made("mmr", 0.0, [0, 0, 0], [1.0, 0.6, 0.2]),
            made("mmr", 1.0, [1, 1, 1], [0.2, 0.2, 0.2]),
            made("sog", 0.0, [0.1, 0.1, 0.1], [1.0, 1.0, 1.0]),
            made("sog", 1.0, [0.2, 0.2, 0.2], [1.0, 1.0, 1.0]),
            made("aligned", None, [0.1, 0.3, 0.35], [1.0, 0.5, 0.6]),  # mean goal 0.25
        ],
        "goal@5",
        k=5,
    )
    # the mix gives three quarters of the first list: 0.8, 0.5, 0.2; the differences 0.2, 0.0, 0.4
    # have standard deviation 0.2
    assert found[0].method == "mmr"
    assert found[0].difference == pytest.approx(0.2)
    assert found[0].error == pytest.approx(0.2 / np.sqrt(3))
    assert found[0].p == pytest.approx(0.2254, abs=1e-4)  # t = 1.7321 with 2 degrees of freedom
    assert found[0].low < 0.2 < found[0].high <= 0.4  # three cases, drawn three at a time
    assert found[1:] == [Gap(method="sog")]


def test_the_better_of_two_crossings_counts(made):
    found = gaps(
        [
            made("mmr", 0.0, [0, 0], [0.5, 0.5]),
            made("mmr", 0.5, [1, 1], [0.5, 0.5]),
            made("mmr", 1.0, [0, 0], [0.1, 0.1]),
            made("aligned", None, [0.5, 0.5], [0.4, 0.6]),
        ],
        "goal@5",
        k=5,
    )
    assert found[0].difference == pytest.approx(0.0)


def test_gaps_along_a_curve_count_users_and_seeds(made):
    mmr = [
        made("mmr", 0.0, [0, 0, 0], [1.0, 0.6, 0.2]),  # mean .6
        made("mmr", 1.0, [1, 1, 1], [0.2, 0.2, 0.2]),
    ]
    seeds = [
        made("aligned", 0.5, [0.25] * 3, [0.9, 0.4, 0.5]),  # mean .6, the mix has .5: +.1
        made("aligned", 0.5, [0.25] * 3, [1.1, 0.6, 0.7]),  # +.3
    ]
    both = replace(made("aligned", 0.5, [0.25] * 3, [1.0, 0.5, 0.6]), members=tuple(seeds))
    far = made("aligned", 2.0, [1.5] * 3, [0.1, 0.1, 0.1])
    near, out_of_reach = gaps_along([*mmr, both, far], "goal@5", k=5)
    users, over_seeds = (
        0.2**2 / 3,
        0.02 / 2,
    )  # differences .2, .0, .4; seeds .1 and .3, variance .02
    assert (near.weight, near.method, near.difference) == (0.5, "mmr", pytest.approx(0.2))
    assert near.error == pytest.approx(np.sqrt(users + over_seeds))
    assert out_of_reach == GapAtWeight(weight=2.0, method="mmr")
    (alone, _) = gaps_along([*mmr, seeds[0], far], "goal@5", k=5)
    assert (alone.difference, alone.error) == (pytest.approx(0.1), pytest.approx(0.2 / np.sqrt(3)))
    assert gaps_along([*mmr, seeds[0]], "goal@5", k=5) == []
