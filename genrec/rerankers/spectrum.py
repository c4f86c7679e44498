"""Sliding spectrum decomposition (SSD)."""

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.metrics.context import Floats
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight

SMALLEST = 1e-6  # length below which what is left of a vector is rounding


def ssd(
    pool: Pool, k: int, weight: float, *, normalise: bool = True, window: int | None = None
) -> NDArray[np.int64]:
    """Sliding spectrum decomposition, greedily [Huang et al. 2021].

    next = argmax_c w · relevance(c) + (1 − w) · ‖r_c‖,   where r_c is the part of the candidate's
    unit vector that is orthogonal to the newest window − 1 items of the list.

    The paper's diversity is the volume that the vectors of each window span, and ‖r_c‖ is the
    factor by which c multiplies it. As in its variant SSD*, the factor stands for the volume, which
    is zero for every candidate as soon as two items of a window are alike. Items that have left the
    window no longer matter: a reader of a long feed has forgotten them. A short list is one window.

    A candidate without features (a zero vector) has ‖r_c‖ = 0, as a copy of a placed item.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 1 is Top-K, 0 uses relevance only to break ties.
        normalise: scale the relevance of each pool to [0, 1]; False uses it unscaled.
        window: number of neighbouring items that should differ, at least 1; k by default.

    Returns:
        (B, k) slates.

    Raises:
        GenrecError: if the weight is outside [0, 1], the window is below 1, or a pool holds fewer
            than k candidates.

    >>> from genrec.data import Sequences, make_catalogue
    >>> from genrec.metrics import Context
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=3)
    >>> pool = Pool(np.array([[1, 2, 3]]), np.array([[3.0, 2.0, 1.0]]), context)

    Once a is placed, b is worth w · .5 and c is worth (1 − w) · 1: c is chosen for w < 2/3.

    >>> ssd(pool, 2, weight=0.66).tolist(), ssd(pool, 2, weight=0.67).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    window = k if window is None else window
    if window < 1:
        raise GenrecError(f"window {window} of ssd is below 1: give a number of neighbouring items")

    def lists(part: Pool) -> NDArray[np.int64]:
        return _ssd(part, k, weight, normalise=normalise, window=window)

    return in_parts(pool, k, lists, items_each=2)


def _ssd(pool: Pool, k: int, weight: float, *, normalise: bool, window: int) -> NDArray[np.int64]:
    relevance = weight * relevance_of(pool, normalise)
    vectors = pool.context.catalogue.vectors[pool.items].astype(np.float64)
    squared = np.square(vectors).sum(axis=2)
    rows = np.arange(len(pool.items))
    basis: Floats = np.zeros((len(rows), 0, vectors.shape[2]))
    left = squared
    chosen = np.empty((len(rows), k), np.int64)
    free = pool.allowed
    for position in range(k):
        score = relevance + (1 - weight) * np.sqrt(np.maximum(left, 0))
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        if position + 1 < window:
            basis = _extended(basis, vectors[rows, best])
            left = left - _explained(vectors, basis[:, -1:])
        else:  # the oldest item leaves the window
            basis = basis[:, :0]
            for column in range(position + 2 - window, position + 1):
                basis = _extended(basis, vectors[rows, chosen[:, column]])
            left = squared - _explained(vectors, basis)
    return items_at(pool, chosen)


def _extended(basis: Floats, vectors: Floats) -> Floats:
    """An orthonormal basis (B, m, D) and the part of vectors (B, D) orthogonal to it, (B, m+1, D).

    What lies in the span already, up to rounding, adds a zero.
    """
    rest = vectors
    for _ in range(2):  # the second pass removes what rounding left of the first
        rest = rest - ((basis @ rest[:, :, None]).transpose(0, 2, 1) @ basis)[:, 0]
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    unit = np.where(length > SMALLEST, rest / np.maximum(length, SMALLEST), 0)
    return np.concatenate([basis, unit[:, None]], axis=1)


def _explained(vectors: Floats, basis: Floats) -> Floats:
    """(B, C) squared length of the projection of vectors (B, C, D) on a basis (B, m, D)."""
    explained: Floats = np.square(vectors @ basis.transpose(0, 2, 1)).sum(axis=2)
    return explained
