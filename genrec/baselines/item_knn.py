"""Item-based nearest neighbours: what is used by the users of the history's items."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genrec.baselines import storage
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import Floats, pair_table, profiles
from genrec.baselines.tuning import best
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

DECAYS = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3)


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """Adds up the similarities of an item to the items of the history, newer ones counting more.

    score_i = Σ_{a in history} β^(d(a)-1) · sim(a, i) + ε · p(i),  sim(a, i) = n_ai / (√(n_a · n_i)
    + λ)

    n_a are the training users of a, n_ai the users of both: the cosine of binary user vectors
    [Sarwar et al. 2001, §3.1.1], shrunk towards 0 by λ where few users are behind it. Only the N
    most similar items of each a are kept [Deshpande & Karypis 2004, §4.1]. d(a) is 1 for the newest
    item of the history; β = 1 forgets the order. ε = 0.001 lets p(i), the training share of i,
    order the items that similarity cannot tell apart.

    Attributes:
        similarities: (V+1, V+1) sparse; row a holds sim(a, ·), at most N entries.
        counts: (V+1,) training events of each item.
        decay: β, in (0, 1].
    """

    similarities: sparse.csr_matrix
    counts: NDArray[np.int64]
    decay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise GenrecError(f"ItemKNN decay is {self.decay}; it must lie in (0, 1]")

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        neighbours: int = 100,
        shrinkage: float = 0.0,
        decay: float | None = None,
    ) -> "ItemKNN":
        """Similarities of the items of the training users.

        Args:
            split: training sequences, and validation cases to tune on.
            neighbours: N, similar items kept per item.
            shrinkage: λ, in users.
            decay: β; None tunes it on the validation cases.

        Raises:
            GenrecError: for an impossible value, or without validation cases to tune on.
        """
        catalogue = split.catalogue
        table = item_similarities(split.train, catalogue.num_items, neighbours, shrinkage)
        scorer = cls(table, catalogue.counts)
        return tuned(scorer, split) if decay is None else replace(scorer, decay=decay)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        weights = profiles(histories, self.num_items, self.decay)
        scores: Floats = (weights @ self.similarities).toarray()
        return torch.from_numpy(scores + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays = {"counts": self.counts, **storage.parts(self.similarities)}
        storage.write(folder, "item_knn", {"decay": self.decay}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "item_knn")
        return cls(
            storage.joined(arrays, len(arrays["counts"])), arrays["counts"], settings["decay"]
        )


def item_similarities(
    train: Sequences, num_items: int, neighbours: int, shrinkage: float
) -> sparse.csr_matrix:
    """(V+1, V+1) shrunk cosines of binary user vectors, the N largest of each row.

    Args:
        train: training sequences, one per user.
        num_items: V.
        neighbours: N.
        shrinkage: λ, in the units of √(n_a · n_i): users.

    Raises:
        GenrecError: if N is below 1 or λ negative.

    >>> train = Sequences.from_lists([[1, 2], [1], [1], [1]])
    >>> item_similarities(train, 2, neighbours=1, shrinkage=0.0).toarray().tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]]
    """
    if neighbours < 1:
        raise GenrecError(f"ItemKNN was asked for {neighbours} neighbours; at least 1 is needed")
    if not shrinkage >= 0:
        raise GenrecError(f"ItemKNN shrinkage is {shrinkage}; it must not be negative")
    return pair_table(train, num_items, partial(_cosine, shrinkage=shrinkage), neighbours)


def tuned(scorer: ItemKNN, split: Split, decays: Sequence[float] = DECAYS) -> ItemKNN:
    """The scorer with the decay of the highest NDCG@10 on the validation cases; the similarities
    are shared.
    """
    return best((replace(scorer, decay=decay) for decay in decays), split.valid)


def _cosine(both: Floats, first: Floats, second: Floats, shrinkage: float) -> Floats:
    cosine: Floats = both / (np.sqrt(first * second) + np.float32(shrinkage))
    return cosine
