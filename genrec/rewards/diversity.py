"""The reward for lists of items that differ from each other."""

from dataclasses import dataclass

import numpy as np

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Diversity(Reward):
    """Intra-list distance (ILD).

    gain_i = 2 / (K(K − 1)) · Σ_{j<i} d(g_i, g_j),   where d(a, b) = 1 − cos(a, b) of
    ``catalogue.vectors``.

    The sum over a list of K items is the mean distance of its pairs, in [0, 1]; it is 0 for K = 1.
    This is twice the ILD of [Petrov 2025, p. 225], who divides by the number of ordered pairs.

    An item without features (a zero vector) is at distance 0 from every item: otherwise the most
    diverse list would be a list of unlabelled items.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=3)
    >>> Diversity()(np.array([[1, 2, 3]]), context).round(4).tolist()
    [[0.0, 0.0, 0.6667]]
    """

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class."""
        vectors = context.catalogue.vectors[slates]
        known = context.catalogue.known[slates]
        both_known = known[:, :, None] & known[:, None, :]
        # Rounding can make a cosine exceed 1; a distance is never negative.
        distances = np.maximum(both_known - vectors @ vectors.transpose(0, 2, 1), 0)
        to_earlier = np.tril(distances, k=-1).sum(axis=2, dtype=np.float64)
        gains: Floats = to_earlier * _pair_weight(context.k)
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gains in O(n·C·D).

        Σ_j d(c, g_j) = (number of placed items with features) − c · Σ_j g_j, so that no pair of
        items is evaluated by itself.
        """
        vectors, known = context.catalogue.vectors, context.catalogue.known
        placed = vectors[slates].sum(axis=1)
        count = known[slates].sum(axis=1)
        similarity = (vectors[candidates] @ placed[:, :, None])[:, :, 0]
        distances = known[candidates] * count[:, None] - similarity.astype(np.float64)
        distances = np.maximum(distances, 0)
        gains: Floats = distances * _pair_weight(context.k)
        return gains


def _pair_weight(k: int) -> float:
    return 2 / (k * (k - 1)) if k > 1 else 0.0
