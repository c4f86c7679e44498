"""Sorting by relevance minus popularity."""

import numpy as np
from numpy.typing import NDArray

from genrec.rerankers.pool import Pool, items_at, relevance_of, require_candidates, require_weight


def popularity_penalised(
    pool: Pool, k: int, weight: float, *, normalise: bool = True
) -> NDArray[np.int64]:
    """Candidates sorted by relevance minus popularity.

    score(c) = (1 − w) · relevance(c) − w · p(c) / max p,   where p(c) is the share of the training
    events that belong to item c.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 0 is Top-K, 1 the least popular candidates.
        normalise: scale the relevance of each pool to [0, 1] and p by its maximum; False uses both
            unscaled, as the greedy baseline of [Petrov 2025, ch. 8].

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1] or a pool holds fewer than k candidates.

    >>> from dataclasses import replace
    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> catalogue = replace(make_catalogue(["a", "b", "c"]), counts=np.array([0, 9, 3, 0]))
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)
    >>> popularity_penalised(pool, 2, weight=0.6).tolist()
    [[2, 3]]
    """
    require_weight(weight)
    require_candidates(pool, k)
    relevance = relevance_of(pool, normalise)
    shares = pool.context.catalogue.popularity
    # A catalogue without counts has a maximum of 0; all costs are then 0 as well.
    cost = shares[pool.items] / (shares.max() or 1.0 if normalise else 1.0)
    score = np.where(pool.allowed, (1 - weight) * relevance - weight * cost, -np.inf)
    return items_at(pool, np.argsort(-score, axis=1, kind="stable")[:, :k])
