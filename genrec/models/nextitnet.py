"""A backbone of dilated convolutions with a long receptive field: NextItNet."""

import torch
from torch import nn
from torch.nn import functional


class NextItNet(nn.Module):
    """Residual blocks of dilated causal convolutions [Yuan et al. 2019, §3.3].

    Args:
        hidden_size: D, the number of channels.
        blocks: number of repetitions of the dilations 1 and 4, which have one residual block each.
        kernel: width of a convolution.
        dropout: probability of dropping an activation at the input.
    """

    def __init__(
        self, *, hidden_size: int, blocks: int, kernel: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.scale = hidden_size**0.5
        self.dropout = nn.Dropout(dropout)
        # A block has the dilations d and 2 d: 1, 2, 4 and 8 per repetition.
        self.blocks = nn.ModuleList(
            ResidualBlock(hidden_size, kernel, dilation) for dilation in [1, 4] * blocks
        )
        self.out = nn.Linear(hidden_size, hidden_size)  # to the space of item vectors

    def forward(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States (B, T, D) of vectors (B, T, D); the mask (B, T) is not needed.

        Padding on the right comes after every real item and does not reach its state.
        """
        x = self.dropout(vectors * self.scale)
        for block in self.blocks:
            x = block(x)
        return self.out(x)  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """x plus two rounds of convolution, layer norm and ReLU, the second with twice the dilation.

    Args:
        hidden_size: D.
        kernel: width of a convolution.
        dilation: dilation of the first convolution.
    """

    def __init__(self, hidden_size: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(hidden_size, hidden_size, kernel, dilation=dilation)
        self.second = nn.Conv1d(hidden_size, hidden_size, kernel, dilation=2 * dilation)
        self.first_norm = nn.LayerNorm(hidden_size)
        self.second_norm = nn.LayerNorm(hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, D) to (B, T, D)."""
        inner = functional.relu(self.first_norm(_causal_convolution(self.first, x)))
        return x + functional.relu(self.second_norm(_causal_convolution(self.second, inner)))


def _causal_convolution(convolution: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """(B, T, D) to (B, T, D); zeros on the left keep later positions out."""
    past = (convolution.kernel_size[0] - 1) * convolution.dilation[0]
    padded = functional.pad(x.transpose(1, 2), (past, 0))
    states: torch.Tensor = convolution(padded).transpose(1, 2)
    return states
