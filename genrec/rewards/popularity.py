"""The reward for items that are not popular."""

from dataclasses import dataclass

import numpy as np

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue
from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Popularity(Reward):
    """Popularity as a cost.

    gain_i = −p(g_i) / (sum of the K largest p), where p is an item's share of the training events.
    The list of the K most popular items earns −1, a list of items without training events 0; a
    positive weight makes lists less popular. This is nPCOUNT [Petrov 2025, p. 225] with the
    opposite sign, with counts of training events only, and with one reference list for all users
    instead of the most popular items that are new to each user.

    >>> from dataclasses import replace
    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = replace(make_catalogue(["a", "b", "c"]), counts=np.array([0, 6, 3, 1]))
    >>> context = Context(Sequences.from_lists([[]]), np.array([0]), catalogue, k=2)
    >>> Popularity()(np.array([[1, 3]]), context).round(4).tolist()
    [[-0.6667, -0.1111]]
    """

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class.

        Raises:
            GenrecError: if the catalogue has no training counts.
        """
        return _cost(slates, context.catalogue, context.k)

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gain of each candidate, which is the same at every position."""
        return _cost(candidates, context.catalogue, context.k)


def _cost(items: Slates, catalogue: Catalogue, k: int) -> Floats:
    shares = catalogue.popularity
    # Only the sum of the K largest is needed: a partition is linear, a sort is not.
    largest = np.partition(shares, max(0, len(shares) - k))[-k:].sum()
    if largest == 0:
        raise GenrecError(
            "the catalogue has no training counts: take the catalogue of a Split, not of the"
            " Dataset"
        )
    cost: Floats = -shares[items] / largest
    return cost
