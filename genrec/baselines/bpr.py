"""Matrix factorisation by Bayesian personalised ranking (BPR)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from genrec.baselines import storage
from genrec.baselines.profiles import profiles
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

LARGEST_BATCH, STEPS_PER_EPOCH = 4096, 32


RIDGE = 1e-3


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
        item_vectors: (V+1, D) float32 y.
        biases: (V+1,) float32 b, -inf at PAD.
        fold_in: (D+1, D) float32 W.
    """

    item_vectors: NDArray[np.float32]
    biases: NDArray[np.float32]
    fold_in: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        factors: int = 64,
        epochs: int = 10,
        learning_rate: float = 0.01,
        regularisation: float = 0.001,
        seed: int = 0,
    ) -> "BPR":
        """Train on the split's training events in batches of at most 4,096, at least 32 of them in
        an epoch.

        Args:
            split: events to learn from.
            factors: D.
            epochs: passes over the events, one negative each.
            learning_rate: of Adam; falls linearly to 0.
            regularisation: weight of the squared vectors in a batch.
            seed: of the start, the order and the negatives.
        """
        size = split.catalogue.num_items + 1
        generator = torch.Generator().manual_seed(seed)
        x, y = (
            (0.1 * torch.randn(rows, factors, generator=generator)).requires_grad_()
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
        vectors, biases = y.detach().numpy(), b.detach().numpy()[:, 0]
        biases[0] = -np.inf
        return cls(vectors, biases, regressed(split.train, vectors, x.detach().numpy()))

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.item_vectors) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        x = mean_and_one(histories, self.item_vectors) @ self.fold_in
        return torch.from_numpy(x @ self.item_vectors.T + self.biases)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        arrays = {"item_vectors": self.item_vectors, "biases": self.biases, "fold_in": self.fold_in}
        storage.write(folder, "bpr", {}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        arrays = storage.read(folder, "bpr")[1]
        return cls(arrays["item_vectors"], arrays["biases"], arrays["fold_in"])


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
    entries of m(u).
    """
    inputs = mean_and_one(train, factors)
    ridge = RIDGE * len(inputs) * float(np.square(inputs[:, :-1]).mean())
    left = inputs.T @ inputs + ridge * np.eye(inputs.shape[1], dtype=np.float32)
    return np.linalg.solve(left, inputs.T @ users)
