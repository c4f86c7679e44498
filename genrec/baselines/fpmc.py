"""Factorised personalised Markov chains: what a user likes, plus what follows the newest item."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch.nn import functional

from genrec.baselines import storage
from genrec.baselines.profiles import require_known
from genrec.data.sequences import Sequences, length_buckets
from genrec.data.splits import Split

LARGEST_BATCH, STEPS_PER_EPOCH = 6400, 32
Tables = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class FPMC:
    """A factorised first-order Markov chain beside a factorised taste, for any history.

    score_i = m(h)·y_i + a_l·n_i + b_i,  m(h) the mean of p_j over the events j of h, l its newest
    item

    FPMC adds the products user × next item and last item × next item [Rendle et al. 2010, eq. 9,
    with baskets of one item]. Its user vectors exist for training users only; here the user part is
    the mean of item vectors p instead, in training as in scoring, so that every history can be
    scored. An empty history is scored by b alone.

    Every event but a user's first is trained on, from all events before it. The loss is the
    cross-entropy of the true next item among N negatives, uniform and shared by a batch, with Adam:
    with one negative it is S-BPR, the paper's criterion (eq. 13), as −log σ(s⁺ − s⁻) is a softmax
    over two.

    Attributes:
        profile: (V+1, D) float32 p.
        taste: (V+1, D) float32 y.
        last: (V+1, D) float32 a.
        following: (V+1, D) float32 n.
        biases: (V+1,) float32 b, -inf at PAD.
    """

    profile: NDArray[np.float32]
    taste: NDArray[np.float32]
    last: NDArray[np.float32]
    following: NDArray[np.float32]
    biases: NDArray[np.float32]

    @classmethod
    def fit(
        cls,
        split: Split,
        *,
        factors: int = 64,
        epochs: int = 6,
        learning_rate: float = 0.005,
        negatives: int = 256,
        seed: int = 0,
    ) -> "FPMC":
        """Train on the split's training sequences in batches of about 6,400 events, at least 32 of
        them in an epoch.

        Args:
            split: sequences to learn from.
            factors: D.
            epochs: passes over the sequences.
            learning_rate: of Adam; falls linearly to 0.
            negatives: N, drawn per batch.
            seed: of the start, the order and the negatives.
        """
        size, train = split.catalogue.num_items + 1, split.train.take(split.train.lengths >= 2)
        generator, numbers = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
        tables = [
            (0.1 * torch.randn(size, factors, generator=generator)).requires_grad_()
            for _ in range(4)
        ]
        biases = torch.zeros(size, requires_grad=True)
        optimizer = torch.optim.Adam([*tables, biases], lr=learning_rate)
        tokens = max(1, min(LARGEST_BATCH, len(train.items) // STEPS_PER_EPOCH))
        longest = int(train.lengths.max(initial=1))
        for epoch in range(epochs):
            optimizer.param_groups[0]["lr"] = learning_rate * (1 - epoch / epochs)
            for rows in length_buckets(
                train.lengths, max_length=longest, tokens=tokens, generator=numbers
            ):
                padded = torch.from_numpy(train.take(rows).padded())
                drawn = torch.randint(1, size, (negatives,), generator=generator)
                loss = next_item_loss(
                    (tables[0], tables[1], tables[2], tables[3]), biases, padded, drawn
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        biases.data[0] = -torch.inf
        profile, taste, last, following, offsets = (
            table.detach().numpy() for table in (*tables, biases)
        )
        return cls(profile, taste, last, following, offsets)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.biases) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) float32 scores, see the class; column 0 is -inf.

        Raises:
            GenrecError: if a history holds an item above V.
        """
        require_known(histories, self.num_items)
        lengths = histories.lengths
        filled = lengths > 0
        states = np.zeros((len(histories), 2 * self.profile.shape[1]), np.float32)
        states[filled] = np.concatenate(
            [
                means(histories, self.profile)[filled],
                self.last[histories.items[histories.offsets[1:][filled] - 1]],
            ],
            axis=1,
        )
        return torch.from_numpy(
            states @ np.concatenate([self.taste, self.following], axis=1).T + self.biases
        )

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        storage.write(folder, "fpmc", {}, vars(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        arrays = storage.read(folder, "fpmc")[1]
        return cls(
            arrays["profile"],
            arrays["taste"],
            arrays["last"],
            arrays["following"],
            arrays["biases"],
        )


def means(histories: Sequences, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, D) the mean vector of the events of each history; zero for an empty one."""
    events = (np.ones(len(histories.items), np.float32), histories.items, histories.offsets)
    counts = sparse.csr_matrix(events, shape=(len(histories), len(vectors)))
    sums: NDArray[np.float32] = counts @ vectors
    lengths: NDArray[np.float32] = np.maximum(histories.lengths, 1).astype(np.float32)
    return sums / lengths[:, None]


def next_item_loss(
    tables: Tables, biases: torch.Tensor, sequences: torch.Tensor, negatives: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of each next item against shared negatives; a negative that is the next
    item is left out.

    Args:
        tables: p, y, a and n of the class, each (V+1, D).
        biases: (V+1,).
        sequences: (B, T) items, PAD on the right.
        negatives: (N,) item indices.

    >>> tables = tuple(torch.zeros(4, 2) for _ in range(4))
    >>> sequences, negatives = torch.tensor([[1, 2, 0]]), torch.tensor([1, 2, 3])
    >>> loss = next_item_loss(tables, torch.zeros(4), sequences, negatives)
    >>> round(float(loss), 4)  # the next item, 2, among 1 and 3 with equal scores: log 3
    1.0986
    """
    profile, taste, last, following = tables
    inputs, targets = sequences[:, :-1], sequences[:, 1:]
    rows = targets != 0
    count = torch.arange(1, sequences.shape[1])[:, None]
    states = torch.cat(
        [functional.embedding(inputs, profile).cumsum(dim=1) / count, last[inputs]], dim=2
    )[rows]
    targets = targets[rows]
    answers = torch.cat([taste, following], dim=1)
    own = (states * answers[targets]).sum(dim=1) + biases[targets]
    others = torch.addmm(biases[negatives], states, answers[negatives].T)
    others = others.masked_fill(negatives == targets[:, None], -torch.inf)
    return (torch.logaddexp(own, others.logsumexp(dim=1)) - own).mean()
