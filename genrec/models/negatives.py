"""Negative items: proposals, from which they are drawn, and targets that share draws."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from genrec.config.errors import GenrecError
from genrec.models.objectives import Batch

Negatives = Callable[[Batch, torch.Generator], torch.Tensor | None]
"""A batch and a generator -> ids (N, C) per row, (C,) for all rows, or None for the whole
catalogue."""

Sharing = Literal[False, "sequence", "batch"]
REJECTED = 0  # PAD, which no proposal draws


def catalogue(batch: Batch, generator: torch.Generator) -> None:
    """Negatives are the whole catalogue: nothing is drawn."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A distribution q over items from which negatives are drawn.

    Attributes:
        draw: maps a batch, a count and a generator to that many ids, drawn with replacement.
        log_q: (V+1,) log q_i; -inf where item i is never drawn, as for PAD.
    """

    draw: Callable[[Batch, int, torch.Generator], torch.Tensor]
    log_q: torch.Tensor


@dataclass(frozen=True, eq=False)
class Sampled:
    """Draws of a fixed number of negatives from a proposal.

    Attributes:
        proposal: the distribution of the negatives.
        num_negatives: k, the number of draws.
        shared: which targets share a draw: none (False), those of a sequence, which saves draws
            [Klenitskiy & Vasilev 2023], or those of the whole batch, which makes scoring one matrix
            product.
        reject_history: whether items of the row's own sequence, as far as the batch contains it,
            are excluded.

    Raises:
        GenrecError: if negatives shared by the batch are to exclude each sequence's own items.
    """

    proposal: Proposal
    num_negatives: int
    shared: Sharing = False
    reject_history: bool = False

    def __post_init__(self) -> None:
        if self.shared == "batch" and self.reject_history:
            raise GenrecError(
                "negatives that a whole batch shares cannot exclude each sequence's own items: set"
                " teacher.negatives.shared=sequence, or teacher.negatives.reject_history=false"
            )

    def __call__(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Ids of negatives: (C,) for all rows where the batch shares them, (N, C) otherwise.

        A rejected id is replaced by the row's target, which ``Recipe.score_candidates`` excludes.
        """
        if self.shared == "batch":  # one row of ids, which is scored in one matrix product
            return self.proposal.draw(batch, self.num_negatives, generator)
        sequence = batch.positions // batch.inputs.shape[1]  # (N,) the sequence of each row
        every_sequence = torch.arange(len(batch.inputs), device=sequence.device)
        owners = every_sequence if self.shared else sequence
        drawn = self.proposal.draw(batch, len(owners) * self.num_negatives, generator)
        ids = drawn.view(len(owners), -1)
        if self.reject_history:
            ids = ids.masked_fill(_is_own_item(batch, owners, ids), REJECTED)
        ids = ids[sequence] if self.shared else ids
        if self.reject_history:
            ids = torch.where(ids == REJECTED, batch.targets[:, None], ids)
        return ids

    @property
    def log_expected(self) -> torch.Tensor:
        """(V+1,) log(k·q_i), the log of how often item i is expected among the draws of a row."""
        return self.proposal.log_q + math.log(self.num_negatives)


def uniform(num_items: int) -> Proposal:
    """The uniform distribution over items [Kang & McAuley 2018, §3.5].

    Args:
        num_items: V.
    """

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(1, num_items + 1, (count,), generator=generator)
        return drawn.to(batch.targets.device)

    log_q = torch.full((num_items + 1,), -math.log(num_items))
    log_q[0] = -torch.inf
    return Proposal(draw, log_q)


def popular(counts: torch.Tensor, power: float = 1.0) -> Proposal:
    """Item i with probability ∝ counts_i^power.

    Args:
        counts: (V+1,) number of training events per item; PAD (0) is never drawn.
        power: 1 for popularity, 0 for a uniform distribution over the items that occur.

    Raises:
        GenrecError: if no item occurs.
    """
    # Relative to the largest count, so that no power overflows.
    share = counts.double() / counts.max().clamp(min=1)
    weights = torch.where(counts > 0, share**power, 0.0)
    weights[0] = 0
    if not weights.any():
        raise GenrecError(
            "no item has a count above 0: negatives by popularity need the numbers of training"
            " events"
        )

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
        return drawn.to(batch.targets.device)

    return Proposal(draw, (weights / weights.sum()).log().float())


def in_batch(counts: torch.Tensor) -> Proposal:
    """Targets of the same batch.

    Over many batches an item is drawn in proportion to its number of training events.

    Args:
        counts: (V+1,) number of training events per item, for log q.
    """

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(batch.targets), (count,), generator=generator)
        return batch.targets[drawn.to(batch.targets.device)]

    return Proposal(draw, popular(counts).log_q)


def _is_own_item(batch: Batch, owners: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Whether ids (M, C) are inputs or targets of the sequences ``owners`` (M,), (M, C).

    Pairs of sequence and item are numbers that are searched in a sorted list, since a table of all
    pairs would be (B, V).
    """
    length = batch.inputs.shape[1]
    base = int(max(batch.inputs.max(), batch.targets.max(), ids.max())) + 1
    sequence = torch.arange(len(batch.inputs), device=ids.device).repeat_interleave(length)
    inputs = sequence * base + batch.inputs.flatten()
    targets = batch.positions // length * base + batch.targets
    own_pairs = torch.cat([inputs, targets]).unique()
    pairs = owners[:, None] * base + ids
    place = torch.searchsorted(own_pairs, pairs).clamp(max=len(own_pairs) - 1)
    own: torch.Tensor = own_pairs[place] == pairs
    return own
