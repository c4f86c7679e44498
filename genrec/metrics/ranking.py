"""Accuracy and coverage of lists, and the evaluation of a recommender on cases."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.data.dataset import Catalogue
from genrec.metrics.context import Context, Floats, Gains, Slates, require_items, require_lists
from genrec.recommender import Recommender, errors_of, is_of_the_user


def discount(k: int) -> Floats:
    """(k,) discounts 1 / log2(i + 1) of the positions i = 1..k.

    >>> discount(3).round(3).tolist()
    [1.0, 0.631, 0.5]
    """
    return 1 / np.log2(np.arange(2, k + 2))


def hit_ranks(slates: Slates, targets: Slates) -> NDArray[np.int64]:
    """(n,) 1-based position of the target in each list, 0 where it is missing.

    >>> hit_ranks(np.array([[7, 8, 9], [1, 2, 3]]), np.array([9, 4])).tolist()
    [3, 0]
    """
    hit = slates == targets[:, None]
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)


def accuracy(slates: Slates, targets: Slates) -> dict[str, Floats]:
    """NDCG@K, Recall@1, Recall@K and MRR@K of lists with one relevant item each.

    With the rank of the target, NDCG@K = 1 / log2(rank + 1), MRR@K = 1 / rank and Recall@j =
    1[rank <= j]; all are 0 where it is missing [Järvelin & Kekäläinen 2002; Petrov 2025, eq.
    2.7-2.8].

    Args:
        slates: (n, K) lists.
        targets: (n,) the relevant item of each.

    Returns:
        Metric name -> (n,) values.

    Raises:
        GenrecError: if one is no list of different items, or there is not one target for each.

    >>> found = accuracy(np.array([[7, 8, 9]]), np.array([9]))
    >>> {name: value.round(3).tolist() for name, value in found.items()}
    {'ndcg@3': [0.5], 'recall@1': [0.0], 'recall@3': [1.0], 'mrr@3': [0.333]}
    """
    require_items(slates)
    if np.shape(targets) != (len(slates),):
        raise GenrecError(
            f"targets of shape {np.shape(targets)} were given for {len(slates)} lists: give one"
            " item index for each"
        )
    return _accuracy(slates, targets)


def _accuracy(slates: Slates, targets: Slates) -> dict[str, Floats]:
    k = slates.shape[1]
    rank = hit_ranks(slates, targets)
    hit = rank > 0
    rank_or_1 = np.maximum(rank, 1)  # keeps the formulas defined where there is no hit
    return {
        f"ndcg@{k}": np.where(hit, discount(k)[rank_or_1 - 1], 0.0),
        "recall@1": (rank == 1).astype(np.float64),
        f"recall@{k}": hit.astype(np.float64),
        f"mrr@{k}": np.where(hit, 1 / rank_or_1, 0.0),
    }


def coverage(slates: Slates, num_items: int) -> float:
    """Share of the catalogue that appears in at least one list.

    Args:
        slates: (n, K) lists.
        num_items: V.

    Raises:
        GenrecError: if one is no list of different items of the catalogue.

    >>> coverage(np.array([[1, 2], [2, 3]]), num_items=6)
    0.5
    """
    require_items(slates, num_items)
    return _coverage(slates, num_items)


def _coverage(slates: Slates, num_items: int) -> float:
    return len(np.unique(slates)) / num_items


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The lists of a recommender for N cases, and their metrics.

    Attributes:
        slates: (N, K) lists.
        per_user: metric name -> (N,) value of each case.
        overall: metrics of all lists together, for instance coverage.
    """

    slates: NDArray[np.int64]
    per_user: Mapping[str, Floats]
    overall: Mapping[str, float]

    @property
    def means(self) -> dict[str, float]:
        """Metric name -> mean over the cases; the overall metrics as they are."""
        means = {name: float(values.mean()) for name, values in self.per_user.items()}
        return means | dict(self.overall)


def evaluate(
    recommender: Recommender,
    cases: Cases,
    catalogue: Catalogue,
    *,
    k: int = 10,
    rewards: Mapping[str, Gains] | None = None,
) -> Evaluation:
    """Metrics of a recommender's lists for all cases, over the whole catalogue.

    Accuracy, popularity, coverage, and the sum of each reward over a list. The recommender itself
    filters the items that a user has seen.

    Args:
        recommender: what is evaluated.
        cases: N histories and their held-out items.
        catalogue: catalogue with training counts.
        k: length of the lists.
        rewards: name -> reward, each a further metric.

    Raises:
        GenrecError: if the recommender returns anything but lists of k different items that are new
            to their users.
    """
    name = f"{type(recommender).__name__}.recommend"
    with errors_of(name) if is_of_the_user(recommender) else nullcontext():
        slates = recommender.recommend(cases.histories, k)
    if np.shape(slates) != (len(cases), k):
        raise GenrecError(
            f"{name} returned a {type(slates).__name__} of shape {np.shape(slates)}: return an"
            f" array of item indices of shape (B, k), here {(len(cases), k)}"
        )
    return measure(slates, Context(cases.histories, cases.targets, catalogue, k), rewards)


def measure(
    slates: NDArray[np.int64], context: Context, rewards: Mapping[str, Gains] | None = None
) -> Evaluation:
    """Metrics of given lists; see ``evaluate``.

    A reward that has the name of a metric is not measured again: ``ndcg`` is that metric, and
    ``popularity@k`` is the mean training share of the items in a list, of which the reward is a
    negative multiple.

    Args:
        slates: (N, k) lists.
        context: context of these lists.
        rewards: name -> reward, each a further metric.

    Raises:
        GenrecError: if one is no list of different items that are new to its user.
    """
    require_lists(slates, context)
    k = slates.shape[1]
    per_user = _accuracy(slates, context.targets)  # the lists are checked once
    per_user[f"popularity@{k}"] = context.catalogue.popularity[slates].mean(axis=1)
    for name, gains in (rewards or {}).items():
        if f"{name}@{k}" not in per_user:
            per_user[f"{name}@{k}"] = gains(slates, context).sum(axis=1)
    overall = {f"coverage@{k}": _coverage(slates, context.catalogue.num_items)}
    return Evaluation(slates, per_user, overall)
