"""A backbone of convolutions over short windows: Caser."""

import torch
from torch import nn
from torch.nn import functional


class Caser(nn.Module):
    """Horizontal and vertical convolutions over the newest L items of every position.

    [Tang & Wang 2018, §3.2]. The window of a position is the (L, D) matrix of its own vector and
    the L−1 vectors before it, zero where there are none. Horizontal filters of every height
    h = 1..L span whole rows and keep their largest value over the window; vertical filters are
    weighted sums of its L rows. There is no user vector, so that new users can be scored. A linear
    layer replaces the second table of item vectors.

    Args:
        hidden_size: D.
        window: L.
        horizontal: number of horizontal filters per height.
        vertical: number of vertical filters.
        dropout: probability of dropping a feature.
    """

    def __init__(
        self,
        *,
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
        """States (B, T, D) of vectors (B, T, D); the mask (B, T) is not needed.

        Padding on the right is in no window of an earlier position.
        """
        # Zeros before the first item, (B, D, L-1+T), make every window L items long.
        padded = functional.pad(vectors.transpose(1, 2) * self.scale, (self.window - 1, 0))
        maxima = [
            functional.max_pool1d(
                functional.relu(convolution(padded)), self.window - height, stride=1
            ).transpose(1, 2)
            for height, convolution in enumerate(self.horizontal)
        ]
        windows = padded.unfold(2, self.window, 1)  # (B, D, T, L)
        sums = self.vertical(windows).permute(0, 2, 1, 3).flatten(2)  # (B, T, D * vertical)
        features = self.dropout(torch.cat([*maxima, sums], dim=2))
        return self.out(functional.relu(self.features(features)))  # type: ignore[no-any-return]
