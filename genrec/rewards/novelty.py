"""The reward for items that differ from the user's history."""

from dataclasses import dataclass

import numpy as np

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Novelty(Reward):
    """Distance from the history, also called unexpectedness.

    gain_i = 1/K · mean_h d(g_i, h) over the items h with features in the history, where
    d(a, b) = 1 − cos(a, b) of ``catalogue.vectors``. The sum over a list of K items is its mean
    distance from the history, in [0, 1] [Castells et al. 2015, user-specific unexpectedness].

    The gain is 0 for an item without features (a zero vector), and where the history has none.

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> context = Context(Sequences.from_lists([[1]]), np.array([0]), catalogue, k=2)
    >>> Novelty()(np.array([[2, 3]]), context).tolist()
    [[0.0, 0.5]]
    """

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class."""
        return _distance(slates, context) / context.k

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gain of each candidate, which is the same at every position."""
        return _distance(candidates, context) / context.k


def _distance(items: Slates, context: Context) -> Floats:
    """(n, m) mean distance of items (n, m) from the history: 1 − item · mean of its vectors."""
    profiles = context.profiles
    # A zero vector has cosine 0 with everything, which alone would be the largest distance.
    has_profile = np.asarray(profiles.any(axis=1))
    similarity = (context.catalogue.vectors[items] @ profiles[:, :, None])[:, :, 0]
    both_known = context.catalogue.known[items] & has_profile[:, None]
    distance: Floats = np.maximum(both_known - similarity.astype(np.float64), 0)
    return distance
