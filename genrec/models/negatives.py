"""Negative items: what a target is compared with. A proposal says how one is drawn, sharing says
for whom."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from genrec.config.errors import GenrecError
from genrec.models.objectives import Batch

Negatives = Callable[[Batch, torch.Generator], torch.Tensor | None]
"""A batch and a generator -> ids (N, C) for each row, (C,) for all rows, or None for the whole
catalogue."""

Sharing = Literal[False, "sequence", "batch"]
REJECTED = 0  # PAD, which no proposal draws


def catalogue(batch: Batch, generator: torch.Generator) -> None:
    """The whole catalogue."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A distribution q over items.

    Attributes:
        draw: a batch, how many, and a generator -> that many ids, with replacement.
        log_q: (V+1,) log q_i; -inf where item i is never drawn, as PAD.
    """

    draw: Callable[[Batch, int, torch.Generator], torch.Tensor]
    log_q: torch.Tensor


@dataclass(frozen=True, eq=False)
class Sampled:
    """``num_negatives`` draws from a proposal.

    Attributes:
        proposal: what is drawn.
        num_negatives: k.
        shared: by nobody (False: every target has its own), by the targets of a sequence, which
            saves draws [Klenitskiy & Vasilev 2023], or by the whole batch: one matrix product in
            place of a gather a row.
        reject_history: an item of the row's own sequence, as far as the batch shows it, is no
            candidate.

    Raises:
        GenrecError: for a whole batch's negatives that leave out each sequence's own items.
    """

    proposal: Proposal
    num_negatives: int
    shared: Sharing = False
    reject_history: bool = False

    def __post_init__(self) -> None:
        if self.shared == "batch" and self.reject_history:
            raise GenrecError(
                "negatives that a whole batch shares cannot leave out each sequence's own items:"
                " set teacher.shared_negatives=sequence, or teacher.reject_history=false"
            )

    def __call__(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """Ids (C,) for all rows where the batch shares them, (N, C) otherwise; a rejected one is
        the row's target."""
        if self.shared == "batch":
            return self.proposal.draw(batch, self.num_negatives, generator)
        of_rows = batch.rows // batch.inputs.shape[1]
        owners = torch.arange(len(batch.inputs), device=of_rows.device) if self.shared else of_rows
        ids = self.proposal.draw(batch, len(owners) * self.num_negatives, generator).view(
            len(owners), -1
        )
        if self.reject_history:
            ids = ids.masked_fill(_own(batch, owners, ids), REJECTED)
        ids = ids[of_rows] if self.shared else ids
        return (
            torch.where(ids == REJECTED, batch.targets[:, None], ids)
            if self.reject_history
            else ids
        )

    @property
    def log_expected(self) -> torch.Tensor:
        """(V+1,) log(k·q_i), how often item i is expected among the draws of a row."""
        return self.proposal.log_q + math.log(self.num_negatives)


def uniform(num_items: int) -> Proposal:
    """Every item alike [Kang & McAuley 2018, §3.5]."""

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(1, num_items + 1, (count,), generator=generator).to(
            batch.targets.device
        )

    log_q = torch.full((num_items + 1,), -math.log(num_items))
    log_q[0] = -torch.inf
    return Proposal(draw, log_q)


def popular(counts: torch.Tensor, power: float = 1.0) -> Proposal:
    """Item i with probability ∝ counts_i^power.

    Args:
        counts: (V+1,) training events of each item; PAD (0) is never drawn.
        power: 1 is popularity, 0 uniform over the items that occur.

    Raises:
        GenrecError: if no item occurs.
    """
    share = counts.double() / counts.max().clamp(
        min=1
    )  # of the largest, which no power makes infinite
    weights = torch.where(counts > 0, share**power, 0.0)
    weights[0] = 0
    if not weights.any():
        raise GenrecError(
            "no item has a count above 0: negatives by popularity need the counts of training"
            " events"
        )

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
        return drawn.to(batch.targets.device)

    return Proposal(draw, (weights / weights.sum()).log().float())


def in_batch(counts: torch.Tensor) -> Proposal:
    """Targets of the batch: over many batches item i comes with its share of the training events.

    Args:
        counts: (V+1,) training events of each item, from which that share is taken.
    """

    def draw(batch: Batch, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(batch.targets), (count,), generator=generator)
        return batch.targets[drawn.to(batch.targets.device)]

    return Proposal(draw, popular(counts).log_q)


def _own(batch: Batch, owners: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(M, C) True where one of ids (M, C) is an input or a target of the sequence in ``owners``
    (M,)."""
    length = batch.inputs.shape[1]
    base = int(max(batch.inputs.max(), batch.targets.max(), ids.max())) + 1
    of_inputs = torch.arange(len(batch.inputs), device=ids.device).repeat_interleave(length)
    keys = torch.cat(
        [of_inputs * base + batch.inputs.flatten(), batch.rows // length * base + batch.targets]
    ).unique()
    wanted = owners[:, None] * base + ids
    found = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    own: torch.Tensor = keys[found] == wanted
    return own
