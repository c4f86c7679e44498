"""Fronts of a trade-off between two metrics: which points are not dominated, and the area that they
dominate."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

LOWER_IS_BETTER = ("popularity", "npcount")


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other point dominates; larger is better on every axis.

    A point dominates another if it is at least as large on every axis and larger on one. Equal
    points do not dominate each other.

    Args:
        points: (n, d).

    Returns:
        (n,) True where the point is on the front.

    >>> pareto_front([[1, 3], [2, 2], [1, 2], [3, 1]]).tolist()
    [True, True, False, True]
    """
    array = np.asarray(points, dtype=np.float64)
    as_large = (array[:, None, :] >= array[None, :, :]).all(axis=2)
    larger = (array[:, None, :] > array[None, :, :]).any(axis=2)
    return np.logical_not((as_large & larger).any(axis=0))


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Area that 2-D points dominate above a reference point; larger is better on both axes [Zitzler
    & Thiele 1999].

    Args:
        points: (n, 2).
        reference: (2,) the corner that the area is measured from; points below it on an axis add
            nothing.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], reference=[0, 0])
    6.0
    """
    corner = np.asarray(reference, dtype=np.float64)
    return float(dominated_areas(np.asarray(points, dtype=np.float64).reshape(-1, 2) - corner))


def dominated_areas(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) the area above the origin of each set of points (..., n, 2)."""
    above = np.maximum(points, 0)
    order = np.argsort(-above[..., 0], axis=-1, kind="stable")
    widest_first = np.take_along_axis(above, order[..., None], axis=-2)
    height = np.maximum.accumulate(widest_first[..., 1], axis=-1)
    areas: NDArray[np.float64] = (widest_first[..., 0] * np.diff(height, axis=-1, prepend=0)).sum(
        axis=-1
    )
    return areas


def direction(metric: str, values: ArrayLike) -> int:
    """+1 where more of the metric is better, -1 for shares of popularity; negative popularity is
    already a reward.

    Args:
        metric: such as "popularity@10".
        values: of the metric, in any shape.

    >>> direction("popularity@10", [0.1, 0.2]), direction("popularity@10", [-0.5]), direction("ndcg@10", [0.1])
    (-1, 1, 1)
    """
    return (
        -1
        if metric.split("@")[0] in LOWER_IS_BETTER and bool((np.asarray(values) >= 0).all())
        else 1
    )


def box(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The worst corner (2,) of points (n, 2) and the extent (2,) up to the best, 1 along an axis
    that has none."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    return low, np.where(extent > 0, extent, 1)
