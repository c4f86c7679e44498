"""How far the policy lies above the curve of each re-ranker, where the goal is equal."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from genrec.evaluation.methods import Entrant, middle
from genrec.metrics.context import Floats
from genrec.metrics.significance import bootstrap_difference, holm, paired_t

OWN = "aligned"


def curves_of(entrants: Sequence[Entrant]) -> dict[str, list[Entrant]]:
    """Method -> its entrants, for the re-rankers, which have weights."""
    names = dict.fromkeys(
        each.method for each in entrants if each.weight is not None and each.method != OWN
    )
    return {name: [entrant for entrant in entrants if entrant.method == name] for name in names}


def policy_of(entrants: Sequence[Entrant]) -> Entrant:
    """The aligned policy, at the middle one of its weights where it has several."""
    own = [entrant for entrant in entrants if entrant.method == OWN]
    weight = middle([entrant.weight for entrant in own])
    return next(entrant for entrant in own if entrant.weight == weight)


def gaps(
    entrants: Sequence[Entrant], axis: str, k: int, seed: int = 0, resamples: int = 2000
) -> list[dict[str, Any]]:
    """How far the aligned policy lies above each re-ranker's curve, at the value of the goal that
    the policy reaches.

    Between two neighbouring weights a re-ranker can be mixed: each user gets the one list or the
    other with a fixed probability, so that the expected goal is exactly the policy's. Its NDCG is
    the same mix of the two, user by user, and the difference is tested in pairs over the users
    [Student 1908], with Holm's correction over the re-rankers. Where more than one pair of
    neighbours reaches the value, the one with the best NDCG counts. A policy of many weights is
    taken at the middle one (``policy_of``); how its curve lies is what ``areas`` tells.

    Args:
        entrants: judged.
        axis: metric of the goal, such as "diversity@10".
        k: list length.
        seed: of the resampling.
        resamples: of the users.

    Returns:
        For each re-ranker: method, NDCG of the policy minus that of the mix, its standard error,
        the ends of its 95 % interval over resampled users, the corrected p-value of the t-test;
        None where no weight of the grid reaches that far.
    """
    aligned = policy_of(entrants)
    ndcg, level = aligned.values(f"ndcg@{k}"), aligned.mean(axis)
    found: list[dict[str, Any]] = []
    for method, curve in curves_of(entrants).items():
        mix = _mixed(curve, axis, level, k)
        row: dict[str, Any] = dict.fromkeys(("method", "gap", "error", "low", "high", "p"))
        found.append(row | {"method": method})
        if mix is not None:
            test, interval = paired_t(ndcg, mix), bootstrap_difference(ndcg, mix, seed, resamples)
            error = float((ndcg - mix).std(ddof=1) / np.sqrt(len(ndcg)))
            tested = {
                "gap": test.difference,
                "error": error,
                "low": interval.low,
                "high": interval.high,
            }
            found[-1] |= tested | {"p": test.p_value}
    reached = [each for each in found if each["p"] is not None]
    for each, p_value in zip(reached, holm([each["p"] for each in reached]), strict=True):
        each["p"] = float(p_value)
    return found


def gaps_along(entrants: Sequence[Entrant], axis: str, k: int) -> list[dict[str, Any]]:
    """The same differences at every weight of a policy that has several.

    Args:
        entrants: judged.
        axis: metric of the goal, such as "diversity@10".
        k: list length.

    Returns:
        For each weight and re-ranker: weight, method, NDCG of the policy minus that of the mix, and
        its standard error, over users and, where there are several, over seeds; None where no
        weight of the re-ranker reaches that far. Nothing for a policy of one weight.
    """
    own = [entrant for entrant in entrants if entrant.method == OWN]
    if len(own) < 2:
        return []
    return [
        {"weight": aligned.weight, "method": method, **_gap(aligned, curve, axis, k)}
        for aligned in own
        for method, curve in curves_of(entrants).items()
    ]


def _gap(aligned: Entrant, curve: list[Entrant], axis: str, k: int) -> dict[str, float | None]:
    ndcg = f"ndcg@{k}"
    mix = _mixed(curve, axis, aligned.mean(axis), k)
    if mix is None:
        return {"gap": None, "error": None}
    differences = (aligned.values(ndcg) - mix).astype(np.float64)
    squared = differences.var(ddof=1) / len(differences)
    mixes = [(each.mean(ndcg), _mixed(curve, axis, each.mean(axis), k)) for each in aligned.members]
    seeds = [mean - float(other.mean()) for mean, other in mixes if other is not None]
    if len(seeds) > 1:
        squared += np.var(seeds, ddof=1) / len(seeds)
    return {"gap": float(differences.mean()), "error": float(np.sqrt(squared))}


def _mixed(curve: list[Entrant], axis: str, level: float, k: int) -> Floats | None:
    """(N,) NDCG of each user under the best mix of neighbouring weights whose mean goal is
    ``level``."""
    best: Floats | None = None
    for one, other in pairwise(curve):
        low, high = one.mean(axis), other.mean(axis)
        if low == high or not min(low, high) <= level <= max(low, high):
            continue
        share = (level - low) / (high - low)
        mix: Floats = (1 - share) * one.values(f"ndcg@{k}") + share * other.values(f"ndcg@{k}")
        if best is None or mix.mean() > best.mean():
            best = mix
    return best
