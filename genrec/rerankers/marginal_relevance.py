"""Maximal marginal relevance (MMR)."""

import numpy as np
from numpy.typing import NDArray

from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight


def mmr(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    """Maximal marginal relevance [Carbonell & Goldstein 1998].

    next = argmax_c λ · relevance(c) − (1 − λ) · max_{g placed} cos(c, g);   the first item is the
    most relevant one.

    A candidate without features (a zero vector) has similarity 1 with every placed item, just as
    ``Diversity`` gives it distance 0: otherwise unlabelled items would look most diverse.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: λ in [0, 1]: 1 is Top-K, 0 ignores relevance after the first item.
        normalise: scale the relevance of each pool to [0, 1], so that λ means the same for every
            scorer and user; False uses it unscaled, as [Petrov 2025, ch. 8].

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1] or a pool holds fewer than k candidates.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> mmr(pool, 2, weight=0.5).tolist(), mmr(pool, 2, weight=0.8).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    return in_parts(pool, k, lambda part: _mmr(part, k, weight, normalise))


def _mmr(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = relevance_of(pool, normalise)
    vectors = pool.context.catalogue.vectors[pool.items]
    rows = np.arange(len(pool.items))
    similarity = np.where(pool.context.catalogue.known[pool.items], 0.0, 1.0)
    chosen = np.empty((len(rows), k), np.int64)
    score = relevance  # nothing is placed yet, so that the first item is the most relevant one
    free = pool.allowed
    for position in range(k):
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        # The largest similarity with any placed item, kept up to date instead of recomputed.
        similarity = np.maximum(similarity, (vectors @ vectors[rows, best][:, :, None])[:, :, 0])
        score = weight * relevance - (1 - weight) * similarity
    return items_at(pool, chosen)
