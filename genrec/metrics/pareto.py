"""Trade-offs between two metrics: Pareto fronts and the area that they dominate."""

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


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Area that 2-D points dominate above a reference point [Zitzler & Thiele 1999].

    Args:
        points: (n, 2); larger is better on both axes.
        reference: (2,) the corner that the area is measured from; a point below it on either axis
            adds nothing.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], reference=[0, 0])
    6.0
    """
    corner = np.asarray(reference, dtype=np.float64)
    return float(dominated_areas(np.asarray(points, dtype=np.float64).reshape(-1, 2) - corner))


def dominated_areas(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) area that each set of points (..., n, 2) dominates above the origin.

    >>> dominated_areas(np.array([[[1.0, 3], [3, 1]], [[2, 2], [1, 1]]])).tolist()
    [5.0, 4.0]
    """
    above = np.maximum(points, 0)
    order = np.argsort(-above[..., 0], axis=-1, kind="stable")
    widest_first = np.take_along_axis(above, order[..., None], axis=-2)
    height = np.maximum.accumulate(widest_first[..., 1], axis=-1)
    # Each point adds a strip as wide as itself and as high as it exceeds the wider points.
    strips: NDArray[np.float64] = widest_first[..., 0] * np.diff(height, axis=-1, prepend=0)
    areas: NDArray[np.float64] = strips.sum(axis=-1)
    return areas


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


def box(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounding box of points (n, 2): its lower corner (2,) and its extent (2,).

    The extent is 1 along an axis on which all points are equal, so that it can be divided by.
    """
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    return low, np.where(extent > 0, extent, 1)
