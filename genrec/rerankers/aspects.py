"""Explicit query aspect diversification (xQuAD), with the features of items as aspects."""

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.features import history_shares, item_shares, require_features
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight


def xquad(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    """Explicit query aspect diversification [Santos et al. 2010], with features as aspects.

    next = argmax_c w · relevance(c) + (1 − w) · Σ_f p(f | user) p(f | c) · Π_g (1 − p(f | g))

    over the items g placed so far, where p(f | item) is 1 / (number of the item's features) for
    those that it has, and p(f | user) its mean over the history. The product is the chance that no
    placed item is about feature f yet. Features that the user has not come across count for
    nothing: the list covers the user's interests, and need not be diverse beyond them. In the
    paper p(f | user) belongs to the query, and w is 1 − λ.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 1 is Top-K, 0 uses relevance only to break ties.
        normalise: scale the relevance of each pool to [0, 1]; False uses it unscaled.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1], a pool holds fewer than k candidates, or the
            catalogue has no features.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> features = {"a": ["x"], "b": ["x"], "c": ["y"], "d": ["x"]}
    >>> catalogue = make_catalogue(["a", "b", "c", "d"], features=features)
    >>> context = Context(Sequences.from_lists([[3, 4]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)

    The history is half x, half y. Once a covers x, b is worth w · .5 and c is worth (1 − w) · .5: c
    is chosen for w < 1/2.

    >>> xquad(pool, 2, weight=0.49).tolist(), xquad(pool, 2, weight=0.51).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    require_features(pool.context.catalogue)
    return in_parts(pool, k, lambda part: _xquad(part, k, weight, normalise), items_each=2)


def _xquad(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = weight * relevance_of(pool, normalise)
    shares = item_shares(pool.items, pool.context.catalogue)
    wanted = history_shares(pool.context).copy()  # p(f | user) Π (1 − p(f | g)), (B, F)
    rows = np.arange(len(pool.items))
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + (1 - weight) * (shares @ wanted[:, :, None])[:, :, 0]
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        wanted *= 1 - shares[rows, best]
    return items_at(pool, chosen)
