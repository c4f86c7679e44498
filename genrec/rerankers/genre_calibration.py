"""Calibrated recommendations: lists with the genres of the history, in its proportions."""

import numpy as np
from numpy.typing import NDArray

from genrec.metrics.context import Floats
from genrec.metrics.features import require_features
from genrec.rerankers.greedy_selection import select_sequentially
from genrec.rerankers.pool import Pool, in_parts, relevance_of, require_weight
from genrec.rewards.genre_calibration import GenreCalibration


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
    calibration = GenreCalibration()

    def lists(part: Pool) -> NDArray[np.int64]:
        relevance = weight * relevance_of(part, normalise)

        def value_of(placed: NDArray[np.int64], free: NDArray[np.bool_]) -> Floats:
            # What the placed items are worth is the same for every candidate.
            gain = calibration.marginal(placed, part.items, part.context)
            value: Floats = relevance + (1 - weight) * gain
            return value

        return select_sequentially(part, k, value_of)

    return in_parts(pool, k, lists, items_each=4)
