"""Training objectives: which positions of a sequence answer for which items."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from genrec.data.sequences import Sequences


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        inputs: (B, T) item indices, padded on the right with 0.
        rows: (N,) which of the B*T flattened states answer.
        targets: (N,) the item each of them has to find.
    """

    inputs: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(self.inputs.to(device), self.rows.to(device), self.targets.to(device))


class Objective(Protocol):
    """Sequences to batches for training, histories to inputs for scoring."""

    def batch(self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator) -> Batch:
        """A training batch from whole training sequences."""
        ...

    def query(self, histories: Sequences, max_length: int, mask_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (B, T) for histories and the (B,) flattened row whose state scores the next item."""
        ...


@dataclass(frozen=True)
class Shifted:
    """Every position predicts the next item [Kang & McAuley 2018, §3.5]."""

    def batch(self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator) -> Batch:
        """Inputs s_1..s_{n-1}, targets s_2..s_n of the newest ``max_length`` + 1 items."""
        window = torch.from_numpy(sequences.last(max_length + 1).padded())
        inputs, targets = window[:, :-1] * (window[:, 1:] > 0), window[:, 1:].reshape(-1)
        rows = targets.nonzero().squeeze(1)
        return Batch(inputs, rows, targets[rows])

    def query(self, histories: Sequences, max_length: int, mask_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items; the state of the last one answers."""
        inputs = torch.from_numpy(histories.last(max_length).padded())
        newest = (inputs > 0).sum(dim=1).clamp(min=1) - 1
        return inputs, torch.arange(len(inputs)) * inputs.shape[1] + newest


@dataclass(frozen=True)
class Masked:
    """Cloze: hidden items are found from both sides [Sun et al. 2019, §3.6].

    Attributes:
        share: of the items of a sequence that are masked.
        last_share: of the sequences in which only the last item is masked, as it will be when scoring.
    """

    share: float = 0.2
    last_share: float = 0.1

    def batch(self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator) -> Batch:
        """Inputs with MASK at random items (at least one a sequence), targets the items under them."""
        window = sequences.last(max_length).padded()
        lengths = (window > 0).sum(axis=1)
        last = np.arange(window.shape[1]) == lengths[:, None] - 1
        hidden = (generator.random(window.shape) < self.share) & (window > 0)
        only_last = (generator.random(len(window)) < self.last_share) | ~hidden.any(axis=1)
        hidden[only_last] = last[only_last]
        inputs = torch.from_numpy(np.where(hidden, mask_id, window))
        rows = torch.from_numpy(np.flatnonzero(hidden))
        return Batch(inputs, rows, torch.from_numpy(window.reshape(-1)[rows]))

    def query(self, histories: Sequences, max_length: int, mask_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` - 1 items and a MASK, whose state answers."""
        window = histories.last(max_length - 1)
        inputs = np.concatenate([window.padded(), np.zeros((len(window), 1), np.int64)], axis=1)
        inputs[np.arange(len(inputs)), window.lengths] = mask_id
        rows = np.arange(len(inputs)) * inputs.shape[1] + window.lengths
        return torch.from_numpy(inputs), torch.from_numpy(rows)
