"""A count-based expert inside a network: what followed the newest items in training."""

import torch
from scipy import sparse
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.training.early_stopping import Tensors

MOST_ENTRIES = 2**28  # of the table, 1 GiB of float32
DECAY = 0.6  # of the initial weights, that of a tuned Markov chain on MovieLens-1M
INITIAL_WEIGHT = 0.5
PREFIX = "transitions."  # of the names under which counts are stored beside the weights


class Transitions(nn.Module):
    """Adds counts of transitions to the scores of a network: a product of experts.

    score_i += Σ_{d=1..k} w_d(h) · log(1 + C_d[a_d, i] / s),   w(h) = softplus(G·h + b)

    a_d is the d-th newest item of the history, C_d[a, i] how often i came d events after a in
    training, and h the state of the network, which thereby decides how much counting is worth for
    this history and at which distance. Gate and network are trained together, so that the network
    learns what the counts do not know [products of experts: Hinton 2002].

    In training C_d[a_d, y] of the target y is reduced by one, its own occurrence: otherwise every
    target would be known to the counts before it is predicted.

    Args:
        num_items: V.
        hidden_size: D.
        order: k.
        smoothing: s.

    Raises:
        GenrecError: if k·(V+1)² is too large for a table.
    """

    evidence: torch.Tensor

    def __init__(self, num_items: int, hidden_size: int, *, order: int, smoothing: float) -> None:
        super().__init__()
        entries = order * (num_items + 1) ** 2
        if entries > MOST_ENTRIES:
            most = MOST_ENTRIES // (num_items + 1) ** 2
            advice = f"lower teacher.expert.order to {most}" if most else "use an ensemble"
            raise GenrecError(
                f"the transitions of {num_items} items at {order} distances take a table of"
                f" {entries * 4 / 2**30:.1f} GiB, and at most 1 GiB is taken: {advice}"
            )
        self.order, self.smoothing, self.size = order, smoothing, num_items + 1
        self.gate = nn.Linear(hidden_size, order)
        initial = INITIAL_WEIGHT * DECAY ** torch.arange(order)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.copy_(initial.expm1().log())
        # Not a weight: it is counted, and stored as counts, which are sparse.
        self.register_buffer(
            "evidence", torch.zeros(order * self.size, self.size), persistent=False
        )

    def assign(self, counts: sparse.csr_matrix) -> None:
        """Set the counts.

        Args:
            counts: (k·(V+1), V+1); row (d - 1)·(V+1) + a, column i: i came d events after a.

        Raises:
            GenrecError: for counts of another shape.
        """
        if counts.shape != tuple(self.evidence.shape):
            raise GenrecError(
                f"transitions have the shape {counts.shape}, not {tuple(self.evidence.shape)}"
            )
        table = torch.from_numpy(counts.toarray()).to(self.evidence)
        self.evidence.copy_(table.div_(self.smoothing).log1p_())

    def stored_counts(self) -> Tensors:
        """The counts that are not 0, by the names under which they are stored."""
        places = self.evidence.flatten().nonzero()[:, 0].cpu()
        counts = self._counts(self.evidence.flatten().cpu()[places])
        return {f"{PREFIX}places": places, f"{PREFIX}counts": counts.round().int()}

    def load_counts(self, stored: Tensors) -> None:
        """Set the counts to what ``stored_counts`` returned.

        Raises:
            LookupError: if a tensor is missing, or a place is outside the table.
            ValueError: for two tensors of different shapes.
        """
        places, counts = stored[f"{PREFIX}places"].long(), stored[f"{PREFIX}counts"]
        if places.shape != counts.shape or places.dim() != 1:
            raise ValueError(f"{len(counts)} counts of transitions for {len(places)} places")
        if len(places) and not 0 <= int(places.min()) <= int(places.max()) < self.evidence.numel():
            raise IndexError("a transition is outside the table")
        flat = torch.zeros(self.evidence.numel())
        flat[places] = torch.log1p(counts.float() / self.smoothing)
        self.evidence.copy_(flat.view_as(self.evidence))

    def forward(
        self, states: torch.Tensor, recent: torch.Tensor, targets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What is added to the scores.

        Args:
            states: (N, D).
            recent: (N, k) newest items of the histories, newest first; PAD where there are fewer.
            targets: (N,) in training, whose own occurrences are not counted.

        Returns:
            (N, V+1) float32.
        """
        rows = recent + torch.arange(self.order, device=recent.device) * self.size
        weights = functional.softplus(self.gate(states).float())
        added = functional.embedding_bag(
            rows, self.evidence, per_sample_weights=weights, mode="sum"
        )
        if targets is None:
            return added
        own = self.evidence[rows, targets[:, None]]
        others = torch.log1p((self._counts(own) - 1).clamp(min=0) / self.smoothing)
        correction = (weights * (others - own)).sum(dim=1, keepdim=True)
        return added.scatter_add(1, targets[:, None], correction)

    def _counts(self, evidence: torch.Tensor) -> torch.Tensor:
        """The counts behind entries of the table."""
        return self.smoothing * torch.expm1(evidence)


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
