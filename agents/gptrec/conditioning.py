"""Conditioning of a policy on the reward weights that its lists should serve."""

import torch
from torch import nn

from genrec.rewards.ranges import Ranges, require_ranges


class Conditioning(nn.Module):
    """Map from reward weights (H, C) to a vector (H, D) added to token embeddings.

    The vector is added to the embeddings of SEP and of every list item. Each weight w enters as its
    share of the way through its range, √((w − low) / (high − low)), the inverse of
    ``genrec.rewards.ranges.weight_at``, scaled from −1 at the low end to 1 at the high end. The
    last layer starts at zero, so conditioning a trained policy does not change its lists until it
    is trained further.

    Args:
        ranges: reward name -> low and high end of its weight; C of them.
        hidden_size: D.

    Raises:
        GenrecError: if the ends of a range are not finite or do not rise.
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
        """Vectors (H, D) of weights (H, C), whose columns follow the order of the ranges."""
        ends = torch.tensor(list(self.ranges.values()), dtype=weights.dtype, device=weights.device)
        low, high = ends.unbind(dim=1)
        share = ((weights - low) / (high - low)).clamp(0, 1).sqrt()
        return self.layers(2 * share - 1)  # type: ignore[no-any-return]


def seeded_conditioning(ranges: Ranges, hidden_size: int, *, seed: int) -> Conditioning:
    """New conditioning layers drawn from a seed; torch's global generator is left unchanged."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Conditioning(ranges, hidden_size)
