"""Item embeddings: ids to vectors on the way in, vectors to scores on the way out."""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional


class Embedding(Protocol):
    """What a scorer needs of its item embedding, which is a module."""

    num_items: int

    @property
    def mask_id(self) -> int:
        """Index of the MASK token, V+1."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        ...

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        ...

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with items.

        Args:
            hidden: (N, D).
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for items of each row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        ...


class Table(nn.Module):
    """One trainable vector an item, shared by input and output.

    Row 0 is PAD and stays zero; row V+1 is the MASK token, which can be an input and never a recommendation.

    Args:
        num_items: V.
        hidden_size: D.
    """

    excluded: torch.Tensor

    def __init__(self, num_items: int, hidden_size: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.weight = nn.Parameter(torch.empty(num_items + 2, hidden_size).normal_(std=0.02))
        with torch.no_grad():
            self.weight[0] = 0
        never = torch.zeros(num_items + 1)
        never[0] = -torch.inf
        self.register_buffer("excluded", never, persistent=False)

    @property
    def mask_id(self) -> int:
        """Index of the MASK token, V+1."""
        return self.num_items + 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.weight.device

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Vectors (..., D) of ids (...); PAD is the zero vector and gets no gradient."""
        return functional.embedding(ids, self.weight, padding_idx=0)

    def vectors(self) -> torch.Tensor:
        """(V+1, D) vectors of all items; row 0 is PAD."""
        return self.weight[: self.num_items + 1]

    def score(self, hidden: torch.Tensor, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Dot products of states with items.

        Args:
            hidden: (N, D).
            ids: None for the whole catalogue, (C,) for the same items in every row, (N, C) for items of each row.

        Returns:
            (N, V+1) with -inf at PAD, or (N, C).
        """
        if ids is not None and ids.dim() == 1:
            return hidden @ self.weight[ids].T
        if ids is not None and ids.shape[1] * 16 < self.num_items:
            return torch.einsum("nd,ncd->nc", hidden, self.weight[ids])
        scores = torch.addmm(self.excluded.to(hidden.dtype), hidden, self.vectors().T)
        return scores if ids is None else scores.gather(1, ids)  # one product beats gathering C vectors a row
