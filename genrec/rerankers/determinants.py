"""Greedy maximum a posteriori inference for a determinantal point process (DPP)."""

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight

RIDGE = 0.01  # ε
SMALLEST = 1e-6  # lower bound of d² against rounding; in exact arithmetic d² never falls below ε


def dpp(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    """Fast greedy MAP inference for a DPP [Chen et al. 2018, alg. 1, eq. 11].

    next = argmax_c w · relevance(c) + (1 − w) · (log det S_{Y ∪ c} − log det S_Y),   where Y are
    the items placed so far and S_ab = (1 − ε) cos(a, b) + ε [a = b].

    This selects greedily by the log determinant of the kernel L = Diag(q) S Diag(q), where
    q = exp(α · relevance) and α = w / (2 (1 − w)). The difference of log determinants is log d²_c:
    d²_c is the part of S_cc that the placed items do not explain. Placing item j appends one
    number to the Cholesky row c_c of each candidate:

    e_c = (S_jc − c_j · c_c) / d_j,   c_c ← [c_c, e_c],   d²_c ← d²_c − e_c².

    This takes O(C (D + k)) operations per position; the kernel (C, C) is never built. ε = 0.01
    keeps d² above zero where there are more items than dimensions. An item without features (a
    zero vector) has S_cc = ε, as much as a copy of a placed item has left: otherwise unlabelled
    items would look most diverse.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 1 is Top-K, 0 uses relevance only to break ties, for instance at the
            first position, where all items with features are equally diverse.
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

    Once a is placed, log d² is log(1 − .99²) = −3.92 for b and 0 for c, and their scaled relevance
    is .5 and 0. So c is chosen where (1 − w) · 3.92 > w · .5, that is for w < .887.

    >>> dpp(pool, 2, weight=0.88).tolist(), dpp(pool, 2, weight=0.89).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    return in_parts(pool, k, lambda part: _dpp(part, k, weight, normalise))


def _dpp(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = weight * relevance_of(pool, normalise)
    vectors = pool.context.catalogue.vectors[pool.items]
    rows = np.arange(len(pool.items))
    left: Floats = np.where(pool.context.catalogue.known[pool.items], 1.0, RIDGE)  # d²
    cholesky = np.zeros((*pool.items.shape, k))
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + (1 - weight) * np.log(left)
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        # One column of S and one of its Cholesky factor: the kernel itself is never built.
        cosine = (vectors @ vectors[rows, best][:, :, None])[:, :, 0]
        kernel = (1 - RIDGE) * cosine.astype(np.float64)
        placed = cholesky[rows, best, :position]
        explained = (cholesky[:, :, :position] @ placed[:, :, None])[:, :, 0]
        cholesky[:, :, position] = (kernel - explained) / np.sqrt(left[rows, best])[:, None]
        left = np.maximum(left - cholesky[:, :, position] ** 2, SMALLEST)
    return items_at(pool, chosen)
