"""Pareto fronts and the areas that they dominate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.metrics.pareto import dominated_areas, hypervolume, pareto_front


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
    ("points", "reference", "expected"),
    [
        ([[2, 3]], [0, 0], 6.0),
        ([[2, 3]], [1, 1], 2.0),
        ([[2, 3], [1, 2]], [0, 0], 6.0),  # dominated: adds nothing
        ([[1, 4], [3, 2]], [0, 0], 8.0),  # 1 x 4 and 3 x 2 overlap in 1 x 2
        ([[1, 4], [3, 2], [2, 3]], [0, 0], 9.0),
        ([[-1, 9], [9, -1]], [0, 0], 0.0),
        ([[5, 5], [-1, 9]], [0, 0], 25.0),
        (np.empty((0, 2)), [0, 0], 0.0),
    ],
)
def test_hypervolume(points, reference, expected):
    assert hypervolume(points, reference) == expected


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8))
def test_hypervolume_counts_the_dominated_unit_squares(points):
    squares = {(a, b) for x, y in points for a in range(x) for b in range(y)}
    assert hypervolume(points, [0, 0]) == len(squares)
    front = [point for point, kept in zip(points, pareto_front(points), strict=True) if kept]
    assert hypervolume(front, [0, 0]) == len(squares)


def test_areas_are_hypervolumes_of_every_set_at_once():
    sets = np.random.default_rng(0).normal(size=(5, 7, 2))
    assert dominated_areas(sets).tolist() == pytest.approx(
        [hypervolume(each, [0, 0]) for each in sets]
    )
