"""Linear item models: EASE in closed form, and SLIM."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg

from genrec.baselines import storage
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import Floats, profiles
from genrec.baselines.tuning import best
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

MOST_ITEMS = 20_000  # of whose pairs float64 tables are made: 3.2 GB each
DECAYS = (1.0, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
PENALTIES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
# Of the alternating direction method of multipliers: its penalty, times the mean count of an item,
# decides how fast it is and not what it finds.
RHO, ITERATIONS = 3.0, 300
PRIMAL, DUAL = 1e-3, 0.1  # residuals at which it ends: of weights, and of gradients in users

Gram = NDArray[np.float64]
T = TypeVar("T", bound="LinearItems")


@dataclass(frozen=True, eq=False)
class LinearItems:
    """What linear item models share: scores are a weighted sum over the items of the history.

    score_i = Σ_{a in history} β^(d(a)-1) · B_ai + ε · p(i)

    X is the binary matrix of training users and items, and B, with a diagonal of 0, reconstructs
    it: X ≈ X·B. d(a) is 1 for the newest item of the history; β = 1, as published, forgets the
    order. ε = 0.001 lets p(i), the training share of i, order the items of equal scores.

    Attributes:
        weights: (V+1, V+1) float32 B; row and column 0 are 0.
        counts: (V+1,) training events of each item.
        decay: β, in (0, 1].
    """

    kind: ClassVar[str]

    weights: Floats
    counts: NDArray[np.int64]
    decay: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise GenrecError(f"{self.kind} decay is {self.decay}; it must lie in (0, 1]")

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        scores: Floats = profiles(histories, self.num_items, self.decay) @ self.weights
        return torch.from_numpy(scores + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays: storage.Arrays = {"weights": self.weights, "counts": self.counts}
        storage.write(folder, self.kind, {"decay": self.decay}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, cls.kind)
        return cls(arrays["weights"], arrays["counts"], settings["decay"])


class EASE(LinearItems):
    """The linear item model of least squares, in closed form [Steck 2019, eq. 8].

    B minimises ‖X − X·B‖² + λ‖B‖² under diag(B) = 0: with P = (XᵀX + λI)⁻¹, B_ai = −P_ai / P_ii
    off the diagonal. See ``LinearItems`` for the scores.
    """

    kind = "ease"

    @classmethod
    def fit(
        cls, split: Split, *, regularisation: float | None = None, decay: float | None = None
    ) -> "EASE":
        """Solve for the weights.

        Args:
            split: training sequences, and validation cases to tune on.
            regularisation: λ, in users; None tunes it on the validation cases, before β.
            decay: β; None tunes it on the validation cases.

        Raises:
            GenrecError: for more than 20,000 items, or without validation cases to tune on.
        """
        gram, counts = gram_matrix(split), split.catalogue.counts

        def solved(penalty: float) -> EASE:
            return cls(ease_weights(gram, penalty), counts, 1.0 if decay is None else decay)

        if regularisation is None:
            scorer = best(map(solved, PENALTIES), split.valid)
        else:
            scorer = solved(regularisation)
        return with_tuned_decay(scorer, split) if decay is None else scorer


class SLIM(LinearItems):
    """The sparse linear item model of an elastic net [Ning & Karypis 2011, eq. 3].

    B minimises ½‖X − X·B‖² + λ₂/2·‖B‖² + λ₁‖B‖₁ under diag(B) = 0 and B ≥ 0, by the alternating
    direction method of multipliers [Steck et al. 2020]. See ``LinearItems`` for the scores.
    """

    kind = "slim"

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        l1: float = 3.0,
        l2: float = 100.0,
        decay: float | None = None,
    ) -> "SLIM":
        """Solve for the weights.

        Args:
            split: training sequences, and validation cases to tune on.
            l1: λ₁, in users.
            l2: λ₂, in users.
            decay: β; None tunes it on the validation cases.

        Raises:
            GenrecError: for more than 20,000 items, or without validation cases to tune on.
        """
        weights = slim_weights(gram_matrix(split), l1, l2)
        scorer = cls(weights, split.catalogue.counts, 1.0 if decay is None else decay)
        return with_tuned_decay(scorer, split) if decay is None else scorer


def gram_matrix(split: Split) -> Gram:
    """(V, V) float64 XᵀX: how many training users have both items, or the one on the diagonal.

    Raises:
        GenrecError: for more than 20,000 items, whose pairs do not fit into memory.
    """
    num_items = split.catalogue.num_items
    if num_items > MOST_ITEMS:
        raise GenrecError(
            f"a linear item model solves for a weight of every pair of items, which takes"
            f" {num_items**2 * 8 / 2**30:.0f} GiB a table for {num_items} items: at most"
            f" {MOST_ITEMS} are possible; choose item_knn instead"
        )
    once = profiles(split.train, num_items)[:, 1:]
    gram: Gram = (once.T @ once).toarray().astype(np.float64)
    return gram


def ease_weights(gram: Gram, regularisation: float) -> Floats:
    """(V+1, V+1) float32 weights of EASE.

    Args:
        gram: (V, V) XᵀX.
        regularisation: λ, positive.

    Raises:
        GenrecError: for another λ.

    >>> ease_weights(np.array([[2.0, 1.0], [1.0, 1.0]]), 2.0).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.25], [0.0, 0.3333333432674408, 0.0]]
    """
    if not regularisation > 0:
        raise GenrecError(f"EASE regularisation is {regularisation}; it must be positive")
    inverse = _inverse(gram, regularisation)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return _with_pad(weights)


def slim_weights(gram: Gram, l1: float, l2: float) -> Floats:
    """(V+1, V+1) float32 weights of SLIM; most are 0.

    With P = (XᵀX + (λ₂ + ρ)I)⁻¹ each iteration solves the ridge regression under diag(B) = 0,
    thresholds it at λ₁/ρ, and adds the difference of the two to the dual variable. It ends when no
    weight of the two differs by more than 0.001 and no gradient has changed by more than 0.1 users,
    or after 300 iterations.

    Args:
        gram: (V, V) XᵀX.
        l1: λ₁, not negative.
        l2: λ₂, positive.

    Raises:
        GenrecError: for another λ₁ or λ₂.
    """
    if not (l1 >= 0 and l2 > 0):
        raise GenrecError(f"SLIM l1 is {l1} and l2 is {l2}: l1 must be at least 0, l2 above 0")
    # The inverse is of float64, the many products that follow are of float32.
    rho = RHO * max(1.0, float(np.diag(gram).mean()))
    inverse = _inverse(gram, l2 + rho)
    diagonal = np.diag(inverse)
    ridge = (inverse @ gram).astype(np.float32)
    inverse = inverse.astype(np.float32)
    sparse_part, dual = np.zeros_like(ridge), np.zeros_like(ridge)
    for _ in range(ITERATIONS):
        solved = ridge + inverse @ (rho * sparse_part - dual)
        solved -= inverse * (np.diag(solved) / diagonal).astype(np.float32)
        before = sparse_part
        sparse_part = np.maximum(solved + (dual - np.float32(l1)) / np.float32(rho), 0)
        np.fill_diagonal(sparse_part, 0)
        difference = solved - sparse_part
        dual += np.float32(rho) * difference
        change = rho * float(np.abs(sparse_part - before).max())
        if np.abs(difference).max() < PRIMAL and change < DUAL:
            break
    return _with_pad(sparse_part)


def with_tuned_decay(scorer: T, split: Split) -> T:
    """The scorer with the decay of the highest NDCG@10 on the validation cases."""
    return best((replace(scorer, decay=decay) for decay in DECAYS), split.valid)


def _inverse(gram: Gram, ridge: float) -> Gram:
    """(XᵀX + ridge·I)⁻¹ by a Cholesky decomposition."""
    shifted = gram.copy()
    shifted[np.diag_indices_from(shifted)] += ridge
    factor = linalg.cho_factor(shifted, overwrite_a=True, check_finite=False)
    inverse: Gram = linalg.cho_solve(factor, np.eye(len(gram)), overwrite_b=True)
    return inverse


def _with_pad(weights: NDArray[np.floating]) -> Floats:
    """The weights with a row and a column of zeros for PAD."""
    return np.pad(weights, ((1, 0), (1, 0))).astype(np.float32)
