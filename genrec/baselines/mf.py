"""Matrix factorisation of who used what: alternating least squares (ALS) and pairwise ranking
(BPR)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from genrec.baselines import storage
from genrec.baselines.popularity import tie_break
from genrec.baselines.profiles import profiles
from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split

ENTRIES_PER_SOLVE = 65_536
LARGEST_BATCH, STEPS_PER_EPOCH = 4096, 32
RIDGE = 1e-3


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
        factors: (V+1, D) float32 y, zero at PAD and at items without training event.
        counts: (V+1,) training events of each item.
        alpha: α, how much more a used item counts than an unused one.
        regularisation: λ.
    """

    factors: NDArray[np.float32]
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
        hidden_size: int = 64,
        alpha: float = 1.0,
        regularisation: float = 10.0,
        sweeps: int = 10,
        seed: int = 0,
    ) -> "ALS":
        """Solve for users and items in turn, ``sweeps`` times, from small random item factors."""
        users = item_sets(split.train, split.catalogue.num_items)
        items = user_sets(split.train, split.catalogue.num_items)
        start = np.random.default_rng(seed).normal(
            0, 0.1, (split.catalogue.num_items + 1, hidden_size)
        )
        y = start.astype(np.float32) * (split.catalogue.counts > 0)[:, None].astype(np.float32)
        for _ in range(sweeps):
            x = solved(users, y, alpha, regularisation)
            y = solved(items, np.concatenate([np.zeros_like(x[:1]), x]), alpha, regularisation)
        return cls(y, split.catalogue.counts, alpha, regularisation)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.factors) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        x = solved(
            item_sets(histories, self.num_items), self.factors, self.alpha, self.regularisation
        )
        return torch.from_numpy(x @ self.factors.T + tie_break(self.counts))

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        settings = {"alpha": self.alpha, "regularisation": self.regularisation}
        storage.write(folder, "als", settings, {"factors": self.factors, "counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        settings, arrays = storage.read(folder, "als")
        return cls(
            arrays["factors"], arrays["counts"], settings["alpha"], settings["regularisation"]
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

    >>> solved(Sequences.from_lists([[1], []]), np.array([[0], [2], [1]], np.float32), 1.0, 1.0).tolist()  # 4/(5+4+1)
    [[0.4000000059604645], [0.0]]
    """
    y = torch.from_numpy(factors)
    width = y.shape[1]
    shared = y.T @ y + regularisation * torch.eye(width)
    out = torch.empty(len(sets), width)
    sizes = np.maximum(sets.lengths, width)  # a batch holds a (D, D) system for each of its rows
    for rows in length_buckets(
        sizes, int(sizes.max(initial=1)), ENTRIES_PER_SOLVE, np.random.default_rng(0)
    ):
        chosen = y[torch.from_numpy(sets.take(rows).padded())]
        systems = torch.baddbmm(shared, chosen.transpose(1, 2), chosen, alpha=alpha)
        sums = (1 + alpha) * chosen.sum(dim=1)
        out[torch.from_numpy(rows)] = torch.cholesky_solve(
            sums[..., None], torch.linalg.cholesky(systems)
        )[..., 0]
    return out.numpy()


@dataclass(frozen=True, eq=False)
class BPR:
    """Matrix factorisation that ranks used items above others; a new history's vector is a linear
    map of its mean.

    Training minimises the mean of −log σ(s_ui − s_uj), s_ui = x_u·y_i + b_i, over events (u, i) and
    items j that are drawn uniformly [Rendle et al. 2009, §4.3], with Adam and an L2 penalty.

    Users come with the training; histories do not. So that any history can be scored, x(h) = [m(h),
    1]·W, where m(h) is the mean y of the items in h and W the ridge regression of the trained x_u
    on [m(u), 1]. The score of item i is x(h)·y_i + b_i; an empty history has m = 0.

    Attributes:
        factors: (V+1, D) float32 y.
        biases: (V+1,) float32 b, -inf at PAD.
        fold_in: (D+1, D) float32 W.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    fold_in: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        split: Split,
        hidden_size: int = 64,
        epochs: int = 10,
        learning_rate: float = 0.01,
        regularisation: float = 0.001,
        seed: int = 0,
    ) -> "BPR":
        """Train on the split's training events in batches of at most 4,096, at least 32 of them in
        an epoch.

        Args:
            split: events to learn from.
            hidden_size: D.
            epochs: passes over the events, one negative each.
            learning_rate: of Adam; falls linearly to 0.
            regularisation: weight of the squared vectors in a batch.
            seed: of the start, the order and the negatives.
        """
        size = split.catalogue.num_items + 1
        generator = torch.Generator().manual_seed(seed)
        x, y = (
            (0.1 * torch.randn(rows, hidden_size, generator=generator)).requires_grad_()
            for rows in (len(split.train), size)
        )
        b = torch.zeros(size, 1, requires_grad=True)
        optimizer = torch.optim.SparseAdam([x, y, b], lr=learning_rate)
        events = torch.from_numpy(
            np.stack([split.train.rows(), split.train.items.astype(np.int64)])
        )
        batch = max(1, min(LARGEST_BATCH, events.shape[1] // STEPS_PER_EPOCH))
        for epoch in range(epochs):
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - epoch / epochs)
            for users, items in (
                events[:, rows]
                for rows in torch.randperm(events.shape[1], generator=generator).split(batch)
            ):
                others = torch.randint(1, size, items.shape, generator=generator)
                loss = pairwise_loss(x, y, b, (users, items, others), regularisation)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        factors, biases = y.detach().numpy(), b.detach().numpy()[:, 0]
        biases[0] = -np.inf
        return cls(factors, biases, regressed(split.train, factors, x.detach().numpy()))

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.factors) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        x = mean_and_one(histories, self.factors) @ self.fold_in
        return torch.from_numpy(x @ self.factors.T + self.biases)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays = {"factors": self.factors, "biases": self.biases, "fold_in": self.fold_in}
        storage.write(folder, "bpr", {}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        arrays = storage.read(folder, "bpr")[1]
        return cls(arrays["factors"], arrays["biases"], arrays["fold_in"])


def pairwise_loss(
    x: torch.Tensor,
    y: torch.Tensor,
    b: torch.Tensor,
    triples: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    regularisation: float,
) -> torch.Tensor:
    """Mean over N triples of softplus(s_uj − s_ui) + λ/2 (|x_u|² + |y_i|² + |y_j|²), with sparse
    gradients.

    Args:
        x: (U, D) user vectors.
        y: (V+1, D) item vectors.
        b: (V+1, 1) item biases.
        triples: users u, their items i, other items j, (N,) each.
        regularisation: λ.

    >>> x, y = torch.ones(1, 1), torch.tensor([[0.0], [2.0], [1.0]])
    >>> b, one = torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([1])
    >>> loss = pairwise_loss(x, y, b, (one - 1, one, one + 1), 0.1)
    >>> round(float(loss), 4)  # log 2 + 0.05 (1 + 4 + 1)
    0.9931
    """
    users, items, others = triples
    user, item, other = (
        functional.embedding(rows, table, sparse=True)
        for rows, table in ((users, x), (items, y), (others, y))
    )
    bias = functional.embedding(others, b, sparse=True) - functional.embedding(
        items, b, sparse=True
    )
    ranking = functional.softplus((user * (other - item)).sum(dim=1) + bias[:, 0])
    size = user.square().sum(dim=1) + item.square().sum(dim=1) + other.square().sum(dim=1)
    return (ranking + regularisation / 2 * size).mean()


def mean_and_one(histories: Sequences, factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, D+1): the mean factor of the different items of each history, and a 1."""
    table = profiles(histories, len(factors) - 1)
    share = np.maximum(np.diff(table.indptr), 1)[:, None].astype(np.float32)
    return np.concatenate([(table @ factors) / share, np.ones_like(share)], axis=1)


def regressed(
    train: Sequences, factors: NDArray[np.float32], users: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(D+1, D) W of the smallest Σ_u |[m(u), 1]·W − x_u|² + 10⁻³ U·v |W|², v the mean square of the
    entries of m(u)."""
    inputs = mean_and_one(train, factors)
    ridge = RIDGE * len(inputs) * float(np.square(inputs[:, :-1]).mean())
    left = inputs.T @ inputs + ridge * np.eye(inputs.shape[1], dtype=np.float32)
    return np.linalg.solve(left, inputs.T @ users)
