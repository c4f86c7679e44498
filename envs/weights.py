"""Gains of one step, and the weights that combine them into a reward."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.envs.task import ListTask
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.check import checked
from genrec.rewards.contract import WeightedSum
from genrec.rewards.ranges import draw_weights, require_inside

Weights = Mapping[str, float | Floats]
"""Name of a reward term -> one weight for all lists, or one weight per list."""


def step_gains(
    reward: WeightedSum, slates: Slates, *, items: Slates, context: Context
) -> dict[str, Floats]:
    """Unweighted gain, by term, of placing one more item in each list.

    Args:
        reward: its terms are evaluated one by one.
        slates: (n, j) items already in the lists.
        items: (n,) items placed next.
        context: context of the n lists.

    Returns:
        Name of the term -> (n,) float64.

    Raises:
        RewardError: if a term raises, or its gain is not a finite number.
    """
    return {
        term.name: checked(term).marginal(slates, items[:, None], context)[:, 0].astype(np.float64)
        for term, _ in reward.terms
    }


def weighted_gain(gains: dict[str, Floats], weights: Weights) -> Floats:
    """(n,) weighted sum of the terms' gains (n,), where weights are numbers or (n,).

    >>> gains = {"ndcg": np.array([1.0, 0.0]), "diversity": np.array([0.5, 0.5])}
    >>> weighted_gain(gains, {"ndcg": 1.0, "diversity": np.array([0.0, 2.0])}).tolist()
    [1.0, 1.0]
    """
    weighted = [weights[name] * gain for name, gain in gains.items()]
    total: Floats = np.sum(weighted, axis=0, dtype=np.float64)
    return total


def choose_weights(
    task: ListTask,
    given: Mapping[str, Any] | None,
    *,
    count: int,
    generator: np.random.Generator,
) -> dict[str, float | Floats]:
    """Weight of every term for ``count`` histories: given, drawn from its range, or fixed.

    Args:
        task: its reward and ranges.
        given: name -> a number for all histories, or (count,); ranges that are not named are drawn.
        count: number of histories.
        generator: source of randomness.

    Returns:
        Name -> (count,) where the weight has a range, else one number.

    Raises:
        GenrecError: for a weight that has no range or lies outside it, or a wrong shape.
    """
    given = given or {}
    _require_choosable(task, given, count)
    terms = task.weighted_sum.terms
    weights: dict[str, float | Floats] = {term.name: weight for term, weight in terms}
    if task.ranges:
        # All ranges are drawn, also given ones, so that the next draws do not depend on ``given``.
        drawn = draw_weights(task.ranges, count, generator)
        for column, name in enumerate(task.ranges):
            chosen = np.broadcast_to(given.get(name, drawn[:, column]), count)
            weights[name] = chosen.astype(np.float64)
    return weights


def observed_weights(task: ListTask, weights: Weights) -> NDArray[np.float32]:
    """(H, C) the weights that have ranges, in the order of the task's ranges."""
    columns = [np.asarray(weights[name]) for name in task.ranges]
    return np.stack(columns, axis=1).astype(np.float32)


def _require_choosable(task: ListTask, given: Mapping[str, Any], count: int) -> None:
    for name, values in given.items():
        array = np.asarray(values, dtype=np.float64)
        if array.shape not in ((), (count,)):
            raise GenrecError(
                f"weights of {name} have shape {array.shape}; give a number, or {count} of them"
            )
        for value in (array.min(), array.max()):
            require_inside({name: float(value)}, task.ranges)
