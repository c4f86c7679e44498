"""Encoded histories, and the masks of the lists that continue them."""

from dataclasses import dataclass

import torch
from transformers import DynamicCache

from genrec.config.errors import GenrecError


@dataclass(eq=False)
class Prefix:
    """H encoded histories, each ending in SEP, that any number of lists can continue.

    Attributes:
        cache: keys and values of the prefix tokens, (H, heads, P, D/heads) per layer; those of list
            items are appended to it.
        visible: (H, P) True at real tokens, False at padding.
        state: (H, D) last hidden state of SEP, which predicts the first item.
        blocked: (H, V+2) True at tokens that no list may hold: PAD, SEP and every item of the whole
            history.
        condition: (H, D) vectors of the reward weights that the lists are conditioned on; None for
            a policy without conditioning.
    """

    cache: DynamicCache
    visible: torch.Tensor
    state: torch.Tensor
    blocked: torch.Tensor
    condition: torch.Tensor | None = None


def prefix_mask(visible: torch.Tensor) -> torch.Tensor:
    """(H, P, P) True where prefix token i attends to token j: causal, padding left out.

    Args:
        visible: (H, P) True at real tokens.
    """
    width = visible.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=visible.device).tril()
    # Padding attends to itself: a row without any key would give a softmax of NaN.
    itself = torch.eye(width, dtype=torch.bool, device=visible.device)
    return (causal & visible[:, None, :]) | itself


def list_mask(visible: torch.Tensor, *, lists: int, start: int, new: int) -> torch.Tensor:
    """(H, G·n, P + G·s + G·n) which keys the new items of G lists per history attend to.

    A new item attends to the history, SEP, and the items of its own list up to itself. Queries are
    ordered list by list: item i of list g is row g·n + i.

    Args:
        visible: (H, P) True at real prefix tokens.
        lists: G, lists per history.
        start: s, items of each list that are in the cache already.
        new: n, new items per list.
    """
    histories, known = visible.shape
    own = torch.eye(lists, dtype=torch.bool, device=visible.device)
    # Items reached the cache one position at a time, each time for all G lists: the columns of
    # cached items run over the lists first, (position 1: lists 1..G), (position 2: lists 1..G), ...
    cached = own[:, None, :].expand(lists, new, lists).repeat(1, 1, start)
    cached = cached.reshape(lists * new, lists * start)
    # The new items come together, list by list: one causal block per list on the diagonal.
    causal = torch.ones(new, new, dtype=torch.bool, device=visible.device).tril()
    current = torch.kron(own.to(torch.uint8), causal.to(torch.uint8)).bool()
    items = torch.cat([cached, current], dim=1).expand(histories, -1, -1)
    return torch.cat([visible[:, None, :].expand(-1, lists * new, known), items], dim=2)


def attention_bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask as numbers added to attention logits: 0 where True, else the type's minimum."""
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def placed_before(slates: torch.Tensor) -> torch.Tensor:
    """(H, G, K, K) the items placed before each position of slates (H, G, K), 0 elsewhere.

    The filler 0 is PAD, which is blocked everywhere.

    >>> placed_before(torch.tensor([[[7, 8, 9]]])).tolist()
    [[[[0, 0, 0], [7, 0, 0], [7, 8, 0]]]]
    """
    k = slates.shape[2]
    before = torch.ones(k, k, dtype=torch.bool, device=slates.device).tril(-1)
    return torch.where(before, slates[:, :, None, :], 0)


def require_room(blocked: torch.Tensor, k: int) -> None:
    """Check that every history leaves enough items for a list.

    Args:
        blocked: (H, V+2) True at tokens that no list may hold.
        k: length of a list.

    Raises:
        GenrecError: naming the first history that leaves fewer than k items.
    """
    left = (~blocked).sum(dim=1)
    if int(left.min()) < k:
        row = int(left.argmin())
        raise GenrecError(
            f"history {row} leaves {int(left[row])} items for a list of {k}: ask for a shorter list"
        )
