"""A count-based expert beside a network: what followed the newest items in other sequences."""

import numpy as np
import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences
from genrec.training.early_stopping import Tensors

MOST_ENTRIES = 2**29  # of a dense table, 1 GiB in bfloat16
BLOCK = 1024  # rows of a sparse table that are made dense at a time
# Of the network, and of the newest item; that of the d-th newest is a d-th of it.
NETWORK_WEIGHT, COUNT_WEIGHT = 0.7, 0.25
PREFIX = "expert.rules."  # of the names under which counts are stored beside the weights
PARTS = ("data", "indices", "indptr")


class CountExpert(nn.Module):
    """Combines the scores of a network with sequential rules: a product of experts [Hinton 2002].

    score_i = w_0(h) · s_i + Σ_{d=1..k} w_d(h) · log(1 + N[a_d, i] / s),   w(h) = softplus(G·h + b)

    s_i is the score of the network, a_d the d-th newest item of the history, N[a, i] how often i
    came after a in training, nearer pairs counting more (``genrec.baselines.sequential_rules``),
    and h the state of the network, which decides how much either expert is worth for this history.
    The network is trained by its own loss, and the gate, at the same time, by that of the combined
    scores: a network that learns only what counts do not know loses its own knowledge of the rest.

    In training the counts come from other sequences. Those of a sequence itself know its targets,
    and the gate would rely on them. Subtracting only the target's own occurrence is no remedy: its
    count is then lower than the network remembers it, which gives it away as well. So the sequences
    are divided into F folds, and those of fold f read N^(-f), the counts of all other folds, with
    s·(F-1)/F for s.

    Args:
        num_items: V.
        hidden_size: D.
        order: k.
        smoothing: s.
    """

    def __init__(self, num_items: int, hidden_size: int, *, order: int, smoothing: float) -> None:
        super().__init__()
        self.order, self.smoothing, self.size = order, smoothing, num_items + 1
        self.gate = nn.Linear(hidden_size, 1 + order)
        of_counts = COUNT_WEIGHT / torch.arange(1, order + 1)
        initial = torch.cat([torch.tensor([NETWORK_WEIGHT]), of_counts])
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.copy_(initial.expm1().log())
        # Not weights: they are counted, and stored as counts. ``held_out`` is in training alone.
        self.rules: sparse.csr_matrix | None = None
        self.evidence: RuleTable | None = None
        self.held_out: RuleTable | None = None

    @property
    def folds(self) -> int:
        """F, 0 without tables for training."""
        return 0 if self.held_out is None else self.held_out.rows // self.size

    def assign(self, rules: sparse.csr_matrix) -> None:
        """Set the counts.

        Args:
            rules: (V+1, V+1) N.

        Raises:
            GenrecError: for counts of another shape.
        """
        self.rules = sparse.csr_matrix(rules, dtype=np.float32)
        table = self._logs(self.rules, self.smoothing)
        self.evidence = table_of(table).to(self.gate.weight.device)

    def hold_out(self, folds: list[sparse.csr_matrix]) -> None:
        """Set the counts for training.

        Args:
            folds: (V+1, V+1) counts of the sequences of each fold, which add up to N.

        Raises:
            GenrecError: for fewer than two folds, or counts of another shape.
        """
        if len(folds) < 2:
            raise GenrecError(f"{len(folds)} folds: there must be at least 2 to leave one out")
        smoothing = self.smoothing * (len(folds) - 1) / len(folds)
        total = sum(folds[1:], start=folds[0])
        tables = sparse.vstack([self._logs(total - own, smoothing) for own in folds], format="csr")
        self.held_out = table_of(tables, torch.bfloat16).to(self.gate.weight.device)

    def forward(
        self,
        scores: torch.Tensor,
        states: torch.Tensor,
        recent: torch.Tensor,
        folds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The combined scores.

        Only the gate gets gradients.

        Args:
            scores: (N, V+1) of the network.
            states: (N, D).
            recent: (N, k) newest items of the histories, newest first; PAD where there are fewer.
            folds: (N,) in training: fold of each history, whose counts are left out.

        Returns:
            (N, V+1) float32, -inf at PAD.

        Raises:
            GenrecError: before ``assign``, or ``hold_out`` in training.
        """
        table = self.evidence if folds is None else self.held_out
        if table is None:
            raise GenrecError("this count expert has no counts")
        rows = recent if folds is None else recent + folds[:, None] * self.size
        weights = functional.softplus(self.gate(states.detach()).float())
        items = scores.detach().float()[:, 1:]  # -inf times the gradient of a weight is NaN
        combined = weights[:, :1] * items + table(rows, weights[:, 1:])[:, 1:]
        return functional.pad(combined, (1, 0), value=-torch.inf)

    def newest(self, histories: Sequences) -> torch.Tensor:
        """(B, k) newest items of histories, newest first; PAD where there are fewer."""
        padded = histories.padded(self.order, side="left")[:, ::-1].copy()
        return torch.from_numpy(padded).to(self.gate.weight.device)

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

    def _logs(self, rules: sparse.csr_matrix, smoothing: float) -> sparse.csr_matrix:
        """log(1 + N/s), where differences of sums may have left numbers just below 0."""
        if rules.shape != (self.size, self.size):
            shape = (self.size, self.size)
            raise GenrecError(f"counts have the shape {rules.shape}, not {shape}")
        logs = np.log1p(np.maximum(rules.data, 0) / np.float32(smoothing))
        return sparse.csr_matrix((logs, rules.indices, rules.indptr), shape=rules.shape)


class DenseTable(nn.Module):
    """Weighted sums of the rows of a table of few items, most of whose entries are not 0.

    Args:
        table: (R, C).
        dtype: of the table.
    """

    values: torch.Tensor

    def __init__(self, table: sparse.csr_matrix, dtype: torch.dtype) -> None:
        super().__init__()
        self.rows = table.shape[0]
        values = torch.empty(table.shape, dtype=dtype)
        for start in range(0, self.rows, BLOCK):
            block = torch.from_numpy(table[start : start + BLOCK].toarray())
            values[start : start + BLOCK] = block
        self.register_buffer("values", values, persistent=False)

    def forward(self, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Σ_j weights_nj · table[rows_nj].

        Args:
            rows: (N, k).
            weights: (N, k) float32.

        Returns:
            (N, C) float32.
        """
        weights = weights.to(self.values.dtype)
        return functional.embedding_bag(
            rows, self.values, per_sample_weights=weights, mode="sum"
        ).float()


class SparseTable(nn.Module):
    """Weighted sums of the rows of a table of many items, most of whose entries are 0.

    Args:
        table: (R, C).
    """

    values: torch.Tensor
    columns: torch.Tensor
    starts: torch.Tensor

    def __init__(self, table: sparse.csr_matrix) -> None:
        super().__init__()
        self.rows, self.width = table.shape
        for name, part in (
            ("values", table.data),
            ("columns", table.indices),
            ("starts", table.indptr),
        ):
            self.register_buffer(name, torch.from_numpy(part), persistent=False)

    def forward(self, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """As ``DenseTable.forward``."""
        flat = rows.flatten()
        starts = self.starts[flat].long()
        lengths = self.starts[flat + 1].long() - starts
        # Entry e of the result is entry e - before of the row that owns it.
        owner = torch.repeat_interleave(lengths)
        before = lengths.cumsum(0) - lengths
        entries = torch.arange(len(owner), device=rows.device) + (starts - before)[owner]
        added = weights.flatten()[owner] * self.values[entries]
        places = (owner // rows.shape[1], self.columns[entries].long())
        total = torch.zeros(len(rows), self.width, device=rows.device)
        return total.index_put(places, added, accumulate=True)


RuleTable = DenseTable | SparseTable


def table_of(table: sparse.csr_matrix, dtype: torch.dtype = torch.float32) -> RuleTable:
    """The table in the form that is faster: dense, in that dtype, unless memory forbids it.

    Args:
        table: (R, C).
        dtype: of a dense table; a sparse one is small, and stays in float32.
    """
    rows, columns = table.shape
    return DenseTable(table, dtype) if rows * columns <= MOST_ENTRIES else SparseTable(table)


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
