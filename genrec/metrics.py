"""What a list is worth: its context, the accuracy metrics, and the evaluation of a recommender on cases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.data.dataset import Catalogue
from genrec.data.sequences import Sequences
from genrec.data.splits import Cases
from genrec.recommender import Recommender

Floats = NDArray[np.floating[Any]]
Slates = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Context:
    """What n lists are judged against.

    Many lists may share a history (the lists of a group, the candidates of a re-ranker): per-history facts are held
    once, and ``rows`` says which history each list belongs to.

    Attributes:
        of_histories: H histories, whole, oldest item first.
        of_targets: (H,) the held-out item, 0 where it is unknown.
        catalogue: items, features and training counts.
        k: K, the length of a whole list, also while only its beginning is looked at.
        of_probabilities: (H, V+1) calibrated P(item | history) of the teacher, rows sum to 1; None unless asked for.
        rows: (n,) history of each list; by default list i belongs to history i.
        derived: per-history facts that were computed on demand, shared by all contexts of the same histories.
        progress: share of a training that is done, 0..1, for rewards that change on the way; 1 outside training, so
            that metrics and re-rankers see the reward as it is in the end.
    """

    of_histories: Sequences
    of_targets: Slates
    catalogue: Catalogue
    k: int
    of_probabilities: Floats | None = None
    rows: Slates = field(default_factory=lambda: np.empty(0, np.int64))
    derived: dict[str, Floats] = field(default_factory=dict, repr=False)
    progress: float = 1.0

    def __post_init__(self) -> None:
        if len(self.rows) == 0:
            object.__setattr__(self, "rows", np.arange(len(self.of_targets)))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, lists: Slates) -> "Context":
        """The context of the lists at those positions, repeats allowed; per-history facts stay shared."""
        return replace(self, rows=self.rows[lists])

    @property
    def targets(self) -> Slates:
        """(n,) the held-out item of each list's history, 0 where unknown."""
        chosen: Slates = self.of_targets[self.rows]
        return chosen

    @property
    def histories(self) -> Sequences:
        """The history of each list."""
        return self.of_histories.take(self.rows)

    @property
    def of_times(self) -> NDArray[np.int64]:
        """(M,) seconds, when the events of ``of_histories`` happened, aligned with their items.

        The history ends with the last event before the list; when the list is asked for, and so when the target
        happened, is not known.

        Raises:
            ValueError: if the log does not say when.
        """
        return self.of_histories.known_times()

    def probability(self, items: Slates) -> Floats:
        """(n, j) the teacher's calibrated P(item | history) of items (n, j).

        Raises:
            ValueError: if this context carries no probabilities.
        """
        if self.of_probabilities is None:
            raise ValueError("this reward needs P(item | history): declare needs={'probabilities'} and give a teacher")
        chosen: Floats = self.of_probabilities[self.rows[:, None], items]
        return chosen

    @property
    def of_profiles(self) -> Floats:
        """(H, D) mean vector of the known items of each history; zeros for a history of unknown items."""
        if "profiles" not in self.derived:
            histories, catalogue = self.of_histories, self.catalogue
            known = catalogue.known[histories.items].astype(np.float32)
            shape = (len(histories), catalogue.num_items + 1)
            each = sparse.csr_matrix((known, histories.items, histories.offsets), shape=shape)
            count = np.maximum(np.asarray(each.sum(axis=1)), 1)
            self.derived["profiles"] = (each @ catalogue.vectors) / count
        return self.derived["profiles"]

    @property
    def profiles(self) -> Floats:
        """(n, D) mean vector of each list's history."""
        chosen: Floats = self.of_profiles[self.rows]
        return chosen


Gains = Callable[[Slates, Context], Floats]
"""Slates (n, j) and their context -> (n, j): what each position adds, given the positions before it."""


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

    NDCG@K = 1 / log2(rank + 1), MRR@K = 1 / rank, Recall@j = 1[rank <= j], all 0 without a hit [Järvelin & Kekäläinen
    2002; Petrov 2025, eq. 2.7-2.8].

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
        return {name: float(values.mean()) for name, values in self.per_user.items()} | dict(self.overall)


def evaluate(
    recommender: Recommender,
    cases: Cases,
    catalogue: Catalogue,
    k: int = 10,
    rewards: Mapping[str, Gains] | None = None,
) -> Evaluation:
    """Recommend for every case and measure the lists: accuracy, popularity, coverage, and each reward summed.

    Full catalogue, seen items filtered by the recommender, per-user values kept.
    """
    slates = recommender.recommend(cases.histories, k)
    return measure(slates, Context(cases.histories, cases.targets, catalogue, k), rewards)


def measure(slates: NDArray[np.int64], context: Context, rewards: Mapping[str, Gains] | None = None) -> Evaluation:
    """Measure lists that are already there; see ``evaluate``.

    A reward whose name is that of a metric gets no column of its own: ``ndcg`` is that metric, and ``popularity@k`` is
    the mean training share of the list's items, of which the reward is a negative multiple.
    """
    k = slates.shape[1]
    per_user = accuracy(slates, context.targets)
    per_user[f"popularity@{k}"] = context.catalogue.popularity[slates].mean(axis=1)
    for name, gains in (rewards or {}).items():
        if f"{name}@{k}" not in per_user:
            per_user[f"{name}@{k}"] = gains(slates, context).sum(axis=1)
    return Evaluation(slates, per_user, {f"coverage@{k}": coverage(slates, context.catalogue.num_items)})
