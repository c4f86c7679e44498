"""Share of the trade-off that the policy and the curve of each re-ranker dominate."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.methods import OWN, Method
from genrec.metrics.pareto import box, direction, dominated_areas
from genrec.metrics.significance import bootstrap_p, holm, percentiles, resampled_means
from genrec.results import Hypervolume, Hypervolumes


def compare_hypervolumes(
    points: Mapping[str, NDArray[np.float64]], own: str, *, seed: int, resamples: int
) -> list[Hypervolume]:
    """Hypervolumes of all methods in one box, and whether the policy's differs from each other.

    The box reaches from the worst to the best mean of any point on both axes [Zitzler & Thiele
    1999]. It is common to all methods and fixed while the users are resampled, all points of all
    methods together, so that the differences are paired. A method of one point dominates a
    rectangle; many points favour a curve.

    Args:
        points: method -> (N, n, 2) both metrics of N users at each of its n points; larger is
            better.
        own: the method that is compared with every other.
        seed: of the resampling.
        resamples: number of samples of N users.

    Returns:
        One hypervolume per method; intervals cover 95 %.

    >>> one, two = np.ones((4, 1, 2)), np.array([[[1.0, 0.0], [0.0, 1.0]]] * 4)
    >>> found = compare_hypervolumes({"a": one, "b": two}, "a", seed=0, resamples=10)
    >>> [(each.method, each.area, each.difference) for each in found]
    [('a', 1.0, None), ('b', 0.0, 1.0)]
    """
    users = np.concatenate(list(points.values()), axis=1)
    low, extent = box(users.mean(axis=0))
    # One resampling for the points of all methods keeps the differences between them paired.
    samples = resampled_means(users.reshape(len(users), -1), seed, resamples)
    samples = samples.reshape(resamples, -1, 2)
    ends = np.cumsum([0, *(values.shape[1] for values in points.values())])
    found: dict[str, Hypervolume] = {}
    resampled: dict[str, NDArray[np.float64]] = {}
    for name, start, stop in zip(points, ends[:-1], ends[1:], strict=True):
        area = float(dominated_areas((users[:, start:stop].mean(axis=0) - low) / extent))
        resampled[name] = dominated_areas((samples[:, start:stop] - low) / extent)
        lower, upper = percentiles(resampled[name])
        found[name] = Hypervolume(
            method=name, points=int(stop - start), area=area, low=lower, high=upper
        )
    others = [name for name in points if name != own]
    p_values = holm([bootstrap_p(resampled[own] - resampled[name]) for name in others])
    for name, p_value in zip(others, p_values, strict=True):
        lower, upper = percentiles(resampled[own] - resampled[name])
        tested = {
            "difference": found[own].area - found[name].area,
            "difference_low": lower,
            "difference_high": upper,
            "p": float(p_value),
        }
        found[name] = found[name].model_copy(update=tested)
    return list(found.values())


def measure_hypervolumes(
    methods: Sequence[Method], axis: str, *, k: int, seed: int, resamples: int
) -> Hypervolumes:
    """Share of the trade-off between a goal and NDCG@K that the policy and each re-ranker dominate.

    Baselines without a weight do not take part. See ``compare_hypervolumes``.

    Args:
        methods: measured.
        axis: metric of the goal, such as "diversity@10".
        k: list length.
        seed: of the resampling.
        resamples: number of samples of the users.

    Returns:
        Corners of the box in units of the metrics, and one hypervolume per method.
    """
    names = (axis, f"ndcg@{k}")
    rows = [method for method in methods if method.weight is not None or method.name == OWN]
    signs = [direction(name, [method.mean(name) for method in rows]) for name in names]
    columns: dict[str, list[NDArray[np.float64]]] = {}
    for method in rows:
        columns.setdefault(method.name, []).append(_larger_is_better(method, names, signs))
    points = {name: np.stack(each, axis=1) for name, each in columns.items()}
    low, extent = box(np.concatenate([values.mean(axis=0) for values in points.values()]))
    worst, best = (low * signs).tolist(), ((low + extent) * signs).tolist()
    found = compare_hypervolumes(points, OWN, seed=seed, resamples=resamples)
    return Hypervolumes(axes=names, worst=worst, best=best, methods=tuple(found))


def _larger_is_better(
    method: Method, names: Sequence[str], signs: Sequence[int]
) -> NDArray[np.float64]:
    """(N, 2) two metrics of each user, with the sign turned where less is better."""
    columns = [sign * method.values(name) for name, sign in zip(names, signs, strict=True)]
    return np.stack(columns, axis=1).astype(np.float64)
