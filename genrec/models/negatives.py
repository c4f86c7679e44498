"""Negative items: what a target is compared with. Each is a function targets (N,) -> ids, or None: all items."""

from collections.abc import Callable

import torch

Negatives = Callable[[torch.Tensor, torch.Generator], torch.Tensor | None]
"""Targets (N,) and a generator -> ids (N, C) for each row, (C,) for all rows, or None for the whole catalogue."""


def catalogue(targets: torch.Tensor, generator: torch.Generator) -> None:
    """The whole catalogue."""


def uniform(num_items: int, num_negatives: int) -> Negatives:
    """``num_negatives`` items a row, uniform over the catalogue, with replacement [Kang & McAuley 2018, §3.5]."""

    def sample(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(1, num_items + 1, (len(targets), num_negatives), generator=generator)
        return drawn.to(targets.device)

    return sample


def shared_uniform(num_items: int, num_negatives: int) -> Negatives:
    """``num_negatives`` items for the whole batch: one matrix product in place of a gather a row."""

    def sample(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(1, num_items + 1, (num_negatives,), generator=generator).to(targets.device)

    return sample


def popular(counts: torch.Tensor, num_negatives: int, power: float = 1.0) -> Negatives:
    """``num_negatives`` items a row, item i with probability ∝ counts_i^power, with replacement.

    Args:
        counts: (V+1,) training events of each item; PAD (0) is never drawn.
        num_negatives: items a row.
        power: 1 is popularity, 0 uniform over the items that occur.

    Raises:
        ValueError: if no item occurs.
    """
    weights = torch.where(counts > 0, counts.double() ** power, 0.0)
    weights[0] = 0
    if not weights.any():
        raise ValueError("no item has a count above 0: negatives by popularity need the counts of training events")

    def sample(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.multinomial(weights, len(targets) * num_negatives, replacement=True, generator=generator)
        return drawn.view(len(targets), num_negatives).to(targets.device)

    return sample


def in_batch(num_negatives: int) -> Negatives:
    """``num_negatives`` targets of the batch, with replacement, for all its rows: popular items come more often."""

    def sample(targets: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        drawn = torch.randint(len(targets), (num_negatives,), generator=generator)
        return targets[drawn.to(targets.device)]

    return sample
