"""Improving whole lists: by a better order, or by exchanging items until nothing helps."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.rerankers.greedy_selection import ROUNDING
from genrec.rerankers.pool import Pool, lists_at_once
from genrec.rewards.contract import Reward


def sort_by_relevance(pool: Pool, slates: NDArray[np.int64], reward: Reward) -> NDArray[np.int64]:
    """The lists with their items in the order of the pool, wherever that earns no less.

    A goal that does not depend on the order of a list leaves the order to accuracy. Greedy
    selection does not use this freedom: it keeps the order in which the goal made it choose.

    Args:
        pool: B pools that hold the items of the lists, most relevant first.
        slates: (B, k) lists.
        reward: what the lists should earn.

    Returns:
        (B, k) the same items.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.contract import FunctionReward
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[], []]), np.array([0, 0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3], [3, 2, 1]]), np.array([[3.0, 2.0, 1.0]] * 2), context)
    >>> first = FunctionReward(lambda slates, context: slates * [1, 0], "index of the first item")
    >>> sort_by_relevance(pool, np.array([[2, 1], [2, 3]]), first).tolist()
    [[2, 1], [3, 2]]
    """
    place = (slates[:, :, None] == pool.items[:, None]).argmax(axis=2)
    ordered = np.take_along_axis(slates, np.argsort(place, axis=1, kind="stable"), axis=1)
    context = replace(pool.context, k=slates.shape[1])
    after, before = (reward(lists, context).sum(axis=1) for lists in (ordered, slates))
    # Sums of the same gains in another order differ by rounding, which must not decide.
    no_less = after >= before - ROUNDING * np.abs(before)
    return np.where(no_less[:, None], ordered, slates)


def swap_values(pool: Pool, slates: NDArray[np.int64], *, place: int, reward: Reward) -> Floats:
    """What lists would earn with each candidate at one place.

    The candidate replaces the item there; one that is already in the list swaps places with it.

    Args:
        pool: B pools of C candidates.
        slates: (B, k) whole lists.
        place: column of the lists, from 0.
        reward: what the lists should earn.

    Returns:
        (B, C) values; -inf for candidates that may not be chosen.
    """
    lists, k = slates.shape
    width = pool.items.shape[1]
    values = np.empty((lists, width))
    size = lists_at_once(pool, items_each=k)
    for start in range(0, lists, size):
        part = slice(start, min(start + size, lists))
        # One copy of the list per candidate. Where the candidate is in the list already, the item
        # that it replaces moves to its old place, so that the list keeps k distinct items.
        tried = np.repeat(slates[part, None], width, axis=1)
        tried = np.where(tried == pool.items[part, :, None], slates[part, place, None, None], tried)
        tried[:, :, place] = pool.items[part]
        rows = np.repeat(np.arange(part.start, part.stop), width)
        context = replace(pool.context, k=k).take(rows)
        values[part] = reward(tried.reshape(-1, k), context).sum(axis=1).reshape(-1, width)
    return np.where(pool.allowed, values, -np.inf)


def local_search(
    pool: Pool, slates: NDArray[np.int64], reward: Reward, *, rounds: int = 50
) -> NDArray[np.int64]:
    """The lists after local search: the best exchange of all is made until none improves a list.

    The exchanges are those of ``swap_values``. Each round takes k evaluations of C lists per list.

    Args:
        pool: B pools.
        slates: (B, k) whole lists to start from.
        reward: what the lists should earn.
        rounds: largest number of exchanges per list.

    Returns:
        (B, k) lists that earn no less.
    """
    slates = slates.copy()
    earned = reward(slates, replace(pool.context, k=slates.shape[1])).sum(axis=1)
    busy = np.arange(len(slates))  # lists that the last round improved
    for _ in range(rounds):
        if not len(busy):
            break
        part, lists = pool.take(busy), slates[busy]
        values = [
            swap_values(part, lists, place=place, reward=reward) for place in range(lists.shape[1])
        ]
        column = np.stack([each.argmax(axis=1) for each in values], axis=1)
        best = np.stack([each.max(axis=1) for each in values], axis=1)
        place = best.argmax(axis=1)
        rows = np.arange(len(busy))
        better = best[rows, place] > earned[busy] + ROUNDING * np.abs(earned[busy])
        busy, rows, place = busy[better], rows[better], place[better]
        item = part.items[rows, column[rows, place]]
        removed = slates[busy, place]
        slates[busy] = np.where(slates[busy] == item[:, None], removed[:, None], slates[busy])
        slates[busy, place] = item
        earned[busy] = best[rows, place]
    return slates
