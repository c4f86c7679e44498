"""Pools of candidates, drawn from a scorer's best items, and the recommender that re-ranks them."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.metrics.context import Context, Floats, Slates
from genrec.recommender import Scorer, batches, require_choice, top_k, unseen_scores

LISTS_AT_ONCE = 1024
VALUES_AT_ONCE = 2**26  # 256 MB of float32


@dataclass(frozen=True, eq=False)
class Pool:
    """Candidates that a re-ranker chooses from, for B lists.

    Attributes:
        items: (B, C) distinct candidates, most relevant first.
        relevance: (B, C) their scores or probabilities; -inf marks a candidate that may not be
            chosen.
        context: context of the B lists.

    Raises:
        GenrecError: if the three do not describe the same lists.
    """

    items: Slates
    relevance: Floats
    context: Context

    def __post_init__(self) -> None:
        if self.items.shape != self.relevance.shape or len(self.items) != len(self.context):
            raise GenrecError(
                f"items {self.items.shape}, relevance {self.relevance.shape} and context"
                f" ({len(self.context)},) must describe the same lists"
            )

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(B, C) which candidates may be chosen."""
        flags: NDArray[np.bool_] = self.relevance > -np.inf
        return flags

    def take(self, rows: NDArray[np.integer]) -> "Pool":
        """The pools at ``rows``; rows may repeat."""
        return Pool(self.items[rows], self.relevance[rows], self.context.take(rows))

    @property
    def calibrated(self) -> "Pool":
        """The same candidates with their calibrated P(item | history) as relevance.

        Raises:
            GenrecError: if the context carries no probabilities.
        """
        probabilities = self.context.probability(self.items)
        return replace(self, relevance=np.where(self.allowed, probabilities, -np.inf))


def draw_pool(
    scorer: Scorer,
    histories: Sequences,
    catalogue: Catalogue,
    *,
    k: int,
    candidates: int = 100,
    probabilities: Callable[[Sequences], Floats] | None = None,
) -> Pool:
    """The best unseen items of a scorer as a pool; one pool serves a whole grid of weights.

    Args:
        scorer: source of the relevance.
        histories: B histories.
        catalogue: catalogue with training counts.
        k: length of the lists that are to be chosen.
        candidates: C, the number of candidates; fewer where the catalogue is smaller. Where a user
            has fewer unseen items, the remaining columns have relevance -inf.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need
            them.

    Raises:
        GenrecError: if a history leaves fewer than k items, or there are fewer than k candidates.
    """
    scores = unseen_scores(scorer, histories)
    require_choice(scores, k)
    relevance, items = top_k(scores, min(candidates, catalogue.num_items))
    calibrated = probabilities(histories) if probabilities else None
    context = Context(
        histories,
        np.zeros(len(histories), np.int64),  # the targets are unknown
        catalogue,
        k=k,
        of_probabilities=calibrated,
    )
    pool = Pool(items.cpu().numpy(), relevance.to("cpu", torch.float32).numpy(), context)
    require_candidates(pool, k)
    return pool


@dataclass(frozen=True)
class Reranked:
    """The recommender that re-ranks a scorer's best items.

    Attributes:
        scorer: source of the relevance.
        rerank: pool, k -> slates (B, k), for instance ``partial(mmr, weight=0.5)`` or
            ``partial(greedy, reward=...)``.
        catalogue: catalogue with training counts.
        candidates: C, the number of candidates per user.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need
            them.
        batch_size: number of histories that are scored at once.
    """

    scorer: Scorer
    rerank: Callable[[Pool, int], NDArray[np.int64]]
    catalogue: Catalogue
    _: KW_ONLY
    candidates: int = 100
    probabilities: Callable[[Sequences], Floats] | None = None
    batch_size: int = 512

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) re-ranked lists of unseen items."""
        slates = [np.empty((0, k), np.int64)]
        for batch in batches(histories, self.batch_size):
            pool = draw_pool(
                self.scorer,
                batch,
                self.catalogue,
                k=k,
                candidates=self.candidates,
                probabilities=self.probabilities,
            )
            slates.append(self.rerank(pool, k))
        return np.concatenate(slates)


def require_candidates(pool: Pool, k: int) -> None:
    """Raise GenrecError where a pool holds fewer than k candidates that may be chosen."""
    available = pool.allowed.sum(axis=1)
    if k < 1 or (len(available) and available.min() < k):
        fewest = available.min(initial=pool.items.shape[1])
        raise GenrecError(
            f"lists of {k} items cannot be made of pools with as few as {fewest} candidates"
        )


def require_weight(weight: float) -> None:
    """Raise GenrecError for a weight outside [0, 1]."""
    if not 0 <= weight <= 1:
        raise GenrecError(f"weight {weight} is not between 0 and 1")


def relevance_of(pool: Pool, normalise: bool) -> Floats:
    """(B, C) relevance; 0 for candidates that may not be chosen.

    Args:
        pool: candidates.
        normalise: scale the relevance of each pool linearly to [0, 1]; a pool whose candidates are
            all equally relevant gets 0.
    """
    allowed = pool.allowed
    relevance: Floats = np.where(allowed, pool.relevance, 0).astype(np.float64)
    if not normalise:
        return relevance
    # Candidates that may not be chosen have -inf and must not determine the scale.
    low = np.where(allowed, pool.relevance, np.inf).min(axis=1, keepdims=True)
    span = pool.relevance.max(axis=1, keepdims=True) - low
    scaled: Floats = np.where(allowed, (relevance - low) / np.where(span > 0, span, 1), 0)
    return scaled


def items_at(pool: Pool, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B, k) items of a pool in the columns ``chosen`` (B, k)."""
    return np.take_along_axis(pool.items, chosen, axis=1).astype(np.int64)


def in_parts(
    pool: Pool, k: int, choose: Callable[[Pool], NDArray[np.int64]], *, items_each: int = 1
) -> NDArray[np.int64]:
    """(B, k) slates of a function that is given as many pools at a time as fit into memory.

    Args:
        pool: B pools.
        k: length of the lists.
        choose: pools -> slates.
        items_each: number of item vectors that the function reads per candidate.

    Raises:
        GenrecError: if a pool holds fewer than k candidates that may be chosen.
    """
    require_candidates(pool, k)
    size = lists_at_once(pool, items_each)
    # The whole pool needs no copy of its histories, and results derived from them stay shared.
    if len(pool.items) <= size:
        return choose(Pool(pool.items, pool.relevance, replace(pool.context, k=k)))
    slates = np.empty((len(pool.items), k), np.int64)
    for start in range(0, len(slates), size):
        lists = np.arange(start, min(start + size, len(slates)))
        slates[lists] = choose(_part(pool, lists, k))
    return slates


def lists_at_once(pool: Pool, items_each: int) -> int:
    """How many pools fit into memory where ``items_each`` item vectors are read per candidate."""
    width = max(1, pool.context.catalogue.vectors.shape[1])
    values: int = pool.items.shape[1] * items_each * width
    return max(1, min(LISTS_AT_ONCE, VALUES_AT_ONCE // values))


def _part(pool: Pool, lists: NDArray[np.int64], k: int) -> Pool:
    """Some of the pools, with a context that holds the histories of these only.

    Facts that are derived per history are then computed for this part, not for all histories.
    """
    context, rows = pool.context, pool.context.rows[lists]
    probabilities = context.of_probabilities
    own = replace(
        context,
        of_histories=context.of_histories.take(rows),
        of_targets=context.of_targets[rows],
        of_probabilities=None if probabilities is None else probabilities[rows],
        k=k,
        rows=np.arange(len(rows)),
        derived={},
    )
    return Pool(pool.items[lists], pool.relevance[lists], own)
