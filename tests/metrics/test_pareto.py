"""Pareto fronts, concave hulls, and the area under them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.metrics.pareto import common_range, concave_hull, mean_height, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=9)


def height_by_pairs(points: list[tuple[int, int]], x: float) -> float:
    """The highest of all mixes of two points (or one) that have this x: the hull by definition."""
    found = [-np.inf]
    for x0, y0 in points:
        for x1, y1 in points:
            if x0 == x1 == x:
                found.append(max(y0, y1))
            elif x0 <= x <= x1 and x0 < x1:
                share = (x - x0) / (x1 - x0)
                found.append((1 - share) * y0 + share * y1)
    return max(found)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0, 0]], [True]),
        ([[1, 1], [1, 1]], [True, True]),
        ([[2, 1], [1, 1], [1, 2], [0, 3], [2, 0]], [True, False, True, True, False]),
        ([[1, 1, 5], [1, 2, 4], [1, 1, 4]], [True, True, False]),
    ],
)
def test_pareto(points, expected):
    assert pareto_front(points).tolist() == expected


@pytest.mark.parametrize(
    ("points", "corners"),
    [
        ([[2, 3]], [[2, 3]]),
        ([[2, 3], [2, 3], [2, 1]], [[2, 3]]),  # above each other
        ([[0, 4], [2, 2], [4, 0]], [[0, 4], [4, 0]]),  # on a line
        ([[0, 4], [2, 1], [4, 0]], [[0, 4], [4, 0]]),  # below it
        ([[0, 4], [2, 3], [4, 0]], [[0, 4], [2, 3], [4, 0]]),  # above it
        ([[4, 0], [1, 3], [0, 0], [3, 2]], [[0, 0], [1, 3], [3, 2], [4, 0]]),  # rises, then falls
    ],
)
def test_corners_of_a_hull(points, corners):
    assert concave_hull(points).tolist() == corners


def test_the_area_under_a_hull_by_hand():
    """From (0, 4) over (2, 3) to (4, 0): 7 up to 2, and 3 after it."""
    hull = concave_hull([[0, 4], [1, 1], [2, 3], [4, 0]])
    assert mean_height(hull, 0, 4) == 10 / 4
    assert mean_height(hull, 1, 3) == ((3.5 + 3) / 2 + (3 + 1.5) / 2) / 2
    assert (mean_height(hull, 3, 3), mean_height(hull, 2, 2)) == (1.5, 3)
    assert (mean_height(hull, -1, -1), mean_height(hull, 9, 9)) == (4, 0)  # its nearer end


@given(POINTS)
def test_a_hull_is_the_best_mix_of_any_two_points(points):
    hull = concave_hull(points)
    assert {tuple(corner) for corner in hull.tolist()} <= set(points)
    assert (np.diff(hull[:, 0]) > 0).all()
    for x in np.linspace(hull[0, 0], hull[-1, 0], 13):
        assert mean_height(hull, x, x) == pytest.approx(height_by_pairs(points, x))


@given(POINTS, POINTS)
def test_the_area_on_the_common_range_is_the_sum_of_narrow_strips(one, other):
    """All corners are integers and slopes constant between them: a trapezoid of each half."""
    hulls = concave_hull(one), concave_hull(other)
    low, high = common_range(*hulls)
    xs = [{x for x, _ in points} for points in (one, other)]
    assert low == max(map(min, xs))
    assert high == min(map(max, xs))
    if low >= high:
        return
    for hull, points in zip(hulls, (one, other), strict=True):
        ends = np.arange(low, high + 0.25, 0.5)
        heights = [height_by_pairs(points, x) for x in ends]
        strips = [(a + b) / 2 * 0.5 for a, b in pairwise(heights)]
        assert mean_height(hull, low, high) == pytest.approx(sum(strips) / (high - low))


def test_a_mean_height_goes_to_the_height_as_the_range_shrinks():
    hull = concave_hull([[0, 4], [2, 3], [4, 0]])
    assert mean_height(hull, 1, 1 + 1e-9) == pytest.approx(mean_height(hull, 1, 1))
    assert mean_height(hull, 1 + 1e-9, 1) == pytest.approx(mean_height(hull, 1, 1))
