"""User-based nearest neighbours: what similar users used."""

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
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import Floats, largest, profiles
from genrec.baselines.tuning import best
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

NEIGHBOURS = (5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True, eq=False)
class UserKNN:
    """Lets the N training users most similar to the history vote for their items.

    score_i = Σ_{u in N(h)} sim(h, u) · [i in u] + ε · p(i),  sim(h, u) = |h ∩ u| / √(|h| · |u|)

    h and u are sets of items, so that sim is the cosine of their binary vectors, and N(h) the
    training users with the largest sim; of equal ones those that come first in the split. This is
    the user-based scheme of GroupLens with cosines for correlations [Sarwar et al. 2000, §3.2;
    Deshpande & Karypis 2004, §2]. ε = 0.001 lets p(i), the training share of i, order the items
    without votes. The query's own training sequence is not left out: it votes only for items that
    it holds, which for test cases are items of the history.

    Attributes:
        users: (U, V+1) sparse binary rows of the training users.
        counts: (V+1,) training events of each item.
        neighbours: N.
    """

    users: sparse.csr_matrix
    counts: NDArray[np.int64]
    neighbours: int = 100

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise GenrecError(
                f"UserKNN was asked for {self.neighbours} neighbours; at least 1 is needed"
            )

    @classmethod
    def fit(cls, split: Split, *, neighbours: int | None = None) -> "UserKNN":
        """Keep the items of the training users.

        Args:
            split: training sequences, and validation cases to tune on.
            neighbours: N; None tunes it on the validation cases.

        Raises:
            GenrecError: for an impossible value, or without validation cases to tune on.
        """
        users = profiles(split.train, split.catalogue.num_items)
        counts = split.catalogue.counts
        if neighbours is None:
            return tuned(cls(users, counts), split)
        return cls(users, counts, neighbours)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    @cached_property
    def _by_item(self) -> sparse.csr_matrix:
        """(V+1, U) the training users of each item, each scaled to unit length."""
        return unit_rows(self.users).T.tocsr()

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        queries = unit_rows(profiles(histories, self.num_items))
        nearest = largest(queries @ self._by_item, self.neighbours)
        scores: Floats = (nearest @ self.users).toarray()
        return torch.from_numpy(scores + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays = {"counts": self.counts, **storage.parts(self.users)}
        storage.write(folder, "user_knn", {"neighbours": self.neighbours}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "user_knn")
        return cls(
            storage.joined(arrays, len(arrays["counts"])), arrays["counts"], settings["neighbours"]
        )


def unit_rows(table: sparse.csr_matrix) -> sparse.csr_matrix:
    """Binary rows scaled to length 1.

    >>> table = sparse.csr_matrix([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    >>> unit_rows(table).toarray().tolist()
    [[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]
    """
    lengths = np.diff(table.indptr)
    values = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths).astype(np.float32)
    return sparse.csr_matrix((values, table.indices, table.indptr), shape=table.shape)


def tuned(scorer: UserKNN, split: Split, neighbours: Sequence[int] = NEIGHBOURS) -> UserKNN:
    """The scorer with the N of the highest NDCG@10 on the validation cases; the users are
    shared.
    """
    return best((replace(scorer, neighbours=count) for count in neighbours), split.valid)
