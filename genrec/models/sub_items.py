"""Sub-items: the shared pieces that RecJPQ's items are made of, and item scores from their
scores."""

import torch
from torch.nn import functional

CODES = 256  # sub-items of a split


def sub_items(codes: torch.Tensor) -> torch.Tensor:
    """Codes (..., m) as rows 256·j + code of all m splits' sub-items stacked, int64."""
    return codes.long() + CODES * torch.arange(codes.shape[-1], device=codes.device)


def look_up(tables: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Item scores from sub-item scores: s(n, i) = Σ_j tables[j, codes[i, j], n].

    Args:
        tables: (m, 256, N).
        codes: (C, m).

    Returns:
        (N, C).

    >>> tables = torch.zeros(2, 256, 1)
    >>> tables[0, 5], tables[1, 7] = 1.0, 10.0
    >>> look_up(tables, torch.tensor([[5, 7], [5, 0]], dtype=torch.uint8)).tolist()
    [[11.0, 1.0]]
    """
    if tables.shape[2] != 1:  # a row of N scores a sub-item: sums of m rows
        rows = tables.flatten(0, 1)
        return functional.embedding_bag(sub_items(codes), rows, mode="sum").T
    total = tables[0, :, 0].index_select(0, codes[:, 0].int())
    for split in range(1, len(tables)):
        total += tables[split, :, 0].index_select(0, codes[:, split].int())
    return total[None]
