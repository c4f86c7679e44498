"""Has a teacher learnt more than which items are popular?

A training can stay at the level of popularity for hundreds of epochs and then take off, or never do: BERT4Rec with few
negatives is known for it [Petrov & Macdonald 2023].
"""

from dataclasses import dataclass

import numpy as np
import torch

from genrec.data.sequences import Sequences
from genrec.data.splits import Split
from genrec.metrics import Floats, evaluate
from genrec.recommender import TopK

ADVICE = (
    "Lower teacher.learning_rate, raise teacher.epochs, or compare with more items (teacher.num_negatives, or"
    " teacher.negatives=catalogue). If none of it helps, the order of this log may hold nothing to learn."
)


@dataclass(frozen=True, eq=False)
class _Counts:
    """Items scored by their training events."""

    counts: torch.Tensor

    @property
    def num_items(self) -> int:
        return len(self.counts) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        return self.counts.repeat(len(histories), 1)


def popularity_ndcg(split: Split, k: int) -> Floats:
    """(N,) NDCG@K on the validation cases of the most popular items that a user has not seen."""
    counts = torch.from_numpy(split.catalogue.counts).float()
    counts[0] = -torch.inf
    return evaluate(TopK(_Counts(counts)), split.valid, split.catalogue, k).per_user[f"ndcg@{k}"]


def is_above(values: Floats, popular: Floats) -> bool:
    """Whether a metric is above popularity's by more than two standard errors of the mean paired difference.

    Few users tell little: on them a real but small advantage is not seen, and one of many validations may pass by luck.

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
