"""Greedy selection on any reward, by what an item adds or by what the list it begins is worth."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.rerankers.pool import Pool, in_parts, items_at, lists_at_once
from genrec.rewards.contract import Reward, WeightedSum, require_times

ROUNDING = 1e-9  # what lists earn is equal where it differs by no more than this share


@runtime_checkable
class HasSurrogate(Protocol):
    """A reward that says what to follow while a list is unfinished.

    A reward that is paid for whole lists (``genrec.rewards.terminal``) is zero until the last
    position, where greedy selection sees it for the first time. Where the same function means
    something for the beginning of a list, the reward offers that as its guide, ``telescoped`` for
    instance.
    """

    @property
    def surrogate(self) -> Reward:
        """What greedy selection maximises in its place; the reward is what lists are judged by."""
        ...


def with_surrogates(reward: Reward) -> Reward:
    """The reward with its guide, or the guides of its terms, in place of those that have one."""
    if isinstance(reward, WeightedSum):
        return WeightedSum(tuple((with_surrogates(term), weight) for term, weight in reward.terms))
    return reward.surrogate if isinstance(reward, HasSurrogate) else reward


def greedy(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """Repeatedly the candidate with the largest marginal gain: expected-reward greedy.

    With ``Relevance`` among the terms and calibrated probabilities in the context this maximises,
    step by step, the expected return that reinforcement learning is after, without learning. Equal
    gains go to the candidate that comes first in the pool. A reward that is paid at the end gives
    no signal before: see ``with_surrogates`` and ``greedy_lookahead``.

    Args:
        pool: candidates; their relevance only says which may be chosen, the context carries what
            the reward needs.
        k: length of the lists, also the K of the reward.
        reward: what lists should earn.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if a pool holds fewer than k candidates, or the reward needs times that are not
            known.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.contract import FunctionReward
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b", "c"]), k=2)
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
    pool: Pool, k: int, reward: Reward, width: int
) -> tuple[NDArray[np.int64], Floats]:
    """What ``greedy`` chooses from at each position of its lists: the best free candidates and
    their marginal gains.

    Args:
        pool: B pools of C candidates.
        k: length of the lists, also the K of the reward.
        reward: what lists should earn.
        width: c, the candidates wanted for each position; at most C - k + 1, so that there are as
            many.

    Returns:
        items (B, k, c), the one that greedy takes first; and how far below its gain theirs are, (B,
        k, c), in standard deviations of the gains of all free candidates: 0, or less. Where all
        gains are equal greedy has no other choice than the first in the pool, and those of the
        others are -inf.
    """
    items: list[NDArray[np.int64]] = []
    below: list[Floats] = []

    def worth(placed: NDArray[np.int64], free: NDArray[np.bool_]) -> Floats:
        gains = reward.marginal(placed, pool.items, pool.context)
        masked = np.where(free, gains, -np.inf)
        best = np.argpartition(-masked, width - 1, axis=1)[:, :width]
        first = masked.argmax(axis=1)[:, None]
        best = np.where(best == first, best[:, :1], best)
        best[:, :1] = first
        items.append(items_at(pool, best))
        below.append(gain_deficits(gains, free, best))
        return gains

    select_sequentially(pool, k, worth)
    return np.stack(items, axis=1), np.stack(below, axis=1)


def gain_deficits(worth: Floats, free: NDArray[np.bool_], chosen: NDArray[np.int64]) -> Floats:
    """How far candidates are below the first of those chosen, in standard deviations of all that
    are free.

    Args:
        worth: (B, C) of the candidates.
        free: (B, C) which of them count.
        chosen: (B, c) columns.

    Returns:
        (B, c): 0 for the first, 0 or less for the others. Where all free candidates are worth the
        same, but for rounding, there is no choice but the first: -inf for the others, and always
        for what is not free.
    """
    high, low = (
        np.where(free, worth, -np.inf).max(axis=1),
        np.where(free, worth, np.inf).min(axis=1),
    )
    varied = (high - low > ROUNDING * np.maximum(np.abs(high), np.abs(low)))[:, None]
    spread = np.where(
        varied, np.sqrt(np.var(np.where(free, worth, 0), axis=1, where=free))[:, None], 1
    )
    there = np.take_along_axis(worth, chosen, axis=1)
    below = np.minimum(there - there[:, :1], 0) / spread
    below = np.where(varied & np.take_along_axis(free, chosen, axis=1), below, -np.inf)
    below[:, 0] = 0
    return below


def select_sequentially(
    pool: Pool, k: int, worth: Callable[[NDArray[np.int64], NDArray[np.bool_]], Floats]
) -> NDArray[np.int64]:
    """(B, k) lists: at each position the free candidate of the largest worth(placed (B, j), free
    (B, C)) -> (B, C)."""
    rows = np.arange(len(pool.items))
    slates = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        best = np.where(free, worth(slates[:, :position], free), -np.inf).argmax(axis=1)
        slates[:, position] = pool.items[rows, best]
        free[rows, best] = False
    return slates


def sort_by_relevance(pool: Pool, slates: NDArray[np.int64], reward: Reward) -> NDArray[np.int64]:
    """The lists with their items as the pool orders them, best first, wherever that earns no less.

    A goal that does not care about the order of a list leaves the order to accuracy, and greedy
    selection, which places items in the order in which the goal wanted them, does not use that.

    Args:
        pool: B pools that hold the items of the lists.
        slates: (B, k) lists.
        reward: what lists should earn.

    Returns:
        (B, k) the same items.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.contract import FunctionReward
    >>> context = Context(Sequences.from_lists([[], []]), np.array([0, 0]), make_catalogue(["a", "b", "c"]), k=2)
    >>> pool = Pool(np.array([[1, 2, 3], [3, 2, 1]]), np.array([[3.0, 2.0, 1.0]] * 2), context)
    >>> falling = FunctionReward(lambda slates, context: np.where(np.arange(slates.shape[1]) == 0, slates, 0), "first")
    >>> sort_by_relevance(pool, np.array([[2, 1], [2, 3]]), falling).tolist()
    [[2, 1], [3, 2]]
    """
    place = (slates[:, :, None] == pool.items[:, None]).argmax(axis=2)
    ordered = np.take_along_axis(slates, np.argsort(place, axis=1, kind="stable"), axis=1)
    context = replace(pool.context, k=slates.shape[1])
    after, before = (reward(lists, context).sum(axis=1) for lists in (ordered, slates))
    no_less = after >= before - ROUNDING * np.abs(before)
    return np.where(no_less[:, None], ordered, slates)


def swap_values(pool: Pool, slates: NDArray[np.int64], place: int, reward: Reward) -> Floats:
    """What lists would earn with each candidate in one place; one that is in the list already
    changes places.

    Args:
        pool: B pools of C candidates.
        slates: (B, k) whole lists.
        place: column of the lists.
        reward: what lists should earn.

    Returns:
        (B, C); -inf for candidates that may not be chosen.
    """
    lists, k = slates.shape
    width = pool.items.shape[1]
    worth = np.empty((lists, width))
    size = lists_at_once(pool, items_each=k)
    for start in range(0, lists, size):
        part = slice(start, min(start + size, lists))
        tried = np.repeat(slates[part, None], width, axis=1)
        tried = np.where(tried == pool.items[part, :, None], slates[part, place, None, None], tried)
        tried[:, :, place] = pool.items[part]
        context = replace(pool.context, k=k).take(
            np.repeat(np.arange(part.start, part.stop), width)
        )
        worth[part] = reward(tried.reshape(-1, k), context).sum(axis=1).reshape(-1, width)
    return np.where(pool.allowed, worth, -np.inf)


def local_search(
    pool: Pool, slates: NDArray[np.int64], reward: Reward, rounds: int = 50
) -> NDArray[np.int64]:
    """The lists after local search: the best exchange of all, again and again, until none helps.

    An exchange is one of ``swap_values``. It takes k evaluations of C lists for each list and round.

    Args:
        pool: B pools.
        slates: (B, k) whole lists to begin with.
        reward: what lists should earn.
        rounds: most exchanges of a list.

    Returns:
        (B, k) lists that earn no less.
    """
    slates = slates.copy()
    earned = reward(slates, replace(pool.context, k=slates.shape[1])).sum(axis=1)
    busy = np.arange(len(slates))
    for _ in range(rounds):
        if not len(busy):
            break
        part, lists = pool.take(busy), slates[busy]
        places = [swap_values(part, lists, place, reward) for place in range(slates.shape[1])]
        column, best = (
            np.stack([f(worth, axis=1) for worth in places], axis=1) for f in (np.argmax, np.max)
        )
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


def greedy_lookahead(pool: Pool, k: int, reward: Reward) -> NDArray[np.int64]:
    """Repeatedly the candidate that begins the best whole list, the rest being the best free
    candidates in pool order.

    next = argmax_c R(placed, c, Top-K of the rest): a rollout of Top-K [Bertsekas et al. 1997]. For
    rewards that are paid for whole lists: R is asked about whole lists only, and every position
    gets a signal. It takes k evaluations of C lists of k items for each pool.

    Args:
        pool: candidates, best first.
        k: length of the lists, also the K of the reward.
        reward: what lists should earn.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if a pool holds fewer than k candidates, or the reward needs times that are not
            known.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> from genrec.rewards.whole_list import terminal
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), make_catalogue(["a", "b", "c"]), k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> odd = terminal(lambda slates, context: (slates % 2 == 1).all(axis=1) * 1.0, "odd")
    >>> greedy_lookahead(pool, 2, odd).tolist()
    [[3, 1]]
    """
    require_times(reward, pool.context.of_histories)

    def lists(part: Pool) -> NDArray[np.int64]:
        return select_sequentially(
            part, k, lambda placed, free: _worth(part, placed, free, k, reward)
        )

    return in_parts(pool, k, lists, items_each=k)


def _worth(
    pool: Pool, placed: NDArray[np.int64], free: NDArray[np.bool_], k: int, reward: Reward
) -> Floats:
    """(B, C) what the list is worth that goes on with each candidate and ends with the best other
    free ones."""
    lists, width = pool.items.shape
    rows, missing = np.arange(lists)[:, None, None], k - placed.shape[1] - 1
    best_free = np.take_along_axis(
        pool.items, np.argsort(~free, axis=1, kind="stable")[:, : missing + 1], axis=1
    )
    rank = np.cumsum(free, axis=1) - 1
    step = np.arange(missing)
    rest = best_free[rows, step + (step >= rank[:, :, None])]
    before = np.broadcast_to(placed[:, None], (lists, width, placed.shape[1]))
    whole = np.concatenate([before, pool.items[:, :, None], rest], axis=2).reshape(lists * width, k)
    worth: Floats = reward(whole, pool.context.take(np.repeat(np.arange(lists), width))).sum(axis=1)
    return worth.reshape(lists, width)
