"""NDCG of popularity, the level that a trained scorer must exceed.

A training can stay at the level of popularity for hundreds of epochs and then improve, or never
improve: BERT4Rec with few negatives is known for it [Petrov & Macdonald 2023].
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
    " more of them (teacher.negatives.count). If a Markov chain (--recipe markov) is not better"
    " either, the order of this log may hold nothing to learn."
)


@dataclass(frozen=True, eq=False)
class _MostPopular:
    """Recommends the most popular unseen items; equal counts keep the order of the items.

    All users share one ranking, so that no (B, V) scores are needed.
    """

    counts: NDArray[np.int64]

    def recommend(self, histories: Sequences, k: int) -> NDArray[np.int64]:
        num_items = len(self.counts) - 1
        require_unseen(histories, num_items, k)
        ranking = np.argsort(-self.counts[1:], kind="stable") + 1
        rank = np.empty(num_items + 1, np.int64)
        rank[ranking] = np.arange(num_items)
        # The k best unseen items of a user with n seen ones are among the k + n best of all.
        enough = min(num_items, k + int(histories.lengths.max(initial=0)))
        users, ranks = histories.rows(), rank[histories.items]
        seen = np.zeros((len(histories), enough), dtype=bool)
        seen[users[ranks < enough], ranks[ranks < enough]] = True
        slates: NDArray[np.int64] = ranking[np.argsort(seen, axis=1, kind="stable")[:, :k]]
        return slates


def popularity_ndcg(split: Split, k: int) -> Floats:
    """(N,) NDCG@K of the most popular unseen items, on the validation cases."""
    most_popular = _MostPopular(split.catalogue.counts)
    measured = evaluate(most_popular, split.valid, split.catalogue, k=k)
    return measured.per_user[f"ndcg@{k}"]


def is_above(values: Floats, popularity: Floats) -> bool:
    """Whether a metric is significantly above that of popularity: by two paired standard errors.

    mean(d) > 2·std(d)/√N, with d the paired differences. The power is low for few users, and one of
    many validations may pass by chance.

    Args:
        values: (N,) the metric of each case.
        popularity: (N,) that of popularity on the same cases.

    >>> is_above(np.array([0.5, 0.6, 0.4]), np.array([0.1, 0.1, 0.1]))
    True
    >>> is_above(np.array([0.5, 0.1, 0.1]), np.array([0.1, 0.1, 0.1]))
    False
    """
    difference = values - popularity
    return bool(difference.mean() > 2 * difference.std() / np.sqrt(len(difference)))
