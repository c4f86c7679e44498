"""What re-rankers choose from: a pool of candidates, drawn from a scorer's best items."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.metrics.context import Context, Floats, Slates
from genrec.recommender import Scorer, batches, mask_seen, require_choice, top_k

LISTS_AT_ONCE = 1024
VALUES_AT_ONCE = 2**26  # 256 MB of float32


@dataclass(frozen=True, eq=False)
class Pool:
    """What a re-ranker chooses from.

    Attributes:
        items: (B, C) distinct candidates, best first.
        relevance: (B, C) their scores or probabilities; -inf marks a candidate that may not be
            chosen.
        context: of the B lists.
    """

    items: Slates
    relevance: Floats
    context: Context

    def __post_init__(self) -> None:
        if self.items.shape != self.relevance.shape or len(self.items) != len(self.context):
            raise GenrecError(
                f"items {self.items.shape}, relevance {self.relevance.shape} and context"
                f" ({len(self.context)},)"
                " must describe the same lists"
            )

    @property
    def allowed(self) -> NDArray[np.bool_]:
        """(B, C) which candidates may be chosen."""
        flags: NDArray[np.bool_] = self.relevance > -np.inf
        return flags

    def take(self, rows: NDArray[np.integer]) -> "Pool":
        """The pools at ``rows``, repeats allowed."""
        return Pool(self.items[rows], self.relevance[rows], self.context.take(rows))

    @property
    def calibrated(self) -> "Pool":
        """The same candidates with their calibrated P(item | history) as relevance.

        Raises:
            GenrecError: if the context carries no probabilities.
        """
        chances = np.where(self.allowed, self.context.probability(self.items), -np.inf)
        return replace(self, relevance=chances)


def draw_pool(
    scorer: Scorer,
    histories: Sequences,
    catalogue: Catalogue,
    k: int,
    candidates: int = 100,
    probabilities: Callable[[Sequences], Floats] | None = None,
) -> Pool:
    """The best unseen items of a scorer, as a pool; one pool serves a whole grid of weights.

    Args:
        scorer: of the relevance.
        histories: B histories.
        catalogue: of the training events.
        k: length of the lists to come.
        candidates: C; fewer where the catalogue is smaller. A user with fewer unseen items has -inf
            in the rest.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need
            them.

    Raises:
        GenrecError: where a history leaves fewer than k items, or there are fewer candidates than k.
    """
    scores = mask_seen(scorer.score(histories), histories)
    require_choice(scores, k)
    relevance, items = top_k(scores, min(candidates, catalogue.num_items))
    chances = probabilities(histories) if probabilities else None
    context = Context(histories, np.zeros(len(histories), np.int64), catalogue, k, chances)
    pool = Pool(items.cpu().numpy(), relevance.to("cpu", torch.float32).numpy(), context)
    require_candidates(pool, k)
    return pool


@dataclass(frozen=True)
class Reranked:
    """The recommender that re-ranks a scorer's best items.

    Attributes:
        scorer: of the relevance.
        rerank: pool, k -> slates (B, k), for instance ``partial(mmr, weight=0.5)`` or
            ``partial(greedy, reward=...)``.
        catalogue: of the training events.
        candidates: C, how many items of each user are looked at.
        probabilities: histories -> (B, V+1) calibrated P(item | history), for rewards that need
            them.
        batch_size: histories at once.
    """

    scorer: Scorer
    rerank: Callable[[Pool, int], NDArray[np.int64]]
    catalogue: Catalogue
    candidates: int = 100
    probabilities: Callable[[Sequences], Floats] | None = None
    batch_size: int = 512

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        """(B, k) re-ranked lists of unseen items."""
        slates = [np.empty((0, k), np.int64)]
        for batch in batches(histories, self.batch_size):
            pool = draw_pool(
                self.scorer, batch, self.catalogue, k, self.candidates, self.probabilities
            )
            slates.append(self.rerank(pool, k))
        return np.concatenate(slates)


def require_candidates(pool: Pool, k: int) -> None:
    """Raise where a pool holds fewer than k candidates that may be chosen."""
    available = pool.allowed.sum(axis=1)
    if k < 1 or (len(available) and available.min() < k):
        fewest = available.min(initial=pool.items.shape[1])
        raise GenrecError(
            f"lists of {k} items cannot be made of pools with as few as {fewest} candidates"
        )


def require_weight(weight: float) -> None:
    """Raise for a weight outside [0, 1]."""
    if not 0 <= weight <= 1:
        raise GenrecError(f"weight {weight} is not between 0 and 1")


def relevance_of(pool: Pool, normalise: bool) -> Floats:
    """Relevance, 0 where a candidate may not be chosen, on demand scaled to [0, 1] in each pool."""
    allowed = pool.allowed
    relevance: Floats = np.where(allowed, pool.relevance, 0).astype(np.float64)
    if not normalise:
        return relevance
    low = np.where(allowed, pool.relevance, np.inf).min(axis=1, keepdims=True)
    span = pool.relevance.max(axis=1, keepdims=True) - low
    scaled: Floats = np.where(allowed, (relevance - low) / np.where(span > 0, span, 1), 0)
    return scaled


def items_at(pool: Pool, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """(B, k) the items of a pool in the columns chosen (B, k)."""
    return np.take_along_axis(pool.items, chosen, axis=1).astype(np.int64)


def in_parts(
    pool: Pool, k: int, choose: Callable[[Pool], NDArray[np.int64]], items_each: int = 1
) -> NDArray[np.int64]:
    """Slates (B, k) of a function that is given only so many pools at a time that their vectors fit
    into memory.

    Args:
        pool: B pools.
        k: length of the lists.
        choose: pools -> slates.
        items_each: items whose vectors it looks at for each candidate.
    """
    require_candidates(pool, k)
    size = lists_at_once(pool, items_each)
    if len(pool.items) <= size:
        return choose(Pool(pool.items, pool.relevance, replace(pool.context, k=k)))
    slates = np.empty((len(pool.items), k), np.int64)
    for start in range(0, len(slates), size):
        lists = np.arange(start, min(start + size, len(slates)))
        slates[lists] = choose(_part(pool, lists, k))
    return slates


def lists_at_once(pool: Pool, items_each: int) -> int:
    """How many pools may be worked on at a time, where ``items_each`` vectors are looked at for
    each candidate."""
    values: int = pool.items.shape[1] * items_each * max(1, pool.context.catalogue.vectors.shape[1])
    return max(1, min(LISTS_AT_ONCE, VALUES_AT_ONCE // values))


def _part(pool: Pool, lists: NDArray[np.int64], k: int) -> Pool:
    """Some lists of a pool with a context of their own, so that facts of histories are worked out
    for them only."""
    context, rows = pool.context, pool.context.rows[lists]
    chances = None if context.of_probabilities is None else context.of_probabilities[rows]
    own = Context(
        context.of_histories.take(rows), context.of_targets[rows], context.catalogue, k, chances
    )
    return Pool(pool.items[lists], pool.relevance[lists], own)
