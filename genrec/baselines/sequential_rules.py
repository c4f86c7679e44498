"""Sequential rules: what followed the newest items, near or far, in one table of counts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.baselines import storage
from genrec.baselines.markov import (
    DECAYS,
    POPULARITY_WEIGHT,
    affordable_order,
    count_transitions,
)
from genrec.baselines.popularity import log_popularity
from genrec.baselines.profiles import profiles
from genrec.baselines.tuning import best
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

DISTANCE_DECAYS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
SMOOTHINGS = (0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, eq=False)
class SequentialRules:
    """Adds up the rules a → i over the newest items a of a history, in log space.

    score_i = Σ_{d=1..k} β^(d-1) · log(1 + N[a_d, i] / s) + ε · log p(i)
    N[a, i] = Σ_{e=1..k} λ^(e-1) · C_e[a, i]

    a_d is the d-th newest item of the history (one that comes again counts where it is newest),
    C_e[a, i] how often i came e events after a in training, p(i) the smoothed training share of i.
    The rule a → i is the stronger the more often i came after a and the nearer, as in [Ludewig &
    Jannach 2018]; theirs weighs the distance e by 1/e, reads only the newest item and takes no
    logarithm. A Markov chain of order k has a table for every distance instead, with fewer counts
    in each. ε = 0.001 lets popularity order the items without a rule; where no item of the history
    has a training event, ε = 1.

    Attributes:
        rules: (V+1, V+1) sparse N.
        counts: (V+1,) training events of each item.
        order: k, how many of the newest items are read.
        decay: β, in (0, 1].
        smoothing: s, positive.
    """

    rules: sparse.csr_matrix
    counts: NDArray[np.int64]
    order: int = 30
    decay: float = 0.6
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not self.order >= 1:
            raise GenrecError(f"the order of sequential rules is {self.order}; it is at least 1")
        if not 0 < self.decay <= 1:
            raise GenrecError(f"the decay of sequential rules is {self.decay}, outside (0, 1]")
        if not self.smoothing > 0:
            raise GenrecError(f"the smoothing of rules is {self.smoothing}; it must be positive")

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        order: int | None = None,
        distance_decay: float | None = None,
        decay: float | None = None,
        smoothing: float | None = None,
    ) -> "SequentialRules":
        """Count the rules of the training sequences.

        Args:
            split: training sequences, and validation cases to tune on.
            order: k; by default 30, and less on a log of more than a million events, see
                ``affordable_order``.
            distance_decay: λ; None tunes it on the validation cases.
            decay: β; None tunes it on the validation cases.
            smoothing: s; None tunes it on the validation cases.

        Raises:
            GenrecError: for an impossible value, or without validation cases to tune on.
        """
        num_items, counts = split.catalogue.num_items, split.catalogue.counts
        order = order or affordable_order(split.train)
        transitions = count_transitions(split.train, num_items, order)
        decays = DECAYS if decay is None else (decay,)
        smoothings = SMOOTHINGS if smoothing is None else (smoothing,)
        distance_decays = DISTANCE_DECAYS if distance_decay is None else (distance_decay,)

        def candidates() -> Iterator[SequentialRules]:
            for each in distance_decays:
                counted = cls(pooled(transitions, each), counts, order)
                for s in smoothings:
                    smoothed = replace(counted, smoothing=s)
                    yield from (replace(smoothed, decay=beta) for beta in decays)

        if len(decays) == len(smoothings) == len(distance_decays) == 1:
            return next(candidates())
        return best(candidates(), split.valid)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    @cached_property
    def evidence(self) -> sparse.csr_matrix:
        """log(1 + N/s), sparse like N."""
        logs = np.log1p(self.rules.data / np.float32(self.smoothing))
        return sparse.csr_matrix((logs, self.rules.indices, self.rules.indptr), self.rules.shape)

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        recent = histories.last(self.order)
        weights = profiles(recent, self.num_items, self.decay)
        scores: NDArray[np.float32] = (weights @ self.evidence).toarray()
        informed = np.zeros(len(recent), bool)
        informed[recent.rows()[self.counts[recent.items] > 0]] = True
        popularity = log_popularity(self.counts, self.smoothing).astype(np.float32)
        share = np.where(informed, np.float32(POPULARITY_WEIGHT), np.float32(1))
        return torch.from_numpy(scores + share[:, None] * popularity)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        settings = {"order": self.order, "decay": self.decay, "smoothing": self.smoothing}
        arrays = {"counts": self.counts, **storage.parts(self.rules)}
        storage.write(folder, "sequential_rules", settings, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "sequential_rules")
        rules = storage.joined(arrays, len(arrays["counts"]))
        return cls(rules, arrays["counts"], **settings)


def pooled(transitions: sparse.csr_matrix, distance_decay: float) -> sparse.csr_matrix:
    """The counts of all distances in one table: Σ_e λ^(e-1) · C_e.

    Args:
        transitions: (k·(V+1), V+1) C, as ``count_transitions`` returns it.
        distance_decay: λ, in [0, 1]; 0 keeps only direct successors.

    Returns:
        (V+1, V+1) sparse float32.

    Raises:
        GenrecError: for a λ outside [0, 1].

    >>> train = Sequences.from_lists([[1, 2, 1], [1, 2]])
    >>> pooled(count_transitions(train, num_items=2, order=2), 0.5).toarray().tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.5, 2.0], [0.0, 1.0, 0.0]]
    """
    if not 0 <= distance_decay <= 1:
        raise GenrecError(f"distance_decay is {distance_decay}; it must lie in [0, 1]")
    size = transitions.shape[1]
    order = transitions.shape[0] // size
    total = transitions[:size]
    for place in range(1, order):
        weight = np.float32(distance_decay**place)
        total = total + weight * transitions[place * size : (place + 1) * size]
    total.eliminate_zeros()
    return sparse.csr_matrix(total, dtype=np.float32)
