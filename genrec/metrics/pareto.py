"""Trade-offs between two metrics: Pareto fronts, concave hulls, and the area under them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LOWER_IS_BETTER = ("popularity", "npcount")


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points are on the Pareto front: no other point dominates them.

    A point dominates another if it is at least as large on every axis and larger on one. Equal
    points do not dominate each other.

    Args:
        points: (n, d); larger is better on every axis.

    Returns:
        (n,) True where the point is on the front.

    >>> pareto_front([[1, 3], [2, 2], [1, 2], [3, 1]]).tolist()
    [True, True, False, True]
    """
    array = np.asarray(points, dtype=np.float64)
    # [i, j]: whether point i is at least as large as point j.
    as_large = (array[:, None, :] >= array[None, :, :]).all(axis=2)
    larger = (array[:, None, :] > array[None, :, :]).any(axis=2)
    return np.logical_not((as_large & larger).any(axis=0))


def concave_hull(points: ArrayLike) -> NDArray[np.float64]:
    """The upper concave hull of 2-D points: all that mixing two of them can reach at best.

    With probability w the one and 1 − w the other, a mix of two systems has every mean on the line
    between theirs [Provost & Fawcett 2001]. The hull reaches from the smallest to the largest x; it
    is built from left to right [Andrew 1979].

    Args:
        points: (n, 2), at least one.

    Returns:
        (m, 2) its corners, with rising x and falling slope.

    >>> concave_hull([[2, 0], [0, 2], [1, 0.5], [1, 1.5], [0, 1]]).tolist()
    [[0.0, 2.0], [1.0, 1.5], [2.0, 0.0]]
    """
    corners: list[tuple[float, float]] = []
    for x, y in sorted(map(tuple, np.asarray(points, dtype=np.float64).tolist())):
        if corners and corners[-1][0] == x:
            corners.pop()  # of points above each other the highest counts
        while len(corners) > 1 and not _is_above(corners[-1], corners[-2], (x, y)):
            corners.pop()
        corners.append((x, y))
    return np.array(corners)


def _is_above(
    middle: tuple[float, float], left: tuple[float, float], right: tuple[float, float]
) -> bool:
    """Whether a point lies above the line from one on its left to one on its right."""
    along, up = right[0] - left[0], right[1] - left[1]
    return (middle[1] - left[1]) * along > up * (middle[0] - left[0])


def common_range(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """The range of x over which two hulls (m, 2) are both defined.

    Its lower end is above its upper end where there is no such range.

    >>> common_range(concave_hull([[0, 1], [2, 1]]), concave_hull([[1, 5], [3, 1]]))
    (1.0, 2.0)
    """
    return float(max(one[0, 0], other[0, 0])), float(min(one[-1, 0], other[-1, 0]))


def mean_height(hull: NDArray[np.float64], low: float, high: float) -> float:
    """Area under a hull between two values of x, divided by their distance.

    Where they are equal it is the height of the hull there; where ``low`` is above ``high``, that
    in the middle between them. Outside its range a hull has the height of its nearer end.

    Args:
        hull: (m, 2) corners with rising x.
        low: lower value of x.
        high: upper value of x.

    >>> hull = concave_hull([[0, 2], [1, 2], [3, 0]])
    >>> mean_height(hull, 0, 3), mean_height(hull, 2, 2), mean_height(hull, 0, 1)
    (1.3333333333333333, 1.0, 2.0)
    """
    x, y = hull.T
    if low >= high:
        return float(np.interp((low + high) / 2, x, y))
    inside = x[(x > low) & (x < high)]
    places = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(places, x, y), places) / (high - low))


def direction(metric: str, values: ArrayLike) -> int:
    """+1 where larger values of a metric are better, -1 where smaller ones are.

    Smaller is better for popularity, unless its values are negative: then they are those of the
    reward ``Popularity``, which is a cost already.

    Args:
        metric: name of the metric, such as "popularity@10".
        values: its values, in any shape.

    >>> direction("popularity@10", [0.1, 0.2]), direction("popularity@10", [-0.5])
    (-1, 1)
    >>> direction("ndcg@10", [0.1])
    1
    """
    is_cost = metric.split("@")[0] in LOWER_IS_BETTER and bool((np.asarray(values) >= 0).all())
    return -1 if is_cost else 1
