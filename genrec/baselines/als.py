"""Matrix factorisation by alternating least squares (ALS)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.baselines import storage
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import profiles
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split

ENTRIES_PER_SOLVE = 65_536


@dataclass(frozen=True, eq=False)
class ALS:
    """Weighted least squares on the full matrix of users and items, zeros included; one solve for a
    new history.

    Minimises Σ_{u,i} c_ui (p_ui − x_u·y_i)² + λ (Σ_u |x_u|² + Σ_i |y_i|²) with p_ui = [i in u] and
    c_ui = 1 + α·p_ui [Hu et al. 2008, eq. 3], α being their α for data without counts. With the y
    fixed, the x of a history is

    x = (YᵀY + α Σ_{i in h} y_i y_iᵀ + λI)⁻¹ (1 + α) Σ_{i in h} y_i    [Hu et al. 2008, eq. 4]

    and score_i = x·y_i + ε · p(i): the users that were trained on are solved for like any other. ε
    = 0.001 lets p(i), the training share of i, order what is equal, for instance everything where
    the history is empty.

    Attributes:
        item_vectors: (V+1, D) float32 y, zero at PAD and at items without training event.
        counts: (V+1,) training events of each item.
        alpha: α, how much more a used item counts than an unused one.
        regularisation: λ.
    """

    item_vectors: NDArray[np.float32]
    counts: NDArray[np.int64]
    alpha: float = 1.0
    regularisation: float = 10.0

    def __post_init__(self) -> None:
        if not (self.alpha > 0 and self.regularisation > 0):
            raise GenrecError(
                f"ALS alpha is {self.alpha}, regularisation {self.regularisation}; both must be"
                " positive"
            )

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        factors: int = 64,
        alpha: float = 1.0,
        regularisation: float = 10.0,
        iterations: int = 10,
        seed: int = 0,
    ) -> "ALS":
        """Solve for users and items in turn, from small random item vectors.

        Args:
            split: training sequences.
            factors: D, length of the vectors.
            alpha: α.
            regularisation: λ.
            iterations: how often users and items are solved for.
            seed: random seed of the initial vectors.
        """
        users = item_sets(split.train, split.catalogue.num_items)
        items = user_sets(split.train, split.catalogue.num_items)
        start = np.random.default_rng(seed).normal(0, 0.1, (split.catalogue.num_items + 1, factors))
        y = start.astype(np.float32) * (split.catalogue.counts > 0)[:, None].astype(np.float32)
        for _ in range(iterations):
            x = solved(users, y, alpha, regularisation)
            y = solved(items, np.concatenate([np.zeros_like(x[:1]), x]), alpha, regularisation)
        return cls(y, split.catalogue.counts, alpha, regularisation)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.item_vectors) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        x = solved(
            item_sets(histories, self.num_items), self.item_vectors, self.alpha, self.regularisation
        )
        return torch.from_numpy(x @ self.item_vectors.T + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        settings = {"alpha": self.alpha, "regularisation": self.regularisation}
        storage.write(
            folder, "als", settings, {"item_vectors": self.item_vectors, "counts": self.counts}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "als")
        return cls(
            arrays["item_vectors"], arrays["counts"], settings["alpha"], settings["regularisation"]
        )


def item_sets(histories: Sequences, num_items: int) -> Sequences:
    """Each history as the set of its items, in ascending order."""
    table = profiles(histories, num_items)
    return Sequences(table.indptr.astype(np.int64), table.indices.astype(np.int32))


def user_sets(train: Sequences, num_items: int) -> Sequences:
    """V+1 sequences: for each item the training users that have it, numbered from 1."""
    table = profiles(train, num_items).T.tocsr()
    return Sequences(table.indptr.astype(np.int64), table.indices.astype(np.int32) + 1)


def solved(
    sets: Sequences, factors: NDArray[np.float32], alpha: float, regularisation: float
) -> NDArray[np.float32]:
    """The other side of the factorisation: one least-squares problem for each set.

    Args:
        sets: N sets of rows of ``factors``, which begin at 1.
        factors: (M+1, D), zero at row 0.
        alpha: α.
        regularisation: λ.

    Returns:
        (N, D); zero for an empty set.

    >>> factors = np.array([[0], [2], [1]], np.float32)
    >>> solved(Sequences.from_lists([[1], []]), factors, 1.0, 1.0).tolist()  # 4 / (5 + 4 + 1)
    [[0.4000000059604645], [0.0]]
    """
    y = torch.from_numpy(factors)
    width = y.shape[1]
    shared = y.T @ y + regularisation * torch.eye(width)
    out = torch.empty(len(sets), width)
    sizes = np.maximum(sets.lengths, width)  # a batch holds a (D, D) system for each of its rows
    for rows in length_buckets(
        sizes,
        max_length=int(sizes.max(initial=1)),
        tokens=ENTRIES_PER_SOLVE,
        generator=np.random.default_rng(0),
    ):
        chosen = y[torch.from_numpy(sets.take(rows).padded())]
        systems = torch.baddbmm(shared, chosen.transpose(1, 2), chosen, alpha=alpha)
        sums = (1 + alpha) * chosen.sum(dim=1)
        out[torch.from_numpy(rows)] = torch.cholesky_solve(
            sums[..., None], torch.linalg.cholesky(systems)
        )[..., 0]
    return out.numpy()
