"""A recurrent backbone: GRU4Rec."""

import torch
from torch import nn


class GRU(nn.Module):
    """Gated recurrent layers over item vectors [Hidasi et al. 2016, §3.1].

    A linear layer takes the last layer's states to the space of item vectors, in place of a second
    table of items.

    Args:
        hidden_size: D, of vectors and states.
        layers: number of layers.
        dropout: share of dropped activations, at the input and between layers.
    """

    def __init__(self, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.scale = hidden_size**0.5
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0
        self.layers = nn.GRU(hidden_size, hidden_size, layers, batch_first=True, dropout=between)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States (B, T, D) of vectors (B, T, D), padded on the right: what follows an item does not
        reach its state."""
        states, _ = self.layers(self.dropout(vectors * self.scale))
        return self.out(states)  # type: ignore[no-any-return]
