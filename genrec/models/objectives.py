"""Training objectives: which positions of a sequence answer for which items."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.sequences import Sequences


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        inputs: (B, T) item indices, padded on the right with 0.
        rows: (N,) which of the B*T flattened states answer.
        targets: (N,) the item each of them has to find, or (N, M) the set of items, padded with 0.
        times: (B, T) int64 seconds, when the inputs happened, 0 at padding; None where the log does
            not say.
    """

    inputs: torch.Tensor
    rows: torch.Tensor
    targets: torch.Tensor
    times: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        times = None if self.times is None else self.times.to(device)
        return Batch(self.inputs.to(device), self.rows.to(device), self.targets.to(device), times)


class Objective(Protocol):
    """Sequences to batches for training, histories to inputs for scoring."""

    def batch(
        self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """A training batch from whole training sequences."""
        ...

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (B, T) for histories and the (B,) flattened row whose state scores the next
        item."""
        ...


@dataclass(frozen=True)
class Shifted:
    """Every position predicts the next item [Kang & McAuley 2018, §3.5]."""

    def batch(
        self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs s_1..s_{n-1}, targets s_2..s_n of the newest ``max_length`` + 1 items."""
        recent = sequences.last(max_length + 1)
        window, times = torch.from_numpy(recent.padded()), newest_times(recent, max_length + 1)
        inputs, targets = window[:, :-1] * (window[:, 1:] > 0), window[:, 1:].reshape(-1)
        rows = targets.nonzero().squeeze(1)
        return Batch(inputs, rows, targets[rows], None if times is None else times[:, :-1])

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items; the state of the last one answers."""
        return newest(histories, max_length)


@dataclass(frozen=True)
class Last:
    """Only the last position predicts: sequence continuation [Petrov & Macdonald 2022b]."""

    def batch(
        self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs the newest ``max_length`` of s_1..s_{n-1}, target s_n; a sequence of one item asks
        for nothing."""
        several = sequences.take(sequences.lengths >= 2)
        before = several.drop_last(1)
        targets = torch.from_numpy(several.last(1).padded(1)[:, 0])
        return Batch(*newest(before, max_length), targets, newest_times(before, max_length))

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items; the state of the last one answers."""
        return newest(histories, max_length)


@dataclass(frozen=True)
class RecencySampled:
    """The last position predicts a set of items drawn from the sequence, recent ones first (RSS).

    Position i of n is drawn with probability ∝ f(i), with replacement; what was drawn leaves the
    input and becomes an unordered set of targets. f(i) = α^(n−i) [Petrov & Macdonald 2022b] or f(i)
    = i^β, the power family [Petrov & Macdonald 2024d].

    Attributes:
        share: draws for each item of a sequence (at least one draw); one item always stays.
        decay: α; smaller draws more recent items, 0 the last one.
        power: β, which replaces the exponential family by the power family.
    """

    share: float = 0.2
    decay: float = 0.8
    power: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise GenrecError(f"decay must lie in [0, 1], not {self.decay}")

    def batch(
        self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs the newest ``max_length`` items that were not drawn, targets (N, M) the distinct
        items drawn."""
        several = sequences.take(sequences.lengths >= 2)
        drawn = self.draw(several.lengths, generator)
        left = _part(several, ~drawn)
        targets = torch.from_numpy(_distinct(_part(several, drawn)).padded())
        return Batch(*newest(left, max_length), targets, newest_times(left, max_length))

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` items; the state of the last one answers."""
        return newest(histories, max_length)

    def draw(self, lengths: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
        """(sum of lengths,) which positions of sequences of at least two items, back to back, are
        drawn."""
        stops = np.cumsum(lengths)
        starts = stops - lengths
        position = np.arange(lengths.sum()) - np.repeat(starts, lengths)
        if self.power is None:
            importance = self.decay ** (np.repeat(lengths, lengths) - 1.0 - position)
        else:
            importance = ((position + 1.0) / np.repeat(lengths, lengths)) ** self.power
        importance /= np.repeat(
            np.add.reduceat(importance, starts), lengths
        )  # each sequence sums to 1
        draws = np.clip((self.share * lengths).astype(np.int64), 1, lengths - 1)
        rows = np.repeat(np.arange(len(lengths)), draws)
        found = np.searchsorted(
            np.cumsum(importance), rows + generator.random(len(rows)), side="right"
        )
        drawn = np.zeros(len(importance), dtype=bool)
        drawn[np.clip(found, starts[rows], stops[rows] - 1)] = True
        return drawn


@dataclass(frozen=True)
class Masked:
    """Cloze: hidden items are found from both sides [Sun et al. 2019, §3.6].

    Attributes:
        share: of the items of a sequence that are masked.
        last_share: of the sequences in which only the last item is masked, as it will be when
            scoring.
    """

    share: float = 0.2
    last_share: float = 0.1

    def batch(
        self, sequences: Sequences, max_length: int, mask_id: int, generator: np.random.Generator
    ) -> Batch:
        """Inputs with MASK at random items (at least one a sequence), targets the items under
        them."""
        window = sequences.last(max_length).padded()
        lengths = (window > 0).sum(axis=1)
        last = np.arange(window.shape[1]) == lengths[:, None] - 1
        hidden = (generator.random(window.shape) < self.share) & (window > 0)
        only_last = (generator.random(len(window)) < self.last_share) | ~hidden.any(axis=1)
        hidden[only_last] = last[only_last]
        inputs = torch.from_numpy(np.where(hidden, mask_id, window))
        rows = torch.from_numpy(np.flatnonzero(hidden))
        return Batch(inputs, rows, torch.from_numpy(window.reshape(-1)[rows]))

    def query(
        self, histories: Sequences, max_length: int, mask_id: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The newest ``max_length`` - 1 items and a MASK, whose state answers."""
        window = histories.last(max_length - 1)
        inputs = np.concatenate([window.padded(), np.zeros((len(window), 1), np.int64)], axis=1)
        inputs[np.arange(len(inputs)), window.lengths] = mask_id
        rows = np.arange(len(inputs)) * inputs.shape[1] + window.lengths
        return torch.from_numpy(inputs), torch.from_numpy(rows)


def newest(histories: Sequences, max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (B, T), the newest ``max_length`` items, and the (B,) flattened row of each one's last
    item."""
    inputs = torch.from_numpy(histories.last(max_length).padded())
    last = (inputs > 0).sum(dim=1).clamp(min=1) - 1
    return inputs, torch.arange(len(inputs)) * inputs.shape[1] + last


def newest_times(histories: Sequences, max_length: int) -> torch.Tensor | None:
    """(B, T) when the inputs of ``newest`` happened, 0 at padding; None where the log does not
    say."""
    return (
        None
        if histories.times is None
        else torch.from_numpy(histories.last(max_length).padded_times())
    )


def _part(sequences: Sequences, kept: NDArray[np.bool_]) -> Sequences:
    counts = np.bincount(sequences.rows()[kept], minlength=len(sequences))
    times = None if sequences.times is None else sequences.times[kept]
    return Sequences(np.concatenate([[0], np.cumsum(counts)]), sequences.items[kept], times)


def _distinct(sequences: Sequences) -> Sequences:
    base = int(sequences.items.max(initial=0)) + 1
    pairs = np.unique(sequences.rows() * base + sequences.items)
    counts = np.bincount(pairs // base, minlength=len(sequences))
    return Sequences(np.concatenate([[0], np.cumsum(counts)]), (pairs % base).astype(np.int32))
