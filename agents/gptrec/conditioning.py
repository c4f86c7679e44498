"""What a policy is told of the weights it should write for."""

import torch
from torch import nn

from genrec.rewards.ranges import Ranges, require_ranges


class Conditioning(nn.Module):
    """Weights (H, C) to a vector (H, D) that joins the embeddings of SEP and of every list item.

    Of each weight the share of the way through its range counts
    (``genrec.rewards.ranges.weight_at``), scaled to −1 at the low and 1 at the high end. The last
    layer starts at zero, so that a policy that was just conditioned writes what it wrote before.

    Args:
        ranges: name of a reward -> low and high end of its weight; C of them.
        hidden_size: D.
    """

    def __init__(self, ranges: Ranges, hidden_size: int) -> None:
        super().__init__()
        require_ranges(ranges)
        self.ranges = {name: (float(low), float(high)) for name, (low, high) in ranges.items()}
        last = nn.Linear(hidden_size, hidden_size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(len(ranges), hidden_size), nn.GELU(), last)

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """(H, C) to (H, D)."""
        low, high = torch.tensor(
            list(self.ranges.values()), dtype=weights.dtype, device=weights.device
        ).unbind(dim=1)
        return self.layers(2 * ((weights - low) / (high - low)).clamp(0, 1).sqrt() - 1)  # type: ignore[no-any-return]
