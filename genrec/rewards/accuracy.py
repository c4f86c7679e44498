"""The reward for recommending the held-out item."""

from dataclasses import dataclass

import numpy as np

from genrec.metrics.context import Context, Floats, Slates
from genrec.metrics.ranking import discount
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Ndcg(Reward):
    """NDCG with one relevant item: a sparse, exact accuracy reward.

    gain_i = 1[g_i = y] / log2(i + 1), where y is the held-out item; an unknown one (0) earns
    nothing. The sum over a list of K items is NDCG@K [Järvelin & Kekäläinen 2002; Petrov 2025, p.
    225].

    >>> from genrec.data import Sequences, make_catalogue
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> context = Context(Sequences.from_lists([[3]]), np.array([2]), catalogue, k=2)
    >>> Ndcg()(np.array([[1, 2]]), context).round(4).tolist()
    [[0.0, 0.6309]]
    """

    @property
    def needs(self) -> frozenset[str]:
        """The held-out items."""
        return frozenset({"targets"})

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class."""
        gains: Floats = _hits(slates, context) * discount(slates.shape[1])
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gain of each candidate at position j + 1, independent of the placed items."""
        gains: Floats = _hits(candidates, context) * discount(slates.shape[1] + 1)[-1]
        return gains


def _hits(items: Slates, context: Context) -> Floats:
    targets = context.targets[:, None]
    # An unknown target is 0, like PAD: without the second condition padding would be a hit.
    return np.where((items == targets) & (targets != 0), 1.0, 0.0)
