"""Max-sum dispersion (MSD)."""

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight


def msd(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    """Max-sum dispersion, greedily [Gollapudi & Sharma 2009].

    next = argmax_c w · relevance(c) + (1 − w) · Σ_{g placed} d(c, g),   d(a, b) = 1 − cos(a, b);
    the first item is the most relevant one.

    MMR looks at the nearest placed item only, the sum at all of them. Since it grows with the list,
    relevance counts most at the first positions.

    A candidate without features (a zero vector) is at distance 0 from every item, as in
    ``Diversity``: otherwise unlabelled items would look most diverse.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 1 is Top-K, 0 uses relevance only to break ties, as at the first
            position.
        normalise: scale the relevance of each pool to [0, 1]; False uses it unscaled.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1] or a pool holds fewer than k candidates.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)

    Once a is placed, b is worth w · .5 and c is worth (1 − w) · 1: c is chosen for w < 2/3.

    >>> msd(pool, 2, weight=0.66).tolist(), msd(pool, 2, weight=0.67).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    return in_parts(pool, k, lambda part: _msd(part, k, weight, normalise))


def _msd(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = weight * relevance_of(pool, normalise)
    catalogue, rows = pool.context.catalogue, np.arange(len(pool.items))
    vectors, known = catalogue.vectors[pool.items], catalogue.known[pool.items]
    dispersion: Floats = np.zeros(pool.items.shape)
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + (1 - weight) * dispersion
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        cosine = (vectors @ vectors[rows, best][:, :, None])[:, :, 0]
        both_known = known & known[rows, best][:, None]
        dispersion += np.maximum(both_known - cosine.astype(np.float64), 0)
    return items_at(pool, chosen)
