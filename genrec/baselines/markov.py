"""The Markov chain of order k: a count table that rivals trained models, and their touchstone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.baselines import storage
from genrec.baselines.popularity import log_popularity
from genrec.baselines.tuning import best
from genrec.config.errors import GenrecError
from genrec.data.cases import Cases
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

POPULARITY_WEIGHT = 1e-3
MOST_COUNTS = 30_000_000
DECAYS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SMOOTHINGS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, eq=False)
class Markov:
    """Adds up what each of the last k items of a history says of the next one, in log space.

    score_i = Σ_{d=1..k} β^d · log((C_d[a_d, i] + s) / n(a_d)) + ε · log p(i)

    a_d is the d-th newest item of the history, C_d[a, i] how often i came d events after a in
    training, n(a) the training events of a, p(i) the smoothed training share of i [Petrov 2025,
    §8.7.6]. The sum over d has no term where the history is shorter than k or where a_d has no
    training event. ε = 0.001 lets popularity order the items that the chain cannot tell apart;
    where no term is left at all (an empty history), ε = 1 and the score is log p(i).

    Attributes:
        transitions: (k·(V+1), V+1) sparse counts; row (d - 1)·(V+1) + a holds C_d[a, ·].
        counts: (V+1,) training events of each item.
        decay: β, in (0, 1].
        smoothing: s, positive.
    """

    transitions: sparse.csr_matrix
    counts: NDArray[np.int64]
    decay: float = 0.6
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise GenrecError(f"Markov decay is {self.decay}; it must lie in (0, 1]")
        if not self.smoothing > 0:
            raise GenrecError(f"Markov smoothing is {self.smoothing}; it must be positive")

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        order: int | None = None,
        decay: float | None = None,
        smoothing: float | None = None,
    ) -> "Markov":
        """Count the transitions of the training sequences.

        Args:
            split: training sequences, and validation cases to tune on.
            order: k; by default 30, and less on a log of more than a million events, so that there
                are at most ``MOST_COUNTS`` counts.
            decay: β; None tunes it on the validation cases.
            smoothing: s; None tunes it on the validation cases.

        Raises:
            GenrecError: for an impossible value, or without validation cases to tune on.
        """
        num_items = split.catalogue.num_items
        order = order or affordable_order(split.train)
        counts = split.catalogue.counts
        chain = cls(count_transitions(split.train, num_items, order), counts)
        decays = DECAYS if decay is None else (decay,)
        smoothings = SMOOTHINGS if smoothing is None else (smoothing,)
        if len(decays) == len(smoothings) == 1:
            return replace(chain, decay=decays[0], smoothing=smoothings[0])
        return tuned(chain, split.valid, decays, smoothings)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    @property
    def order(self) -> int:
        """How many of the newest history items are looked at: k."""
        return int(self.transitions.shape[0]) // len(self.counts)

    @cached_property
    def evidence(self) -> sparse.csr_matrix:
        """log(1 + C/s) of the transition counts, sparse like them: log((C + s)/n) = log(s/n) +
        log(1 + C/s).
        """
        counts = self.transitions
        logs = np.log1p(counts.data / np.float32(self.smoothing))
        return sparse.csr_matrix((logs, counts.indices, counts.indptr), shape=counts.shape)

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        recent = histories.last(self.order)
        if int(recent.items.max(initial=0)) > self.num_items:
            raise GenrecError(
                f"a history holds item {recent.items.max()}, but this chain knows items"
                f" 1..{self.num_items}"
            )
        size, rows = len(self.counts), recent.rows()
        gap = recent.offsets[1:][rows] - np.arange(len(rows))
        seen = self.counts[recent.items]
        weight = np.where(seen > 0, float(self.decay) ** gap, 0.0)
        chosen = (weight.astype(np.float32), (gap - 1) * size + recent.items, recent.offsets)
        selector = sparse.csr_matrix(chosen, shape=(len(recent), self.order * size))
        scores: NDArray[np.float32] = (selector @ self.evidence).toarray()
        constant = weight * np.log(self.smoothing / np.maximum(seen, 1))
        scores += np.bincount(rows, constant, minlength=len(recent)).astype(np.float32)[:, None]
        informed = np.bincount(rows, weight, minlength=len(recent)) > 0
        popularity = log_popularity(self.counts, self.smoothing).astype(np.float32)
        scores += (
            np.where(informed, np.float32(POPULARITY_WEIGHT), np.float32(1))[:, None] * popularity
        )
        return torch.from_numpy(scores)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        settings = {"decay": self.decay, "smoothing": self.smoothing}
        storage.write(
            folder, "markov", settings, {"counts": self.counts, **storage.parts(self.transitions)}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "markov")
        table = storage.joined(arrays, len(arrays["counts"]))
        return cls(table, arrays["counts"], settings["decay"], settings["smoothing"])


def affordable_order(train: Sequences, most: int = 30) -> int:
    """The largest k, from 1 to ``most``, for which ``count_transitions`` keeps to ``MOST_COUNTS``.

    >>> affordable_order(Sequences.from_lists([[1, 2, 1]]), most=20)
    20
    """
    return max(1, min(most, MOST_COUNTS // max(1, len(train.items))))


def count_transitions(train: Sequences, num_items: int, order: int) -> sparse.csr_matrix:
    """How often each item came d events after each other one, for d = 1..k.

    Args:
        train: training sequences.
        num_items: V.
        order: k, the largest gap.

    Returns:
        (k·(V+1), V+1) float32 counts; row (d - 1)·(V+1) + a, column i: i came d events after a.

    Raises:
        GenrecError: if order is below 1.

    >>> train = Sequences.from_lists([[1, 2, 1], [1, 2]])
    >>> count_transitions(train, num_items=2, order=2).astype(int).toarray().tolist()
    [[0, 0, 0], [0, 0, 2], [0, 1, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    """
    if order < 1:
        raise GenrecError(f"a Markov chain of order {order} was asked for; the order is at least 1")
    items, rows, size = train.items, train.rows(), num_items + 1
    tables = []
    for gap in range(1, order + 1):
        same = rows[gap:] == rows[:-gap]
        pairs = (items[:-gap][same], items[gap:][same])
        ones = np.ones(len(pairs[0]), np.float32)
        tables.append(sparse.coo_matrix((ones, pairs), shape=(size, size)).tocsr())
    stacked: sparse.csr_matrix = sparse.vstack(tables, format="csr")
    return stacked


def tuned(
    chain: Markov,
    cases: Cases,
    decays: Sequence[float] = DECAYS,
    smoothings: Sequence[float] = SMOOTHINGS,
) -> Markov:
    """The chain with the decay and smoothing of the highest NDCG@10 on the cases; the counts are
    shared.

    Args:
        chain: a fitted chain; its own decay and smoothing play no part.
        cases: validation cases, never test cases.
        decays: β to try.
        smoothings: s to try; the first of equally good pairs is kept.

    Raises:
        GenrecError: without cases.
    """
    pairs = ((decay, smoothing) for smoothing in smoothings for decay in decays)
    return best(
        (replace(chain, decay=decay, smoothing=smoothing) for decay, smoothing in pairs), cases
    )
