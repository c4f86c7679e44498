"""Has a teacher learnt more than which items are popular?

A training can stay at the level of popularity for hundreds of epochs and then take off, or never
do: BERT4Rec with few negatives is known for it [Petrov & Macdonald 2023].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.sequences import Sequences
from genrec.data.splits import Split
from genrec.metrics.context import Floats
from genrec.metrics.ranking import evaluate
from genrec.recommender import require_unseen

ADVICE = (
    "Lower teacher.learning_rate or raise teacher.epochs; a recipe with sampled negatives may need"
    " more of them"
    " (teacher.num_negatives). If a Markov chain (--recipe markov) is no better either, the order"
    " of this log may hold"
    " nothing to learn."
)


@dataclass(frozen=True, eq=False)
class _Popular:
    """The most popular items that a user has not seen; equal counts keep the order of the items.

    Everybody has the same ranking, so that no user needs a score of every item.
    """

    counts: NDArray[np.int64]

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        num_items = len(self.counts) - 1
        require_unseen(histories, num_items, k)
        ranking = np.argsort(-self.counts[1:], kind="stable") + 1
        place = np.empty(num_items + 1, np.int64)
        place[ranking] = np.arange(num_items)
        enough = min(num_items, k + int(histories.lengths.max(initial=0)))
        rows, places = histories.rows(), place[histories.items]
        seen = np.zeros((len(histories), enough), dtype=bool)
        seen[rows[places < enough], places[places < enough]] = True
        slates: NDArray[np.int64] = ranking[np.argsort(seen, axis=1, kind="stable")[:, :k]]
        return slates


def popularity_ndcg(split: Split, k: int) -> Floats:
    """(N,) NDCG@K on the validation cases of the most popular items that a user has not seen."""
    return evaluate(_Popular(split.catalogue.counts), split.valid, split.catalogue, k=k).per_user[
        f"ndcg@{k}"
    ]


def is_above(values: Floats, popular: Floats) -> bool:
    """Whether a metric is above popularity's by more than two standard errors of the mean paired
    difference.

    Few users tell little: on them a real but small advantage is not seen, and one of many
    validations may pass by luck.

    Args:
        values: (N,) the metric of each case.
        popular: (N,) popularity's on the same cases.

    >>> is_above(np.array([0.5, 0.6, 0.4]), np.array([0.1, 0.1, 0.1]))
    True
    >>> is_above(np.array([0.5, 0.1, 0.1]), np.array([0.1, 0.1, 0.1]))
    False
    """
    difference = values - popular
    return bool(difference.mean() > 2 * difference.std() / np.sqrt(len(difference)))
