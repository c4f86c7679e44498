"""Area under the concave hull of the policy and of each re-ranker, on the goals that both reach."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genrec.evaluation.methods import OWN, Method
from genrec.metrics.pareto import common_range, concave_hull, direction, mean_height
from genrec.metrics.significance import bootstrap_p, holm, percentiles, resampled_means
from genrec.results import HullArea, HullAreas

Points = NDArray[np.float64]
Curve = Sequence[Points]
"""One array (N, S, 2) per point: both metrics of N users, for each of its S seeds."""


def compare_hull_areas(
    curves: Mapping[str, Curve], own: str, *, seed: int, resamples: int
) -> list[HullArea]:
    """Area under the hull of the policy and of every other method, and whether they differ.

    Users can be mixed between two weights of a method, so that it reaches every point on the upper
    concave hull of its points [Provost & Fawcett 2001]. The common range of two methods reaches
    from the larger of their lowest goals to the smaller of their highest. There both hulls are
    defined, and what is compared is their area divided by the length of the range: mean NDCG at an
    equal goal. A policy of one point has a range of length zero, and is compared at its goal.

    Users are resampled, all points of all methods together, so that the differences are paired.
    Inside each resample the seeds of a point are resampled as well; points with the same number of
    seeds draw the same ones, since the points of one run share its seed. Hulls and range are made
    anew each time; where a resample has no common range, the ends that face each other are
    compared. With S seeds the resampling has (S − 1) / S of the variance of the seeds
    [Efron & Tibshirani 1993, ch. 6]: intervals of two or three seeds are somewhat short.

    Args:
        curves: method -> its points; the first metric is the goal, and larger is better.
        own: the method that is compared with every other.
        seed: of the resampling.
        resamples: number of samples of N users.

    Returns:
        One entry per other method; intervals cover 95 %.

    >>> high, low = np.ones((4, 1, 2)), np.array([[[0.0, 0.5]], [[2.0, 0.5]]] * 2)
    >>> (found,) = compare_hull_areas({"a": [high], "b": [high * 0, low]}, "a", seed=0, resamples=9)
    >>> found.common_range, found.policy_area, found.area
    ((1.0, 1.0), 1.0, 0.5)
    """
    means = {name: _means(curve) for name, curve in curves.items()}
    samples = _resampled(curves, seed, resamples)
    own_hulls = [concave_hull(points) for points in samples[own]]
    found: list[HullArea] = []
    for name in curves:
        if name == own:
            continue
        area = _area(name, means[own], means[name])
        if area.difference is not None:
            hulls = map(concave_hull, samples[name])
            pairs = [_heights(one, other) for one, other in zip(own_hulls, hulls, strict=True)]
            differences = np.array([one - other for one, other in pairs])
            low, high = percentiles(differences)
            tested = {"low": low, "high": high, "p": bootstrap_p(differences)}
            area = area.model_copy(update=tested)
        found.append(area)
    return _corrected(found)


def _area(name: str, own: Points, other: Points) -> HullArea:
    """The areas of two sets of points (n, 2), not tested."""
    hulls = concave_hull(own), concave_hull(other)
    low, high = common_range(*hulls)
    if low > high:
        return HullArea(method=name, points=len(other))
    policy_area, area = _heights(*hulls)
    return HullArea(
        method=name,
        points=len(other),
        common_range=(low, high),
        policy_area=policy_area,
        area=area,
        difference=policy_area - area,
    )


def _heights(one: Points, other: Points) -> tuple[float, float]:
    """Mean height of two hulls on their common range."""
    low, high = common_range(one, other)
    return mean_height(one, low, high), mean_height(other, low, high)


def _means(curve: Curve) -> Points:
    """(n, 2) mean of each point over users and seeds."""
    return np.stack([values.mean(axis=(0, 1)) for values in curve])


def _resampled(
    curves: Mapping[str, Curve], seed: int, resamples: int
) -> dict[str, NDArray[np.float64]]:
    """Method -> (R, n, 2) means of its n points over resampled users and seeds."""
    points = [values for curve in curves.values() for values in curve]
    users = np.concatenate(points, axis=1)
    means = resampled_means(users.reshape(len(users), -1), seed, resamples)
    means = means.reshape(resamples, -1, 2)
    generator = np.random.default_rng([seed, 1])  # another stream than that of the users
    shares = {}
    for size in sorted({values.shape[1] for values in points}):
        times = generator.multinomial(size, np.full(size, 1 / size), size=resamples)
        shares[size] = (times / size)[..., None]
    found, start = {}, 0
    for name, curve in curves.items():
        columns = []
        for values in curve:
            size = values.shape[1]
            columns.append((shares[size] * means[:, start : start + size]).sum(axis=1))
            start += size
        found[name] = np.stack(columns, axis=1)
    return found


def _corrected(found: Sequence[HullArea]) -> list[HullArea]:
    """The areas with Holm's correction of those p-values that there are."""
    p_values = iter(holm([each.p for each in found if each.p is not None]).tolist())
    return [
        each if each.p is None else each.model_copy(update={"p": next(p_values)}) for each in found
    ]


def measure_hull_areas(
    methods: Sequence[Method], axis: str, *, k: int, seed: int, resamples: int
) -> HullAreas:
    """Area under the hull of the policy and of each re-ranker, NDCG@K against a goal.

    Baselines without a weight do not take part. See ``compare_hull_areas``.

    Args:
        methods: measured.
        axis: metric of the goal, such as "diversity@10"; where less of it is better, more of its
            negative is.
        k: list length.
        seed: of the resampling.
        resamples: number of samples of the users.

    Returns:
        One entry per re-ranker; its range is in units of the goal.
    """
    names = (axis, f"ndcg@{k}")
    rows = [method for method in methods if method.weight is not None or method.name == OWN]
    signs = [direction(name, [method.mean(name) for method in rows]) for name in names]
    curves: dict[str, list[Points]] = {}
    for method in rows:
        curves.setdefault(method.name, []).append(_larger_is_better(method, names, signs))
    found = compare_hull_areas(curves, OWN, seed=seed, resamples=resamples)
    if signs[0] < 0:
        found = [_reversed(each) for each in found]
    return HullAreas(axes=names, points=len(curves[OWN]), methods=tuple(found))


def _larger_is_better(method: Method, names: Sequence[str], signs: Sequence[int]) -> Points:
    """(N, S, 2) two metrics of each user and seed, with the sign turned where less is better."""
    of_seeds = []
    for member in method.members or (method,):
        columns = [sign * member.values(name) for name, sign in zip(names, signs, strict=True)]
        of_seeds.append(np.stack(columns, axis=1))
    return np.stack(of_seeds, axis=1).astype(np.float64)


def _reversed(area: HullArea) -> HullArea:
    """The area with its range in units of a goal of which less is better."""
    if area.common_range is None:
        return area
    low, high = area.common_range
    return area.model_copy(update={"common_range": (-high, -low)})
