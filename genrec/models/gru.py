"""A recurrent backbone: GRU4Rec."""

import torch
from torch import nn


class GRU(nn.Module):
    """Gated recurrent layers over item vectors [Hidasi et al. 2016, §3.1].

    A linear layer maps the last layer's states to the space of item vectors; it replaces the second
    table of item vectors.

    Args:
        hidden_size: D, width of vectors and states.
        layers: number of layers.
        dropout: probability of dropping an activation, at the input and between layers.
    """

    def __init__(self, *, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.scale = hidden_size**0.5
        self.dropout = nn.Dropout(dropout)
        between = dropout if layers > 1 else 0.0  # PyTorch warns about dropout after a single layer
        self.layers = nn.GRU(hidden_size, hidden_size, layers, batch_first=True, dropout=between)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States (B, T, D) of vectors (B, T, D); the mask (B, T) is not needed.

        Padding on the right comes after every real item and does not reach its state.
        """
        states, _ = self.layers(self.dropout(vectors * self.scale))
        return self.out(states)  # type: ignore[no-any-return]
