"""How much of the trade-off the policy and the curve of each re-ranker dominate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.curves import OWN
from genrec.evaluation.methods import Entrant
from genrec.metrics.pareto import box, direction, dominated_areas
from genrec.metrics.significance import bootstrap_p, holm, percentiles, resampled_means


@dataclass(frozen=True)
class Front:
    """What the points of one method dominate.

    Attributes:
        method: its name.
        points: how many it has.
        area: share of the box that they dominate, 0 to 1.
        interval: percentile interval of the area.
        behind: area of the method that all are compared with minus this one; None for that method
            itself.
        behind_interval: percentile interval of that difference.
        p: of no difference, two-sided, Holm-corrected over the methods.
    """

    method: str
    points: int
    area: float
    interval: tuple[float, float]
    behind: float | None = None
    behind_interval: tuple[float, float] | None = None
    p: float | None = None


def compare_fronts(
    methods: Mapping[str, NDArray[np.float64]], own: str, seed: int, resamples: int
) -> list[Front]:
    """The areas of all methods in one box, and whether one of them dominates more than each other.

    The box reaches from the worst to the best mean of any point on both axes. It is common to all
    methods and stays where it is while the cases are resampled, all points of all methods together,
    so that the differences are paired. A method of one point dominates a rectangle; a curve is
    favoured by its many points.

    Args:
        methods: name -> (N, n, 2) both metrics of N cases at each of its n points; larger is
            better.
        own: the method whose front is compared with every other.
        seed: of the resampling.
        resamples: number of draws of N cases.

    Returns:
        A front for each method; intervals cover 95 %.

    >>> one, two = np.ones((4, 1, 2)), np.array([[[1.0, 0.0], [0.0, 1.0]]] * 4)
    >>> [(front.method, front.area, front.behind) for front in compare_fronts({"a": one, "b": two}, "a", 0, 10)]
    [('a', 1.0, None), ('b', 0.0, 1.0)]
    """
    cases = np.concatenate(list(methods.values()), axis=1)
    low, extent = box(cases.mean(axis=0))
    drawn = resampled_means(cases.reshape(len(cases), -1), seed, resamples).reshape(
        resamples, -1, 2
    )
    ends = np.cumsum([0, *(values.shape[1] for values in methods.values())])
    fronts: dict[str, Front] = {}
    spread: dict[str, NDArray[np.float64]] = {}
    for name, start, stop in zip(methods, ends[:-1], ends[1:], strict=True):
        area = float(dominated_areas((cases[:, start:stop].mean(axis=0) - low) / extent))
        spread[name] = dominated_areas((drawn[:, start:stop] - low) / extent)
        fronts[name] = Front(name, int(stop - start), area, percentiles(spread[name]))
    others = [name for name in methods if name != own]
    p_values = holm([bootstrap_p(spread[own] - spread[name]) for name in others])
    for name, p_value in zip(others, p_values, strict=True):
        fronts[name] = replace(
            fronts[name],
            behind=fronts[own].area - fronts[name].area,
            behind_interval=percentiles(spread[own] - spread[name]),
            p=float(p_value),
        )
    return list(fronts.values())


def areas(
    entrants: Sequence[Entrant], axis: str, k: int, seed: int, resamples: int
) -> dict[str, Any]:
    """The share of the trade-off box that the policy and each re-ranker dominate: see
    ``compare_fronts``.

    Args:
        entrants: judged.
        axis: metric of the goal.
        k: list length.
        seed: of the resampling.
        resamples: of the users.

    Returns:
        ``axes``, the corners ``worst`` and ``best`` of the box (as the metrics are, not turned
        round), and ``methods``: for each its points, area with the ends of its 95 % interval, and
        how much more the policy dominates (``behind``), with interval and corrected p-value.
    """
    names = (axis, f"ndcg@{k}")
    rows = [entrant for entrant in entrants if entrant.weight is not None or entrant.method == OWN]
    signs = [direction(name, [entrant.mean(name) for entrant in rows]) for name in names]
    points = {
        method: np.stack(
            [_signed(row, names, signs) for row in rows if row.method == method], axis=1
        )
        for method in dict.fromkeys(row.method for row in rows)
    }
    low, extent = box(np.concatenate([values.mean(axis=0) for values in points.values()]))
    fronts = [
        {
            "method": front.method,
            "points": front.points,
            "area": front.area,
            "low": front.interval[0],
            "high": front.interval[1],
            "behind": front.behind,
            "behind_low": front.behind_interval and front.behind_interval[0],
            "behind_high": front.behind_interval and front.behind_interval[1],
            "p": front.p,
        }
        for front in compare_fronts(points, OWN, seed, resamples)
    ]
    worst, best = low * signs, (low + extent) * signs
    return {"axes": list(names), "worst": worst.tolist(), "best": best.tolist(), "methods": fronts}


def _signed(entrant: Entrant, names: Sequence[str], signs: Sequence[int]) -> NDArray[np.float64]:
    """(N, 2) two metrics of an entrant, turned so that more is better."""
    columns = [sign * entrant.values(name) for name, sign in zip(names, signs, strict=True)]
    return np.stack(columns, axis=1).astype(np.float64)
