"""RecJPQPrune: the exact best items of one state, most items never scored."""

from dataclasses import dataclass

import numpy as np
import torch

from genrec.config.errors import GenrecError
from genrec.models.sub_items import CODES, look_up


@dataclass(frozen=True, eq=False)
class InvertedIndex:
    """Which items have a sub-item.

    Attributes:
        codes: (V+1, m) uint8.
        items: (m, V) item indices, in the order of their codes in that split.
        offsets: m lists of 257; the items of sub-item (j, c) are
            ``items[j, offsets[j][c]:offsets[j][c + 1]]``.
    """

    codes: torch.Tensor
    items: torch.Tensor
    offsets: list[list[int]]

    @classmethod
    def of(cls, codes: torch.Tensor) -> "InvertedIndex":
        """The index of codes (V+1, m); row 0 is PAD and is left out."""
        columns = codes[1:].T.contiguous()
        items = columns.argsort(dim=1, stable=True).int() + 1
        sizes = torch.stack([torch.bincount(column.int(), minlength=CODES) for column in columns])
        offsets = torch.nn.functional.pad(sizes.cumsum(dim=1), (1, 0))
        return cls(codes, items, offsets.tolist())

    def having(self, split: int, codes: torch.Tensor) -> torch.Tensor:
        """Items with one of the codes in a split; each occurs once."""
        ends = self.offsets[split]
        return torch.cat(
            [self.items[split, ends[code] : ends[code + 1]] for code in codes.tolist()]
        )


@torch.no_grad()
def pruned_top_k(
    tables: torch.Tensor,
    index: InvertedIndex,
    k: int,
    blocked: torch.Tensor | None = None,
    batch: int = 8,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best items of one state by dynamic pruning [Petrov et al. 2025b].

    The items of the best sub-items are scored first, ``batch`` sub-items of one split at a time. An
    item that was not scored yet has none of the sub-items tried, so its score is at most σ = Σ_j
    (best score of a sub-item of split j that was not tried). Once σ is below the k-th best score,
    no other item can enter the list. σ is added up in the order of a score's terms, so that
    rounding cannot make it too small.

    Args:
        tables: (m, 256, 1) sub-item scores, see ``JointQuantized.tables``.
        index: of the codes.
        k: how many.
        blocked: (S,) items that may not be recommended.
        batch: sub-items tried at a time.

    Returns:
        Scores and items, both (k,), best first; ties go to the smaller item.

    Raises:
        GenrecError: if fewer than k items are left.
    """
    ranked, order = tables[:, :, 0].sort(dim=1, descending=True)
    best_untried = ranked.cpu().numpy()
    splits, tried = np.arange(len(tables)), np.zeros(len(tables), np.int64)
    allowed = torch.ones(len(index.codes), dtype=torch.bool, device=tables.device)
    if blocked is not None:
        allowed[blocked] = False
    scores, items = tables.new_empty(0), index.items.new_empty(0)
    while tried.max() < CODES:
        heads = best_untried[splits, tried]
        if len(items) == k and np.add.accumulate(heads)[-1] < scores[-1].item():
            break
        split = int(heads.argmax())
        found = index.having(split, order[split, tried[split] : tried[split] + batch])
        found = _promising(tables, index, found[allowed[found]], k, scores)
        if len(found):
            items = torch.cat([items, found]).unique()
            scores, places = look_up(tables, index.codes[items])[0].sort(
                descending=True, stable=True
            )
            scores, items = scores[:k], items[places[:k]]
        tried[split] += batch
    if len(items) < k:
        raise GenrecError(
            f"a list of {k} items was asked for, but only {len(items)} are left; ask for less"
        )
    return scores, items.long()


def _promising(
    tables: torch.Tensor, index: InvertedIndex, items: torch.Tensor, k: int, best: torch.Tensor
) -> torch.Tensor:
    """Those of the distinct items that can still enter the list whose scores so far are
    ``best``."""
    scores = look_up(tables, index.codes[items])[0]
    if len(best) == k:
        return items[scores >= best[-1]]
    return items[scores >= scores.topk(k).values[-1]] if len(items) > k else items
