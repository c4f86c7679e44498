"""Greedy selection on any reward: by marginal gain, or by the whole list that an item leads to."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.rerankers.pool import Pool, in_parts, items_at
from genrec.rewards.contract import Reward, require_times

ROUNDING = 1e-9  # values that differ by no more than this share of their size count as equal


def greedy(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """Lists built by taking the candidate with the largest marginal gain, again and again.

    With ``Relevance`` among the terms and calibrated probabilities in the context, each step
    maximises the expected return that reinforcement learning optimises, without any training.
    Equal gains go to the candidate that comes first in the pool. A reward that is paid at the last
    position gives no signal before it; see ``with_surrogates`` and ``greedy_lookahead``.

    Args:
        pool: candidates; their relevance only says which ones may be chosen, and the context
            carries what the reward needs.
        k: length of the lists, which is also the K of the reward.
        reward: what the lists should earn.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if a pool holds fewer than k candidates, or the reward needs times that are not
            known.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.contract import FunctionReward
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> greedy(pool, 2, FunctionReward(lambda slates, context: slates % 3, "rest")).tolist()
    [[2, 1]]
    """
    require_times(reward, pool.context.of_histories)

    def lists(part: Pool) -> NDArray[np.int64]:
        return select_sequentially(
            part, k, lambda placed, free: reward.marginal(placed, part.items, part.context)
        )

    return in_parts(pool, k, lists)


def greedy_choices(
    pool: Pool, k: int, reward: Reward, *, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """The alternatives of ``greedy`` at each position of its lists, and how much worse they are.

    Args:
        pool: B pools of C candidates.
        k: length of the lists, which is also the K of the reward.
        reward: what the lists should earn.
        width: c, the number of candidates per position; at most C - k + 1, so that there are as
            many free ones.

    Returns:
        Items (B, k, c), the best free candidates of each position, the one that greedy takes
        first; and their gain deficits (B, k, c), see ``gain_deficits``.
    """
    items: list[NDArray[np.int64]] = []
    deficits: list[Floats] = []

    def value_of(placed: NDArray[np.int64], free: NDArray[np.bool_]) -> Floats:
        gains = reward.marginal(placed, pool.items, pool.context)
        masked = np.where(free, gains, -np.inf)
        best = np.argpartition(-masked, width - 1, axis=1)[:, :width]
        # argpartition leaves the best in any order: the one that greedy takes moves to the front.
        first = masked.argmax(axis=1)[:, None]
        best = np.where(best == first, best[:, :1], best)
        best[:, :1] = first
        items.append(items_at(pool, best))
        deficits.append(gain_deficits(gains, free, best))
        return gains

    select_sequentially(pool, k, value_of)
    return np.stack(items, axis=1), np.stack(deficits, axis=1)


def gain_deficits(values: Floats, free: NDArray[np.bool_], chosen: NDArray[np.int64]) -> Floats:
    """How far the values of candidates are below that of the best one, in standard deviations.

    Args:
        values: (B, C) value of each candidate.
        free: (B, C) which candidates count.
        chosen: (B, c) columns of the candidates in question, the best one first.

    Returns:
        (B, c) values of at most 0, in standard deviations of the values of all free candidates; 0
        for the first. Where all free candidates have the same value up to rounding, the first is
        the only choice and the others get -inf, as do candidates that are not free.
    """
    # Deviations make the deficits comparable between users and between positions.
    high = np.where(free, values, -np.inf).max(axis=1)
    low = np.where(free, values, np.inf).min(axis=1)
    varied = (high - low > ROUNDING * np.maximum(np.abs(high), np.abs(low)))[:, None]
    std = np.sqrt(np.var(np.where(free, values, 0), axis=1, where=free))[:, None]
    of_chosen = np.take_along_axis(values, chosen, axis=1)
    deficits = np.minimum(of_chosen - of_chosen[:, :1], 0) / np.where(varied, std, 1)
    is_choice = varied & np.take_along_axis(free, chosen, axis=1)
    deficits = np.where(is_choice, deficits, -np.inf)
    deficits[:, 0] = 0
    return deficits


def select_sequentially(
    pool: Pool, k: int, value_of: Callable[[NDArray[np.int64], NDArray[np.bool_]], Floats]
) -> NDArray[np.int64]:
    """(B, k) lists built by taking the free candidate of the largest value, again and again.

    Args:
        pool: B pools of C candidates.
        k: length of the lists.
        value_of: placed items (B, j), free candidates (B, C) -> value of each candidate (B, C).
    """
    rows = np.arange(len(pool.items))
    slates = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        best = np.where(free, value_of(slates[:, :position], free), -np.inf).argmax(axis=1)
        slates[:, position] = pool.items[rows, best]
        free[rows, best] = False
    return slates


def greedy_lookahead(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """Lists built by taking the candidate that leads to the best whole list, again and again.

    next = argmax_c R(placed, c, Top-K of the remaining candidates): a rollout of the Top-K policy
    [Bertsekas et al. 1997]. Made for rewards that are paid for whole lists: R is evaluated on whole
    lists only, and every position gets a signal. It takes k evaluations of C lists of k items per
    pool.

    Args:
        pool: candidates, most relevant first.
        k: length of the lists, which is also the K of the reward.
        reward: what the lists should earn.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if a pool holds fewer than k candidates, or the reward needs times that are not
            known.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.whole_list import terminal
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> odd = terminal(lambda slates, context: (slates % 2 == 1).all(axis=1) * 1.0, "odd")
    >>> greedy_lookahead(pool, 2, odd).tolist()
    [[3, 1]]
    """
    require_times(reward, pool.context.of_histories)

    def lists(part: Pool) -> NDArray[np.int64]:
        def value_of(placed: NDArray[np.int64], free: NDArray[np.bool_]) -> Floats:
            whole = _completed(part, placed, free, k=k)
            rows = np.repeat(np.arange(len(part.items)), part.items.shape[1])
            earned: Floats = reward(whole, part.context.take(rows)).sum(axis=1)
            return earned.reshape(part.items.shape)

        return select_sequentially(part, k, value_of)

    return in_parts(pool, k, lists, items_each=k)


def _completed(
    pool: Pool, placed: NDArray[np.int64], free: NDArray[np.bool_], *, k: int
) -> NDArray[np.int64]:
    """(B·C, k) lists: the placed items, one candidate, then the best other free candidates.

    Args:
        pool: B pools of C candidates, most relevant first.
        placed: (B, j) items placed so far.
        free: (B, C) candidates that are not placed and may be chosen.
        k: length of the lists.
    """
    lists, width = pool.items.shape
    rows, missing = np.arange(lists)[:, None, None], k - placed.shape[1] - 1
    # One free candidate more than is missing, for the tried one may be among the best.
    free_first = np.argsort(~free, axis=1, kind="stable")[:, : missing + 1]
    best_free = np.take_along_axis(pool.items, free_first, axis=1)
    rank = np.cumsum(free, axis=1) - 1
    step = np.arange(missing)
    rest = best_free[rows, step + (step >= rank[:, :, None])]
    before = np.broadcast_to(placed[:, None], (lists, width, placed.shape[1]))
    whole = np.concatenate([before, pool.items[:, :, None], rest], axis=2)
    return whole.reshape(lists * width, k)
