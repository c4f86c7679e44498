"""The reward for items unlike what the user already knows."""

from dataclasses import dataclass

import numpy as np

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Novelty(Reward):
    """Distance from the history, also called unexpectedness.

    gain_i = 1/K · mean_h d(g_i, h) over the known items h of the history, d(a, b) = 1 − cos(a, b)
    of ``catalogue.vectors``. The sum over a list of K items is its mean distance from the user's
    past, in [0, 1] [Castells et al. 2015, user-specific unexpectedness].

    A history without known items and an item of which nothing is known (a zero vector) earn 0.

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
        """(n, C): the same at every position, whatever was placed before."""
        return _distance(candidates, context) / context.k


def _distance(items: Slates, context: Context) -> Floats:
    """(n, m) mean distance of items (n, m) from the known history items: 1 − item · mean of the
    history's vectors."""
    profiles = context.profiles
    reachable = np.asarray(profiles.any(axis=1))
    similarity = (context.catalogue.vectors[items] @ profiles[:, :, None])[:, :, 0].astype(
        np.float64
    )
    both_known = context.catalogue.known[items] & reachable[:, None]
    distance: Floats = np.maximum(both_known - similarity, 0)
    return distance
