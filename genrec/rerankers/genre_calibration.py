"""Calibrated recommendations: lists with the genres of the history, in its proportions."""

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.features import history_shares, item_shares, require_features
from genrec.rerankers.pool import Pool, in_parts, items_at, relevance_of, require_weight
from genrec.rewards.genre_calibration import CandidateFeatures


def calibrate(pool: Pool, k: int, weight: float, *, normalise: bool = True) -> NDArray[np.int64]:
    """Calibrated recommendations, greedily [Steck 2018].

    next = argmax_c w · Σ_{g in placed ∪ c} relevance(g) − (1 − w) · KL(p ‖ q̃(placed ∪ c)),   where
    p is the distribution of features in the user's history and q̃ the smoothed one in the list; see
    ``GenreCalibration``, of which the second term is the value. w is 1 − λ of the paper.

    A user without known features in the history gets Top-K.

    Args:
        pool: candidates.
        k: length of the lists.
        weight: w in [0, 1]: 1 is Top-K, 0 uses relevance only to break ties.
        normalise: scale the relevance of each pool to [0, 1]; False uses it unscaled, as the paper.

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

    The history is half x, half y. Once a is placed, b is worth w · .5 − (1 − w) · 1.96 and c, which
    completes the distribution, 0: c is chosen for w < .797.

    >>> calibrate(pool, 2, weight=0.79).tolist(), calibrate(pool, 2, weight=0.8).tolist()
    ([[1, 3]], [[1, 2]])
    """
    require_weight(weight)
    require_features(pool.context.catalogue)
    return in_parts(pool, k, lambda part: _calibrate(part, k, weight, normalise), items_each=2)


def _calibrate(pool: Pool, k: int, weight: float, normalise: bool) -> NDArray[np.int64]:
    relevance = weight * relevance_of(pool, normalise)
    catalogue, own = pool.context.catalogue, history_shares(pool.context)
    candidates = CandidateFeatures(pool.items, catalogue)
    listed = np.zeros(own.shape)
    chosen = np.empty((len(pool.items), k), np.int64)
    rows, free = np.arange(len(pool.items)), pool.allowed
    for position in range(k):
        # What the placed items are worth is the same for every candidate.
        score = relevance + (1 - weight) * candidates.gains(own, listed, position)
        chosen[:, position] = best = np.where(free, score, -np.inf).argmax(axis=1)
        free[rows, best] = False
        listed += item_shares(pool.items[rows, best], catalogue)
    return items_at(pool, chosen)
