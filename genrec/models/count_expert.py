"""A count-based expert inside a network: what followed the newest items in other sequences."""

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.training.early_stopping import Tensors

MOST_ENTRIES = 2**29  # of all tables, 2 GiB of float32
INITIAL_WEIGHT = 0.4  # of the newest item; that of the d-th newest is a d-th of it
PREFIX = "expert.rules."  # of the names under which counts are stored beside the weights
PARTS = ("data", "indices", "indptr")


class CountExpert(nn.Module):
    """Adds sequential rules to the scores of a network: a product of experts.

    score_i += Σ_{d=1..k} w_d(h) · log(1 + N[a_d, i] / s),   w(h) = softplus(G·h + b)

    a_d is the d-th newest item of the history, N[a, i] how often i came after a in training, nearer
    pairs counting more (``genrec.baselines.sequential_rules``), and h the state of the network,
    which thereby decides how much counting is worth for this history and each of its items. Gate
    and network are trained together, so that the network learns what counts do not know [products
    of experts: Hinton 2002].

    In training the counts come from other sequences. Those of a sequence itself know its targets,
    and a network soon relies on them. Subtracting only the target's own occurrence is no remedy:
    its count is then lower than the network remembers it, which gives it away as well. So the
    sequences are divided into F folds, and those of fold f read N^(-f), the counts of all other
    folds, with s·(F-1)/F for s.

    Args:
        num_items: V.
        hidden_size: D.
        order: k.
        smoothing: s.

    Raises:
        GenrecError: if a table of V² counts is too large.
    """

    evidence: torch.Tensor
    held_out: torch.Tensor | None

    def __init__(self, num_items: int, hidden_size: int, *, order: int, smoothing: float) -> None:
        super().__init__()
        self.order, self.smoothing, self.size = order, smoothing, num_items + 1
        self._require_memory(1)
        self.gate = nn.Linear(hidden_size, order)
        initial = INITIAL_WEIGHT / torch.arange(1, order + 1)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.copy_(initial.expm1().log())
        # Not weights: they are counted, and stored as counts. ``held_out`` is in training alone.
        self.rules: sparse.csr_matrix | None = None
        self.register_buffer("evidence", torch.zeros(self.size, self.size), persistent=False)
        self.register_buffer("held_out", None, persistent=False)

    @property
    def folds(self) -> int:
        """F, 0 without tables for training."""
        return 0 if self.held_out is None else len(self.held_out) // self.size

    def assign(self, rules: sparse.csr_matrix) -> None:
        """Set the counts.

        Args:
            rules: (V+1, V+1) N.

        Raises:
            GenrecError: for counts of another shape.
        """
        self.rules = sparse.csr_matrix(rules, dtype=np.float32)
        self.evidence.copy_(self._logs(rules, self.smoothing))

    def hold_out(self, folds: list[sparse.csr_matrix]) -> None:
        """Set the counts for training, from those of ``assign``.

        Args:
            folds: (V+1, V+1) counts of the sequences of each fold, which add up to N.

        Raises:
            GenrecError: for fewer than two folds, counts of another shape, or tables beyond memory.
        """
        if len(folds) < 2:
            raise GenrecError(f"{len(folds)} folds: there must be at least 2 to leave one out")
        self._require_memory(1 + len(folds))
        smoothing = self.smoothing * (len(folds) - 1) / len(folds)
        total = sum(folds[1:], start=folds[0])
        tables = [self._logs(total - own, smoothing).bfloat16() for own in folds]
        self.held_out = torch.cat(tables).to(self.evidence.device)

    def forward(
        self, states: torch.Tensor, recent: torch.Tensor, folds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What is added to the scores.

        Args:
            states: (N, D).
            recent: (N, k) newest items of the histories, newest first; PAD where there are fewer.
            folds: (N,) in training: fold of each history, whose counts are left out.

        Returns:
            (N, V+1) float32.
        """
        table, rows = self.evidence, recent
        if folds is not None:
            assert self.held_out is not None
            table, rows = self.held_out, recent + folds[:, None] * self.size
        weights = functional.softplus(self.gate(states).float()).to(table.dtype)
        added = functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        return added.float()

    def training_inputs(
        self, inputs: torch.Tensor, positions: torch.Tensor, sequences: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``forward`` takes beside the states of a training batch: recent items, and folds.

        Sequence i is in fold i mod F.

        Args:
            inputs: (B, T) item indices, padded on the right.
            positions: (N,) indices into the B·T flattened positions.
            sequences: (B,) which of the training sequences the rows are.

        Raises:
            GenrecError: without sequences, or without counts to leave out.
        """
        if sequences is None or not self.folds:
            raise GenrecError("a count expert is trained with counts held out by sequence")
        folds = (sequences % self.folds)[positions // inputs.shape[1]]
        return recent_items(inputs, positions, self.order), folds

    def stored_counts(self) -> Tensors:
        """The counts of ``assign``, by the names under which they are stored.

        Raises:
            GenrecError: before ``assign``.
        """
        if self.rules is None:
            raise GenrecError("this count expert has no counts")
        return {PREFIX + name: torch.from_numpy(getattr(self.rules, name)) for name in PARTS}

    def load_counts(self, stored: Tensors) -> None:
        """Set the counts to what ``stored_counts`` returned.

        Raises:
            LookupError: if a tensor is missing.
            ValueError: for tensors that do not fit each other or the table.
        """
        parts = tuple(stored[PREFIX + name].numpy() for name in PARTS)
        rules = sparse.csr_matrix(parts, shape=(self.size, self.size))
        rules.check_format(full_check=True)
        self.assign(rules)

    def _logs(self, rules: sparse.csr_matrix, smoothing: float) -> torch.Tensor:
        """log(1 + N/s), where differences of sums may have left numbers just below 0."""
        if rules.shape != (self.size, self.size):
            shape = (self.size, self.size)
            raise GenrecError(f"counts have the shape {rules.shape}, not {shape}")
        table = torch.from_numpy(rules.toarray()).float()
        return table.clamp_(min=0).div_(smoothing).log1p_()

    def _require_memory(self, tables: int) -> None:
        entries = tables * self.size**2
        if entries > MOST_ENTRIES:
            raise GenrecError(
                f"the counts of {self.size - 1} items take {entries * 4 / 2**30:.1f} GiB in"
                f" {tables} tables, and at most {MOST_ENTRIES * 4 / 2**30:.0f} GiB are taken: lower"
                " teacher.expert.folds, or combine the network with sequential_rules in an"
                " ensemble"
            )


def recent_items(inputs: torch.Tensor, positions: torch.Tensor, count: int) -> torch.Tensor:
    """(N, count) the newest items at some positions, newest first; PAD where there are fewer.

    Args:
        inputs: (B, T) item indices, padded on the right.
        positions: (N,) indices into the B·T flattened positions.
        count: number of items.

    >>> recent_items(torch.tensor([[4, 5, 6], [7, 0, 0]]), torch.tensor([1, 2, 3]), 3).tolist()
    [[5, 4, 0], [6, 5, 4], [7, 0, 0]]
    """
    length = inputs.shape[1]
    rows, columns = positions // length, positions % length
    padded = functional.pad(inputs, (count - 1, 0))
    offsets = count - 1 - torch.arange(count, device=inputs.device)
    return padded[rows[:, None], columns[:, None] + offsets]
