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
