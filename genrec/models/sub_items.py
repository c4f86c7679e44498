"""Sub-items, the shared parts of RecJPQ's items, and item scores from sub-item scores."""

import torch
from torch.nn import functional

NUM_CODES = 256  # sub-items per split, so that a code is one byte


def sub_item_rows(codes: torch.Tensor) -> torch.Tensor:
    """Codes (..., m) as int64 rows 256·j + code of the stacked sub-items of all m splits."""
    return codes.long() + NUM_CODES * torch.arange(codes.shape[-1], device=codes.device)


def sum_sub_item_scores(sub_item_scores: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Item scores from sub-item scores: s(n, i) = Σ_j sub_item_scores[j, codes[i, j], n].

    Args:
        sub_item_scores: (m, 256, N) scores of the sub-items for N states.
        codes: (C, m) codes of the items.

    Returns:
        (N, C).

    >>> scores = torch.zeros(2, 256, 1)
    >>> scores[0, 5], scores[1, 7] = 1.0, 10.0
    >>> sum_sub_item_scores(scores, torch.tensor([[5, 7], [5, 0]], dtype=torch.uint8)).tolist()
    [[11.0, 1.0]]
    """
    if sub_item_scores.shape[2] != 1:
        # Several states: the N scores of a sub-item are one row, and an item is a sum of m rows.
        rows = sub_item_scores.flatten(0, 1)
        return functional.embedding_bag(sub_item_rows(codes), rows, mode="sum").T
    # One state: m plain look-ups are faster than sums of rows of length 1.
    total = sub_item_scores[0, :, 0].index_select(0, codes[:, 0].int())
    for split in range(1, len(sub_item_scores)):
        total += sub_item_scores[split, :, 0].index_select(0, codes[:, split].int())
    return total[None]
