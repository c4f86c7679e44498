"""Item embeddings: they map item ids to input vectors and output states to item scores."""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.recommender import top_k


class Embedding(Protocol):
    """The interface of an item embedding, which is also a module."""

    num_items: int

    @property
    def mask_id(self) -> int:
        """Index of the MASK token, V+1."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        ...

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        ...

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        ...

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with item vectors.

        Args:
            hidden: (N, D) states.
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for
                different items per row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        ...

    def top_k(
        self, hidden: torch.Tensor, k: int, blocked: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best items of each state: those that a stable sort of ``score`` puts first.

        Args:
            hidden: (N, D) states.
            k: number of items.
            blocked: (N, S) items that may not be recommended, padded with PAD.

        Returns:
            Scores and items, both (N, k), best first.

        Raises:
            GenrecError: if fewer than k items are left for a state.
        """
        ...


class Table(nn.Module):
    """One trainable vector per item, shared by input and output.

    Row 0 is PAD and stays zero. Row V+1 is the MASK token, which can be an input but is never
    recommended.

    Args:
        num_items: V.
        hidden_size: D.
        bias: whether every item has a number that is added to its scores.
    """

    excluded: torch.Tensor

    def __init__(self, num_items: int, hidden_size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.num_items = num_items
        self.weight = nn.Parameter(torch.empty(num_items + 2, hidden_size).normal_(std=0.02))
        with torch.no_grad():
            self.weight[0] = 0
        # Added to the scores of all items within their matrix product, it costs nothing.
        excluded = torch.zeros(num_items + 1)
        excluded[0] = -torch.inf
        self.register_buffer("excluded", excluded, persistent=False)
        self.bias = nn.Parameter(torch.zeros(num_items + 1)) if bias else None

    @property
    def mask_id(self) -> int:
        """Index of the MASK token, V+1."""
        return self.num_items + 1

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.weight.device

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        # The padding index keeps the gradient of PAD at zero, and thereby its vector.
        return functional.embedding(ids, self.weight, padding_idx=0)

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        return self.weight[: self.num_items + 1]

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with item vectors.

        Args:
            hidden: (N, D) states.
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for
                different items per row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        if ids is not None and ids.dim() == 1:
            scores = hidden @ self.weight[ids].T
            return scores if self.bias is None else scores + self.bias[ids]
        if ids is not None and are_few(ids.shape[1], self.num_items):
            scores = torch.einsum("nd,ncd->nc", hidden, self.weight[ids])
            return scores if self.bias is None else scores + self.bias[ids]
        # For many items per row one product with all vectors is faster than gathering C vectors.
        added = self.excluded if self.bias is None else self.excluded + self.bias
        scores = torch.addmm(added.to(hidden.dtype), hidden, self.vectors().T)
        return scores if ids is None else scores.gather(1, ids)

    @torch.no_grad()
    def top_k(
        self, hidden: torch.Tensor, k: int, blocked: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The k best items of each state, from the scores of all items; see ``Embedding.top_k``.

        Raises:
            GenrecError: if fewer than k items are left for a state.
        """
        scores = self.score(hidden)
        if blocked is not None:
            scores.scatter_(1, blocked, -torch.inf)
        best, items = top_k(scores, k)
        require_filled(best, k, self.num_items)
        return best, items


def are_few(num_candidates: int, num_items: int) -> bool:
    """Whether scoring so many items per row one by one is cheaper than scoring the catalogue."""
    # From about a sixteenth of the catalogue on, one matrix product with all vectors is faster.
    return num_candidates * 16 < num_items


def require_filled(best: torch.Tensor, k: int, num_items: int) -> None:
    """Check that every row of the best scores (N, k) has k items.

    Raises:
        GenrecError: if a row is shorter than k or holds -inf.
    """
    if best.shape[1] < k or (best == -torch.inf).any():
        raise GenrecError(
            f"a list of {k} items was requested, but fewer of the {num_items} items are left;"
            " request a shorter list"
        )
