"""The reward for items to which a calibrated teacher gives a high probability."""

from dataclasses import dataclass

from genrec.metrics.context import Context, Floats, Slates
from genrec.metrics.ranking import discount
from genrec.rewards.contract import Reward


@dataclass(frozen=True)
class Relevance(Reward):
    """Expected NDCG under the teacher: a dense accuracy reward.

    gain_i = P(g_i | history) / log2(i + 1). If the teacher's probabilities are right, the sum over
    a list of K items is the expectation of NDCG@K. Unlike NDCG itself, every position of every list
    earns something. The probabilities must be calibrated (``genrec.metrics.calibration``): the raw
    scores of most teachers are far from probabilities.

    >>> import numpy as np
    >>> from genrec.data import Sequences, make_catalogue
    >>> p = np.array([[0.0, 0.5, 0.3, 0.2]])
    >>> catalogue = make_catalogue(["a", "b", "c"])
    >>> empty = Sequences.from_lists([[]])
    >>> context = Context(empty, np.array([0]), catalogue, k=2, of_probabilities=p)
    >>> Relevance()(np.array([[1, 2]]), context).round(4).tolist()
    [[0.5, 0.1893]]
    """

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's probabilities."""
        return frozenset({"probabilities"})

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class."""
        gains: Floats = context.probability(slates) * discount(slates.shape[1])
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) probability of each candidate, discounted for position j + 1."""
        gains: Floats = context.probability(candidates) * discount(slates.shape[1] + 1)[-1]
        return gains
