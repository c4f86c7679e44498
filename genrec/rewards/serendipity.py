"""The reward for items that are both relevant and unexpected."""

from dataclasses import dataclass

from genrec.metrics.context import Context, Floats, Slates
from genrec.rewards.contract import Reward
from genrec.rewards.novelty import Novelty
from genrec.rewards.relevance import Relevance


@dataclass(frozen=True)
class Serendipity(Reward):
    """Relevant and unexpected items: expected profile distance [Vargas & Castells 2011].

    gain_i = P(g_i | history) / log2(i + 1) · mean_h d(g_i, h) over the items h with features in the
    history. P is the teacher's calibrated probability, which makes the item relevant, and the mean
    distance from the history makes it unexpected; see ``Relevance`` and ``Novelty``. Their product
    rewards neither an expected hit nor a distant item that the user will not like.

    The sum over a list is the expected NDCG of the list with each hit weighted by its distance from
    the history, in [0, 1]. The paper divides by the sum of the discounts, which is a constant; here
    all items of the history are equally relevant.

    >>> import numpy as np
    >>> from genrec.data import Sequences, make_catalogue
    >>> p = np.array([[0.0, 0.0, 0.6, 0.4]])
    >>> catalogue = make_catalogue(["a", "b", "c"], features={"a": ["x"], "b": ["x"], "c": ["y"]})
    >>> history = Sequences.from_lists([[1]])
    >>> context = Context(history, np.array([0]), catalogue, k=2, of_probabilities=p)
    >>> Serendipity()(np.array([[3, 2]]), context).round(4).tolist()
    [[0.4, 0.0]]
    """

    @property
    def needs(self) -> frozenset[str]:
        """The teacher's probabilities."""
        return frozenset({"probabilities"})

    def __call__(self, slates: Slates, context: Context) -> Floats:
        """Gains (n, j); see the class."""
        distance = Novelty()(slates, context) * context.k
        gains: Floats = Relevance()(slates, context) * distance
        return gains

    def marginal(self, slates: Slates, candidates: Slates, context: Context) -> Floats:
        """(n, C) gain of each candidate at position j + 1, independent of the placed items."""
        distance = Novelty().marginal(slates, candidates, context) * context.k
        gains: Floats = Relevance().marginal(slates, candidates, context) * distance
        return gains
