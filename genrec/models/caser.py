"""A convolutional backbone over short windows: Caser."""

import torch
from torch import nn
from torch.nn import functional


class Caser(nn.Module):
    """Horizontal and vertical convolutions over the newest L items of every position [Tang & Wang
    2018, §3.2].

    The window of a position is the (L, D) matrix of its own and the L−1 vectors before it, zero
    where there are none. Horizontal filters of every height h = 1..L see whole rows and keep their
    largest value over the window; vertical filters are weighted sums of its L rows. There is no
    user vector, so that new users can be scored. A linear layer stands in for the second table of
    items.

    Args:
        hidden_size: D.
        window: L.
        horizontal: filters of each height.
        vertical: vertical filters.
        dropout: share of dropped features.
    """

    def __init__(
        self,
        hidden_size: int,
        window: int = 5,
        horizontal: int = 16,
        vertical: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = hidden_size**0.5
        self.window = window
        self.horizontal = nn.ModuleList(
            nn.Conv1d(hidden_size, horizontal, h) for h in range(1, window + 1)
        )
        self.vertical = nn.Linear(window, vertical, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.features = nn.Linear(window * horizontal + hidden_size * vertical, hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States (B, T, D) of vectors (B, T, D); padding on the right is in no earlier window."""
        padded = functional.pad(
            vectors.transpose(1, 2) * self.scale, (self.window - 1, 0)
        )  # (B, D, L-1+T)
        maxima = [
            functional.max_pool1d(
                functional.relu(convolution(padded)), self.window - height, stride=1
            )
            for height, convolution in enumerate(self.horizontal)
        ]
        sums = (
            self.vertical(padded.unfold(2, self.window, 1)).permute(0, 2, 1, 3).flatten(2)
        )  # (B, T, D * vertical)
        found = torch.cat([*(maximum.transpose(1, 2) for maximum in maxima), sums], dim=2)
        return self.out(functional.relu(self.features(self.dropout(found))))  # type: ignore[no-any-return]
