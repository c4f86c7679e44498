"""Difference in NDCG between the policy and the curve of each re-ranker, at an equal goal."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from genrec.evaluation.methods import OWN, Method, curves_of, policy_of
from genrec.metrics.context import Floats
from genrec.metrics.significance import bootstrap_difference, holm, paired_t
from genrec.results import Gap, GapAtWeight


def gaps(
    methods: Sequence[Method], axis: str, *, k: int, seed: int = 0, resamples: int = 2000
) -> list[Gap]:
    """How far the aligned policy lies above each re-ranker's curve, where the goal is equal.

    Between two neighbouring weights a re-ranker can be mixed: each user gets the one list or the
    other with a fixed probability, so that the expected goal is exactly that of the policy. Its
    NDCG is the same mix of the two, user by user. The difference is tested in pairs over the users
    [Student 1908], with Holm's correction over the re-rankers. Where several pairs of neighbours
    reach the goal, the one with the best NDCG counts. A policy of several weights is taken at the
    middle one (``policy_of``); ``measure_hull_areas`` compares its whole curve.

    Args:
        methods: measured.
        axis: metric of the goal, such as "diversity@10".
        k: list length.
        seed: of the resampling.
        resamples: number of samples of the users.

    Returns:
        One gap per re-ranker; its values are None where no weight of the grid reaches the goal.
    """
    aligned = policy_of(methods)
    ndcg, level = aligned.values(f"ndcg@{k}"), aligned.mean(axis)
    found: list[Gap] = []
    for name, curve in curves_of(methods).items():
        mix = _mix_at(curve, axis, level=level, k=k)
        if mix is None:
            found.append(Gap(method=name))
            continue
        test = paired_t(ndcg, mix)
        interval = bootstrap_difference(ndcg, mix, seed=seed, resamples=resamples)
        gap = Gap(
            method=name,
            difference=test.difference,
            error=float((ndcg - mix).std(ddof=1) / np.sqrt(len(ndcg))),
            low=interval.low,
            high=interval.high,
            p=test.p_value,
        )
        found.append(gap)
    return _corrected(found)


def _corrected(found: Sequence[Gap]) -> list[Gap]:
    """The gaps with Holm's correction of those p-values that there are."""
    p_values = iter(holm([gap.p for gap in found if gap.p is not None]).tolist())
    return [gap if gap.p is None else gap.model_copy(update={"p": next(p_values)}) for gap in found]


def gaps_along(methods: Sequence[Method], axis: str, *, k: int) -> list[GapAtWeight]:
    """The same differences at every weight of a policy of several; empty for one weight.

    Args:
        methods: measured.
        axis: metric of the goal, such as "diversity@10".
        k: list length.

    Returns:
        One gap per weight and re-ranker. Its standard error counts users and, where there are
        several, seeds.
    """
    own = [method for method in methods if method.name == OWN]
    if len(own) < 2:
        return []
    return [
        _gap_at(aligned, curve, axis, k=k)
        for aligned in own
        for curve in curves_of(methods).values()
    ]


def _gap_at(aligned: Method, curve: Sequence[Method], axis: str, *, k: int) -> GapAtWeight:
    """Gap of one weight; its error is √(s_users² / N + s_seeds² / S)."""
    ndcg, gap = f"ndcg@{k}", GapAtWeight(weight=aligned.weight, method=curve[0].name)
    mix = _mix_at(curve, axis, level=aligned.mean(axis), k=k)
    if mix is None:
        return gap
    differences = (aligned.values(ndcg) - mix).astype(np.float64)
    squared = differences.var(ddof=1) / len(differences)
    # Each seed is mixed at a goal of its own: seeds differ in the goal as well as in NDCG.
    seeds = []
    for member in aligned.members:
        other = _mix_at(curve, axis, level=member.mean(axis), k=k)
        if other is not None:
            seeds.append(member.mean(ndcg) - float(other.mean()))
    if len(seeds) > 1:
        squared += np.var(seeds, ddof=1) / len(seeds)
    update = {"difference": float(differences.mean()), "error": float(np.sqrt(squared))}
    return gap.model_copy(update=update)


def _mix_at(curve: Sequence[Method], axis: str, *, level: float, k: int) -> Floats | None:
    """(N,) NDCG of each user under the best mix of neighbouring weights with that mean goal.

    None where no two neighbours enclose the level.
    """
    best: Floats | None = None
    for one, other in pairwise(curve):
        low, high = one.mean(axis), other.mean(axis)
        # Where both ends are equal, no share of the mix moves the goal.
        if low == high or not min(low, high) <= level <= max(low, high):
            continue
        share = (level - low) / (high - low)
        mix: Floats = (1 - share) * one.values(f"ndcg@{k}") + share * other.values(f"ndcg@{k}")
        if best is None or mix.mean() > best.mean():
            best = mix
    return best
