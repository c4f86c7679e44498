"""Accuracy of lists, coverage, and the evaluation of a recommender on cases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.dataset import Catalogue
from genrec.data.splits import Cases
from genrec.metrics.context import Context, Floats, Gains, Slates
from genrec.recommender import Recommender


def discount(k: int) -> Floats:
    """(k,) 1 / log2(i + 1) for positions i = 1..k.

    >>> discount(3).round(3).tolist()
    [1.0, 0.631, 0.5]
    """
    return 1 / np.log2(np.arange(2, k + 2))


def hit_ranks(slates: Slates, targets: Slates) -> NDArray[np.int64]:
    """(n,) 1-based position of the target in each slate, 0 where it is missing.

    >>> hit_ranks(np.array([[7, 8, 9], [1, 2, 3]]), np.array([9, 4])).tolist()
    [3, 0]
    """
    hit = slates == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def accuracy(slates: Slates, targets: Slates) -> dict[str, Floats]:
    """NDCG@K, Recall@1, Recall@K and MRR@K of each list with its one relevant item, each (n,).

    NDCG@K = 1 / log2(rank + 1), MRR@K = 1 / rank, Recall@j = 1[rank <= j], all 0 without a hit
    [Järvelin & Kekäläinen 2002; Petrov 2025, eq. 2.7-2.8].

    >>> {name: value.round(3).tolist() for name, value in accuracy(np.array([[7, 8, 9]]), np.array([9])).items()}
    {'ndcg@3': [0.5], 'recall@1': [0.0], 'recall@3': [1.0], 'mrr@3': [0.333]}
    """
    k = slates.shape[1]
    rank = hit_ranks(slates, targets)
    safe = np.maximum(rank, 1)
    hit = rank > 0
    return {
        f"ndcg@{k}": np.where(hit, discount(k)[safe - 1], 0.0),
        "recall@1": (rank == 1).astype(np.float64),
        f"recall@{k}": hit.astype(np.float64),
        f"mrr@{k}": np.where(hit, 1 / safe, 0.0),
    }


def coverage(slates: Slates, num_items: int) -> float:
    """Share of the catalogue that appears in at least one list.

    >>> coverage(np.array([[1, 2], [2, 3]]), num_items=6)
    0.5
    """
    return len(np.unique(slates)) / num_items


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Lists for cases and what they are worth.

    Attributes:
        slates: (N, K).
        per_user: metric name -> (N,) value of each case.
        overall: metrics of all lists together, for instance coverage.
    """

    slates: NDArray[np.int64]
    per_user: Mapping[str, Floats]
    overall: Mapping[str, float]

    @property
    def means(self) -> dict[str, float]:
        """Metric name -> mean over the cases, and the overall metrics."""
        return {name: float(values.mean()) for name, values in self.per_user.items()} | dict(
            self.overall
        )


def evaluate(
    recommender: Recommender,
    cases: Cases,
    catalogue: Catalogue,
    k: int = 10,
    rewards: Mapping[str, Gains] | None = None,
) -> Evaluation:
    """Recommend for every case and measure the lists: accuracy, popularity, coverage, and each
    reward summed.

    Full catalogue, seen items filtered by the recommender, per-user values kept.
    """
    slates = recommender.recommend(cases.histories, k)
    return measure(slates, Context(cases.histories, cases.targets, catalogue, k), rewards)


def measure(
    slates: NDArray[np.int64], context: Context, rewards: Mapping[str, Gains] | None = None
) -> Evaluation:
    """Measure lists that are already there; see ``evaluate``.

    A reward whose name is that of a metric gets no column of its own: ``ndcg`` is that metric, and
    ``popularity@k`` is the mean training share of the list's items, of which the reward is a
    negative multiple.
    """
    k = slates.shape[1]
    per_user = accuracy(slates, context.targets)
    per_user[f"popularity@{k}"] = context.catalogue.popularity[slates].mean(axis=1)
    for name, gains in (rewards or {}).items():
        if f"{name}@{k}" not in per_user:
            per_user[f"{name}@{k}"] = gains(slates, context).sum(axis=1)
    return Evaluation(
        slates, per_user, {f"coverage@{k}": coverage(slates, context.catalogue.num_items)}
    )
