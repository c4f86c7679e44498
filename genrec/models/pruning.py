"""RecJPQPrune: the exact best items of one state, without scoring most items."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from genrec.config.errors import GenrecError
from genrec.models.sub_items import NUM_CODES, sum_sub_item_scores


@dataclass(frozen=True, eq=False)
class InvertedIndex:
    """From each sub-item to the items that have it.

    Attributes:
        codes: (V+1, m) uint8.
        items: (m, V) item indices, per split in the order of their codes.
        offsets: m lists of 257; the items of sub-item (j, c) are
            ``items[j, offsets[j][c]:offsets[j][c + 1]]``.
    """

    codes: torch.Tensor
    items: torch.Tensor
    offsets: list[list[int]]

    @classmethod
    def of(cls, codes: torch.Tensor) -> "InvertedIndex":
        """The index of codes (V+1, m), without row 0 (PAD)."""
        columns = codes[1:].T.contiguous()
        items = columns.argsort(dim=1, stable=True).int() + 1
        counts = [torch.bincount(column.int(), minlength=NUM_CODES) for column in columns]
        offsets = functional.pad(torch.stack(counts).cumsum(dim=1), (1, 0))
        return cls(codes, items, offsets.tolist())

    def items_with(self, split: int, codes: torch.Tensor) -> torch.Tensor:
        """Items that have one of the different codes in a split; each occurs once."""
        ends = self.offsets[split]
        parts = [self.items[split, ends[code] : ends[code + 1]] for code in codes.tolist()]
        return torch.cat(parts)


@torch.no_grad()
def pruned_top_k(
    sub_item_scores: torch.Tensor,
    index: InvertedIndex,
    k: int,
    *,
    blocked: torch.Tensor | None = None,
    batch: int = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best items of one state by dynamic pruning [Petrov et al. 2025b].

    The items of the best sub-items are scored first, ``batch`` sub-items of one split at a time. An
    item that has not been scored has none of the sub-items tried so far, so its score is at most
    σ = Σ_j (best score of an untried sub-item of split j). Once σ is below the k-th best score, no
    other item can enter the list.

    Args:
        sub_item_scores: (m, 256, 1), see ``JointQuantized.sub_item_scores``.
        index: index of the codes.
        k: number of items.
        blocked: (S,) items that may not be recommended.
        batch: number of sub-items tried at a time.

    Returns:
        Scores and items, both (k,), best first; ties go to the smaller item.

    Raises:
        GenrecError: if fewer than k items are left.
    """
    ranked, order = sub_item_scores[:, :, 0].sort(dim=1, descending=True)
    sorted_scores = ranked.cpu().numpy()
    num_splits = len(sub_item_scores)
    splits, tried = np.arange(num_splits), np.zeros(num_splits, np.int64)
    # A mask over all items: blocked ones are removed before they are scored.
    allowed = torch.ones(len(index.codes), dtype=torch.bool, device=sub_item_scores.device)
    if blocked is not None:
        allowed[blocked] = False
    scores, items = sub_item_scores.new_empty(0), index.items.new_empty(0)
    while tried.max() < NUM_CODES:
        best_untried = sorted_scores[splits, tried]
        # σ is summed in the order of a score's terms, so that rounding cannot make it too small.
        if len(items) == k and np.add.accumulate(best_untried)[-1] < scores[-1].item():
            break
        # The best untried sub-item of all splits contributes most to σ.
        split = int(best_untried.argmax())
        codes = order[split, tried[split] : tried[split] + batch]
        found = index.items_with(split, codes)
        found = found[allowed[found]]
        found_scores = sum_sub_item_scores(sub_item_scores, index.codes[found])[0]
        found = found[_can_enter(found_scores, k, scores)]
        if len(found):
            items = torch.cat([items, found]).unique()
            scores = sum_sub_item_scores(sub_item_scores, index.codes[items])[0]
            scores, places = scores.sort(descending=True, stable=True)
            scores, items = scores[:k], items[places[:k]]
        tried[split] += batch
    if len(items) < k:
        raise GenrecError(
            f"a list of {k} items was requested, but only {len(items)} are left; request a shorter"
            " list"
        )
    return scores, items.long()


def _can_enter(scores: torch.Tensor, k: int, best: torch.Tensor) -> torch.Tensor:
    """Which scores (C,) of different items can enter a list whose scores so far are ``best``."""
    if len(best) == k:
        return scores >= best[-1]
    if len(scores) > k:
        return scores >= scores.topk(k).values[-1]
    return torch.ones_like(scores, dtype=torch.bool)
